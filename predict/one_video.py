"""The prediction of one video: decode it in a child process, predict window by window, write files."""

from __future__ import annotations

import dataclasses
import mimetypes
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..preprocess import Limits
from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.probe import MediaInfo
from ..preprocess.media.reasons import ClipError
from ..preprocess.media.sound_choice import probe_with_sound
from ..preprocess.samples.whole_video import (
    DecodedVideo,
    DecodeRequest,
    check_length,
    decode_video,
    windows_decoded,
)
from ..shards.staging import put_in_place, staged
from ..strict_json import strict_json
from .predictor import PREDICTORS, Predictor, VideoInput
from .questions import EncodedQuestion
from .results import Prediction
from .trained import TrainedRun

_PROBE_SECONDS = 120.0
_LOUDEST_SECONDS = 3600.0
# A decoder that takes longer for a second of the video hangs.
_SECONDS_A_SECOND = 10.0
_POLL_SECONDS = 0.2

Result = TypeVar("Result")


def decoding_pool() -> IsolatedPool:
    """Return a pool of one process with the limits of preprocessing, for `OneVideo`."""
    limits = Limits()
    # One try: a file that kills its process is a failure, and the next one follows.
    return IsolatedPool(
        1, timeout_seconds=_PROBE_SECONDS, memory_bytes=limits.memory_bytes, tries=1, script=False
    )


def explained(video: Path, error: ClipError) -> str:
    """Return the message of an error about `video`; a picture is named as such."""
    kind = mimetypes.guess_type(video.name)[0] or ""
    if error.reason == "unreadable" and kind.startswith("image/"):
        return f"it is a picture; a video is needed ({error.message})"
    return error.message


@dataclasses.dataclass
class OneVideo:
    """A video to predict.

    Attributes:
        run: the trained run.
        video: the file.
        name: the beginning of the result files' names.
        pool: of `decoding_pool`.
        report: called every 0.2 s while decoding, after each window and while writing, with any of `total`
            and `completed`, in windows, and `note`. An error that it raises ends the work.
        questions: encoded for the run.
        audio_stream: as in `predict`.
        filename: of the video in annotations to correct.
        called: the path to name in results, when it is not `video`.
        longest_seconds: the most that the video may last; None for no further limit.
    """

    run: TrainedRun
    video: Path
    name: str
    pool: IsolatedPool
    report: Callable[..., None]
    questions: tuple[EncodedQuestion, ...] = ()
    audio_stream: str = "default"
    filename: str = ""
    called: Path | None = None
    longest_seconds: float | None = None

    def predict(self, out: Path | None) -> Prediction:
        """Return the result, with its files in `out`. Raises ClipError and StgcmaError."""
        with tempfile.TemporaryDirectory(prefix="stgcma-") as scratch:
            info, decoded = self._decode(Path(scratch))
            with nullcontext() if out is None else staged(out, self.name) as folder:
                video = VideoInput(
                    self.called or self.video, info, decoded, self.name, folder, self.questions, self.filename
                )
                result = self._predict(video)
                if out is None or folder is None:
                    return result
                content = strict_json(result.to_json(), indent=2)
                (folder / f"{self.name}.json").write_text(content + "\n", encoding="utf-8")
                return dataclasses.replace(result, files=put_in_place(folder, out))

    def _decode(self, scratch: Path) -> tuple[MediaInfo, DecodedVideo]:
        # To find the loudest stream, all are decoded.
        self.pool.timeout_seconds = _LOUDEST_SECONDS if self.audio_stream == "loudest" else _PROBE_SECONDS
        find = partial(probe_with_sound, choice=self.audio_stream)
        info, warnings = self._in_child(find, self.video, self.report)
        seconds = info.claimed_end_seconds
        if seconds is not None:
            check_length(seconds, self.longest_seconds)
        unknown = 3600.0 if self.longest_seconds is None else self.longest_seconds
        self.pool.timeout_seconds = _PROBE_SECONDS + _SECONDS_A_SECOND * (
            unknown if seconds is None else seconds
        )
        sampling, seconds_a_window = self.run.settings.sampling, self.run.window_seconds
        request = DecodeRequest(
            info,
            scratch,
            sampling,
            seconds_a_window,
            tuple(warnings),
            short=self.run.takes_short_clips,
            longest_seconds=self.longest_seconds,
        )
        planned = None if seconds is None else self._steps(max(round(seconds / self.run.window_seconds), 1))

        def show_progress() -> None:
            self.report(total=planned, completed=windows_decoded(scratch), note="decoding")

        return info, self._in_child(decode_video, request, show_progress)

    def _in_child(self, function: Callable[[Any], Result], item: Any, poll: Callable[[], None]) -> Result:
        """Return `function(item)`, run in the pool's process; call `poll` regularly meanwhile."""
        with _thread(self.pool) as thread:
            future = thread.submit(lambda: next(outcome for _, outcome in self.pool.map(function, [item])))
            while not wait([future], timeout=_POLL_SECONDS).done:
                poll()
            outcome = future.result()
        if isinstance(outcome, ClipError):
            raise outcome
        return outcome

    def _steps(self, windows: int) -> int:
        """Return the length of the progress bar: each window is decoded, predicted, and may be written."""
        return (3 if self._predictor.writes_video else 2) * windows

    @property
    def _predictor(self) -> type[Predictor[Any]]:
        return PREDICTORS[self.run.task.name]

    def _predict(self, video: VideoInput) -> Prediction:
        count = len(video.decoded.windows)
        self.report(total=self._steps(count), completed=count, note="")
        predictor = self._predictor(self.run, video)
        for index in range(count):
            predictor.add(self.run.window(video.decoded, index))
            self.report(completed=count + index + 1)

        def show_written(seconds: float) -> None:
            written = min(count * seconds / video.decoded.seconds, count)
            self.report(completed=2 * count + written, note="writing")

        result: Prediction = predictor.finish(show_written)
        self.report(completed=self._steps(count), note="")
        return result


@contextmanager
def _thread(pool: IsolatedPool) -> Iterator[ThreadPoolExecutor]:
    """Yield a thread that waits for the pool; close the pool when the `with` block raises."""
    with ThreadPoolExecutor(1) as thread:
        try:
            yield thread
        except BaseException:
            pool.close()
            raise
