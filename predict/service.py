"""A trained run on videos: decode each in a child process, predict window by window, write files."""

from __future__ import annotations

import dataclasses
import mimetypes
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..console import progress
from ..errors import InputError
from ..preprocess import Limits
from ..preprocess.media.ffmpeg_program import ffmpeg_executable
from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.probe import MediaInfo
from ..preprocess.media.reasons import ClipError
from ..preprocess.media.sound_choice import check_choice, probe_with_sound
from ..preprocess.samples.whole_video import DecodedVideo, DecodeRequest, decode_video, windows_decoded
from ..shards.staging import check_folder, put_in_place, staged
from ..shards.storage import Location
from ..strict_json import strict_json
from .predictor import PREDICTORS, Predictor, VideoInput
from .questions import EncodedQuestion
from .results import Failure, Prediction, Predictions
from .sources import find_videos, relative_names, result_names
from .trained import TrainedRun, open_run

_PROBE_SECONDS = 120.0
_LOUDEST_SECONDS = 3600.0
# A decoder that takes longer for a second of the video hangs.
_SECONDS_A_SECOND = 10.0
_POLL_SECONDS = 0.2

Result = TypeVar("Result")


def predict(
    run: str | Path,
    videos: Sequence[str | Path],
    questions: Sequence[str] = (),
    out: str | Path | None = None,
    *,
    device: str = "auto",
    audio_stream: str = "default",
    preset: str | None = None,
    shards: Location | None = None,
    weights: str | Path | None = None,
) -> Predictions:
    """Predict videos of any length with a trained run.

    A video that cannot be used is listed in `failures`; the others are predicted.

    Args:
        run: a run folder, whose shards are not needed, or a checkpoint folder.
        videos: files, and folders, of which all videos are used.
        questions: about every video (AVQA).
        out: the folder for pictures and other files; None writes none.
        device: of torch; `auto` is the GPU when there is one.
        audio_stream: the sound stream to use: `default`, `loudest`, or a number, from 0.
        preset: of a checkpoint that does not record its training data (imported, or of an earlier version).
        shards: for such a checkpoint, shards with its classes or vocabulary and its sampling.
        weights: the path of the backbone's weights, if not the one that the checkpoint records.

    Raises InputError for a run that cannot be used, for questions to a model that reads none, for a question
    without any known word, and when there is no video; StgcmaError when `out` cannot be written.
    """
    ffmpeg_executable()  # fails before any work is done
    check_choice(audio_stream)
    folder = None if out is None else Path(out)
    if folder is not None:
        check_folder(folder)
    found, empty = find_videos([Path(video) for video in videos], without=folder)
    if not found:
        where = ", ".join(map(str, empty))
        raise InputError(f"{where} holds no videos" if empty else "VIDEO is missing: name at least one")
    trained = open_run(Path(run), device=device, preset=preset, shards=shards, weights=weights)
    predictor = PREDICTORS[trained.task.name]
    encoded = predictor.encode_questions(trained, questions)
    failures = [Failure(path, "missing", "the folder holds no videos") for path in empty]
    results: list[Prediction] = []
    predicted: list[str] = []
    with _open_pool() as pool, progress("windows") as bar:
        filenames = relative_names([Path(video) for video in videos], found)
        for video, name, filename in zip(found, result_names(found), filenames, strict=True):
            row = bar.add_task(video.name, total=None, note="")
            report = partial(bar.update, row)
            work = _Work(trained, predictor, video, name, filename, encoded, audio_stream, pool, report)
            try:
                results.append(work.predict(folder))
                predicted.append(filename)
            except ClipError as error:
                failures.append(Failure(video, error.reason, _explained(video, error)))
                bar.update(row, total=1, note=error.reason)
    warnings = tuple(line for question in encoded for line in question.warnings())
    files: tuple[Path, ...] = ()
    if folder is not None and results:
        files = _write_annotations(folder, predictor.annotations(trained, results, predicted))
    return Predictions(trained.path, trained.task.name, tuple(results), tuple(failures), warnings, files)


def _write_annotations(out: Path, contents: dict[str, str]) -> tuple[Path, ...]:
    if not contents:
        return ()
    with staged(out, "annotations") as folder:
        for name, content in contents.items():
            (folder / _unused(out / name)).write_text(content, encoding="utf-8", newline="")
        return put_in_place(folder, out)


def _unused(path: Path) -> str:
    """Return the name of `path`, numbered where such a file is there: it may have been corrected by hand."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    return found.name


def _explained(video: Path, error: ClipError) -> str:
    kind = mimetypes.guess_type(video.name)[0] or ""
    if error.reason == "unreadable" and kind.startswith("image/"):
        return f"it is a picture; a video is needed ({error.message})"
    return error.message


def _open_pool() -> IsolatedPool:
    limits = Limits()
    # One try: a file that kills its process is a failure, and the next one follows.
    return IsolatedPool(
        1, timeout_seconds=_PROBE_SECONDS, memory_bytes=limits.memory_bytes, tries=1, script=False
    )


@dataclasses.dataclass
class _Work:
    """The prediction of one video. `report` takes `total`, `completed` and `note`, in windows."""

    run: TrainedRun
    predictor: type[Predictor[Any]]
    video: Path
    name: str
    filename: str
    questions: tuple[EncodedQuestion, ...]
    audio_stream: str
    pool: IsolatedPool
    report: Callable[..., None]

    def predict(self, out: Path | None) -> Prediction:
        """Return the result, with its files in `out`. Raises ClipError and StgcmaError."""
        with tempfile.TemporaryDirectory(prefix="stgcma-") as scratch:
            info, decoded = self._decode(Path(scratch))
            with nullcontext() if out is None else staged(out, self.name) as folder:
                video = VideoInput(
                    self.video, info, decoded, self.name, folder, self.questions, self.filename
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
        info, warnings = self._in_child(find, self.video, lambda: None)
        seconds = info.claimed_end_seconds
        self.pool.timeout_seconds = _PROBE_SECONDS + _SECONDS_A_SECOND * (
            3600.0 if seconds is None else seconds
        )
        sampling, seconds_a_window = self.run.settings.sampling, self.run.window_seconds
        request = DecodeRequest(
            info, scratch, sampling, seconds_a_window, tuple(warnings), short=self.run.takes_short_clips
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
        return (3 if self.predictor.writes_video else 2) * windows

    def _predict(self, video: VideoInput) -> Prediction:
        count = len(video.decoded.windows)
        self.report(total=self._steps(count), completed=count, note="")
        predictor = self.predictor(self.run, video)
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
