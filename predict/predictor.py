"""The interface of a predictor: from the windows of one video to a result and its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..figures import clock
from ..preprocess.media.probe import MediaInfo
from ..preprocess.samples.whole_video import DecodedVideo
from ..registry import Registry
from ..shards.members import decode_picture, frame_name
from .questions import EncodedQuestion
from .results import Prediction
from .trained import TrainedRun

P = TypeVar("P", bound=Prediction)


@dataclass(frozen=True)
class VideoInput:
    """A decoded video, the questions about it, and the folder of its result files.

    Attributes:
        path: the video file.
        media: the facts of its streams.
        decoded: its windows.
        name: the beginning of the result files' names.
        folder: an empty folder for the result files; None when none are written.
        questions: empty for runs that take none.
        filename: of the video in annotations to correct, relative to the folder that was given.
    """

    path: Path
    media: MediaInfo
    decoded: DecodedVideo
    name: str
    folder: Path | None = None
    questions: tuple[EncodedQuestion, ...] = ()
    filename: str = ""


@dataclass(frozen=True)
class ShownFile:
    """A result file that pages show: a picture, a video, or subtitles of the given video.

    Attributes:
        ending: of its name, after the name of the results, such as `.timeline.png`.
        title: a description in words, also for people who cannot see it.
    """

    ending: str
    title: str


class Predictor(ABC, Generic[P]):
    """Make the result of one video from its windows: `add` each in order, then `finish`.

    A module of this package that assigns a subclass to `PREDICTOR` serves the task of the module's name.

    Attributes:
        writes_video: `write` encodes a video and reports its progress.
        shown: the result files that pages show, the most important first.
        run: the trained run.
        video: the decoded video.
    """

    writes_video: ClassVar[bool] = False
    shown: ClassVar[tuple[ShownFile, ...]] = ()

    def __init__(self, run: TrainedRun, video: VideoInput) -> None:
        self.run, self.video = run, video

    @classmethod
    def encode_questions(cls, run: TrainedRun, texts: Sequence[str]) -> tuple[EncodedQuestion, ...]:
        """Return `texts` as the run's model reads them. Raises InputError when it takes no questions."""
        if texts:
            raise InputError(
                f"questions are given, but RUN {run.path} is for {run.task.name}, which takes none"
            )
        return ()

    @classmethod
    def question_words(cls, run: TrainedRun) -> tuple[str, ...] | None:  # noqa: ARG003
        """Return the words of questions that the run's model knows; None when it takes no questions."""
        return None

    @abstractmethod
    def add(self, members: dict[str, bytes]) -> None:
        """Add the next window, as the members of a sample."""

    @abstractmethod
    def result(self) -> P:
        """Return the result of all windows, without `files`."""

    @abstractmethod
    def write(self, result: P, folder: Path, on_seconds: Callable[[float], None]) -> None:
        """Write the result's files, except its JSON, into `folder` under `video.name`.

        `on_seconds` is called with the number of seconds written so far, when `writes_video`.
        """

    @classmethod
    def annotations(cls, run: TrainedRun, results: Sequence[P], names: Sequence[str]) -> dict[str, str]:  # noqa: ARG003
        """Return the results of all videos in a format that a collection of one's own data reads.

        Such files can be corrected and trained on. Returns the content of each by its name; none by default.

        Args:
            run: the trained run.
            results: of the videos.
            names: the path of each video, relative to the folder that the files are for.
        """
        return {}

    def finish(self, on_seconds: Callable[[float], None] | None = None) -> P:
        """Return the result; write its files when the video has a folder for them."""
        result = self.result()
        if self.video.folder is not None:
            self.write(result, self.video.folder, on_seconds or _ignore)
        return result

    def caption(self) -> str:
        """Return the caption of a picture: length, missing sound, preset, name of the run's folder."""
        decoded = self.video.decoded
        sound = [] if decoded.has_audio else ["no sound"]
        return " · ".join([clock(decoded.seconds), *sound, self.run.config.preset, self.run.path.name])


PREDICTORS: Registry[type[Predictor[Any]]] = Registry(
    __package__, Path(__file__).parent, attribute="PREDICTOR", noun="predictor"
)
"""The predictor of each task, by the task's name."""


def _ignore(_seconds: float) -> None:
    pass


def open_frame(members: dict[str, bytes], step: int) -> Any:
    """Return frame `step` of a sample as a Pillow image."""
    name = frame_name(step)
    return decode_picture(members[name], name).convert("RGB")


def rank_classes(
    shares: npt.NDArray[np.floating[Any]], names: Sequence[str], count: int
) -> tuple[tuple[str, float], ...]:
    """Return the `count` likeliest of `names` with their shares, the likeliest first; `shares` `[N]`."""
    order = np.argsort(-shares, kind="stable")[:count].tolist()
    return tuple((names[index], float(shares[index])) for index in order)
