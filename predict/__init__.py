"""Predictions of a trained run for videos of any length: events, sounding pixels, answers to questions.

`predict` returns `Predictions`: a `Prediction` for each video, and a `Failure` for each one that could not be
used. The type of the prediction depends on the run's task:

- AVE: `AvePrediction`, with a `Second` for every second and the `Event`s that follow from them.
- AVS: `AvsPrediction`, with a `MaskedSecond` for every second.
- AVSS: `AvssPrediction`, with a `ClassedSecond` for every second.
- AVQA: `AvqaPrediction`, with an `Answer` for every question and its attention to every `Step`.

>>> from stgcma.predict import predict
>>> predictions = predict("run", ["holiday.mp4"], out="predictions")
>>> events = [(event.start, event.end, event.name) for event in predictions.videos[0].events]

A `Predictor` makes the predictions of one task. `PREDICTORS` has them by the task's name; a module of this
package that assigns `PREDICTOR` adds one.
"""

from __future__ import annotations

from .ave_result import AvePrediction, Event, Second
from .avqa_result import Answer, AvqaPrediction, Step
from .avs_result import AvsPrediction, MaskedSecond
from .avss_result import AvssPrediction, ClassedSecond, ClassShare
from .predictor import PREDICTORS, Predictor, VideoInput
from .results import Failure, Prediction, Predictions
from .service import predict

__all__ = [
    "PREDICTORS",
    "Answer",
    "AvePrediction",
    "AvqaPrediction",
    "AvsPrediction",
    "AvssPrediction",
    "ClassShare",
    "ClassedSecond",
    "Event",
    "Failure",
    "MaskedSecond",
    "Prediction",
    "Predictions",
    "Predictor",
    "Second",
    "Step",
    "VideoInput",
    "predict",
]
