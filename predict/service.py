"""A trained run on videos: decode in a process of its own, ask the model window by window, write files."""

from __future__ import annotations

import dataclasses
import mimetypes
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from ..console import progress
from ..errors import InputError
from ..preprocess import Limits
from ..preprocess.media.ffmpeg_program import ffmpeg_executable
from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.probe import MediaInfo
from ..preprocess.media.reasons import ClipError
from ..preprocess.media.sound_choice import check_choice, probe_with_sound
from ..preprocess.samples.whole_video import DecodedVideo, DecodeRequest, decode_video, windows_decoded
from ..shards.storage import Location
from ..strict_json import strict_json
from ..train.tasks.avqa import AvqaTask
from .ave import AvePredictor
from .avqa import AvqaPredictor
from .avs import AvsPredictor
from .outputs import check_folder, put_in_place, staged
from .questions import AskedQuestion, read_asked
from .results import Failure, Prediction, Predictions
from .sources import find_videos, result_names
from .trained import TrainedRun, open_run

_PROBE_SECONDS = 120.0
_LOUDEST_SECONDS = 3600.0
# A decoder that is slower than this hangs.
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
    """What the trained run `run` says of `videos`, files of any length or folders of such.

    A video that cannot be used does not stop the others: it is among the `failures`.

    Args:
        run: the run folder, whose shards are not needed; or a checkpoint folder.
        videos: files, and folders, in which all videos are taken.
        questions: what is asked of every video (AVQA).
        out: where pictures and files are written; without it, none are.
        device: as torch calls it; `auto` is the GPU when there is one.
        audio_stream: the sound stream that is taken: `default`, `loudest`, or a number, from 0.
        preset: of a checkpoint that does not say what it was trained on (imported, or of an earlier version).
        shards: for such a checkpoint, shards with its classes or vocabulary and its sampling.
        weights: where the backbone's weights are, if not where the checkpoint says.

    Raises InputError for a run that cannot be used, questions that do not fit it or that it knows no word
    of, and when there is no video; StgcmaError when `out` takes no files.
    """
    ffmpeg_executable()  # one that cannot be used is told before any work
    check_choice(audio_stream)
    folder = None if out is None else Path(out)
    if folder is not None:
        check_folder(folder)
    found, empty = find_videos([Path(video) for video in videos], without=folder)
    if not found:
        where = ", ".join(map(str, empty))
        raise InputError(f"{where} holds no videos" if empty else "VIDEO is missing: name at least one")
    trained = open_run(Path(run), device=device, preset=preset, shards=shards, weights=weights)
    asked = _questions(trained, questions)
    failures = [Failure(place, "missing", "the folder holds no videos") for place in empty]
    results = []
    with _open_pool() as pool, progress("windows") as bar:
        for video, name in zip(found, result_names(found), strict=True):
            row = bar.add_task(video.name, total=None, note="")
            work = _Work(trained, video, name, asked, audio_stream, pool, partial(bar.update, row))
            try:
                results.append(work.predict(folder))
            except ClipError as error:
                failures.append(Failure(video, error.reason, _explained(video, error)))
                bar.update(row, total=1, note=error.reason)
    warnings = tuple(line for question in asked for line in question.warnings())
    return Predictions(trained.path, trained.task.name, tuple(results), tuple(failures), warnings)


def _questions(run: TrainedRun, questions: Sequence[str]) -> tuple[AskedQuestion, ...]:
    if not isinstance(run.task, AvqaTask):
        if questions:
            raise InputError(f"--question is for AVQA runs, RUN {run.path} is trained for {run.task.name}")
        return ()
    if not questions:
        raise InputError(f"RUN {run.path} answers questions: give at least one --question TEXT")
    return read_asked(questions, run.task)


def _explained(video: Path, error: ClipError) -> str:
    kind = mimetypes.guess_type(video.name)[0] or ""
    if error.reason == "unreadable" and kind.startswith("image/"):
        return f"it is a picture; a video is needed ({error.message})"
    return error.message


def _open_pool() -> IsolatedPool:
    limits = Limits()
    # One try: a file that kills its process is said to have done so, and the next one is taken.
    return IsolatedPool(
        1, timeout_seconds=_PROBE_SECONDS, memory_bytes=limits.memory_bytes, tries=1, script=False
    )


