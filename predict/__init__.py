"""A trained run on raw videos of any length: what happens when, which pixels sound, what the answer is.

>>> from stgcma.predict import predict
>>> predictions = predict("run", ["holiday.mp4"], out="predictions")
"""

from __future__ import annotations

from .results import (
    Answer,
    AvePrediction,
    AvqaPrediction,
    AvsPrediction,
    Event,
    Failure,
    MaskedSecond,
    Prediction,
    Predictions,
    Second,
    Step,
)
from .service import predict

__all__ = [
    "Answer",
    "AvePrediction",
    "AvqaPrediction",
    "AvsPrediction",
    "Event",
    "Failure",
    "MaskedSecond",
    "Prediction",
    "Predictions",
    "Second",
    "Step",
    "predict",
]