@dataclasses.dataclass
class _Work:
    """One video on its way. `report` takes `total`, `completed` and `note`, in windows."""

    run: TrainedRun
    video: Path
    name: str
    asked: Sequence[AskedQuestion]
    audio_stream: str
    pool: IsolatedPool
    report: Callable[..., None]

    def predict(self, out: Path | None) -> Prediction:
        """What the run says of the video; its files are in `out`. Raises ClipError, StgcmaError."""
        with tempfile.TemporaryDirectory(prefix="stgcma-") as scratch:
            info, decoded = self._decode(Path(scratch))
            with nullcontext() if out is None else staged(out, self.name) as folder:
                result = self._ask(info, decoded, folder)
                if out is None or folder is None:
                    return result
                content = strict_json(result.to_json(), indent=2)
                (folder / f"{self.name}.json").write_text(content + "\n", encoding="utf-8")
                return dataclasses.replace(result, files=put_in_place(folder, out))

    def _decode(self, scratch: Path) -> tuple[MediaInfo, DecodedVideo]:
        # The loudest stream is found by decoding all of them.
        self.pool.timeout_seconds = _LOUDEST_SECONDS if self.audio_stream == "loudest" else _PROBE_SECONDS
        find = partial(probe_with_sound, choice=self.audio_stream)
        info, warnings = self._in_child(find, self.video, lambda: None)
        seconds = info.claimed_end_seconds
        self.pool.timeout_seconds = _PROBE_SECONDS + _SECONDS_A_SECOND * (
            3600.0 if seconds is None else seconds
        )
        sampling, seconds_a_window = self.run.settings.sampling, self.run.window_seconds
        request = DecodeRequest(info, scratch, sampling, seconds_a_window, tuple(warnings))
        planned = None if seconds is None else self._steps(max(round(seconds / self.run.window_seconds), 1))

        def look() -> None:
            self.report(total=planned, completed=windows_decoded(scratch), note="decoding")

        return info, self._in_child(decode_video, request, look)

    def _in_child(self, function: Callable[[Any], Result], item: Any, look: Callable[[], None]) -> Result:
        """`function(item)` in the pool's process; meanwhile, `look` is called now and then."""
        with _thread(self.pool) as thread:
            future = thread.submit(lambda: next(outcome for _, outcome in self.pool.map(function, [item])))
            while not wait([future], timeout=_POLL_SECONDS).done:
                look()
            outcome = future.result()
        if isinstance(outcome, ClipError):
            raise outcome
        return outcome

    def _steps(self, windows: int) -> int:
        """What the progress counts: every window is decoded, asked about, and in AVS written."""
        return (3 if self.run.task.name == "avs" else 2) * windows

    def _ask(self, info: MediaInfo, decoded: DecodedVideo, folder: Path | None) -> Prediction:
        count = len(decoded.windows)
        self.report(total=self._steps(count), completed=count, note="")
        predictor = self._predictor(info, decoded, folder)
        for place in range(count):
            predictor.add(self.run.window(decoded, place))
            self.report(completed=count + place + 1)
        if not isinstance(predictor, AvsPredictor):
            result: Prediction = predictor.finish(folder, self.name)
        else:
            self.report(note="writing")
            result = predictor.finish(
                folder,
                self.name,
                lambda seconds: self.report(
                    completed=2 * count + min(count * seconds / decoded.seconds, count)
                ),
            )
        self.report(completed=self._steps(count), note="")
        return result

    def _predictor(
        self, info: MediaInfo, decoded: DecodedVideo, folder: Path | None
    ) -> AvePredictor | AvsPredictor | AvqaPredictor:
        if self.run.task.name == "ave":
            return AvePredictor(self.run, self.video, decoded)
        if self.run.task.name == "avs":
            return AvsPredictor(self.run, self.video, decoded, info, folder, self.name)
        names = list(cast("AvqaTask", self.run.task).answers)
        return AvqaPredictor(self.run, self.video, decoded, self.asked, names)


@contextmanager
def _thread(pool: IsolatedPool) -> Iterator[ThreadPoolExecutor]:
    """A thread that waits for the pool; when the work in `with` is given up, so is the pool's."""
    with ThreadPoolExecutor(1) as thread:
        try:
            yield thread
        except BaseException:
            pool.close()
            raise
