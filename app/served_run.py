"""A trained run as the page uses it: its name, its questions, and its prediction of one video."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import InputError
from ..predict.one_video import OneVideo, decoding_pool, explained
from ..predict.predictor import PREDICTORS, Predictor
from ..predict.results import Prediction
from ..predict.sources import result_names
from ..predict.trained import TrainedRun, open_run
from ..preprocess.media.reasons import ClipError

_KINDS = {".png": "picture", ".mp4": "video", ".vtt": "subtitles"}


@dataclass(frozen=True)
class Request:
    """A video to predict with one run.

    Attributes:
        video: the file.
        filename: its name for people.
        question: an empty text for none.
        folder: an empty folder for the results.
        longest_seconds: the most that the video may last.
        report: as that of `OneVideo`: called often; an error that it raises ends the work.
    """

    video: Path
    filename: str
    question: str
    folder: Path
    longest_seconds: float
    report: Callable[..., None]


@dataclass(frozen=True)
class ResultFile:
    """A file to show: a `picture`, a `video`, or `subtitles` of the given video."""

    kind: str
    title: str
    path: Path


@dataclass(frozen=True)
class RunResult:
    """The result of one run.

    Attributes:
        headline: in a few words.
        header: titles of `rows`.
        rows: a table.
        warnings: one line each.
        files: to show.
        archive: a ZIP file with all result files.
    """

    headline: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]
    files: tuple[ResultFile, ...]
    archive: Path


class UnusableVideoError(Exception):
    """The video cannot be used; the message is one line for the person who gave it."""


class ServedRun(Protocol):
    """A run that the page offers.

    Attributes:
        name: different for each run.
        folder: of the run, which visitors are not told.
        task: the name of its task.
        preset: the name of its preset.
        question_words: the words of questions that it knows; None when it takes no questions.
    """

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def task(self) -> str: ...
    @property
    def preset(self) -> str: ...
    @property
    def question_words(self) -> tuple[str, ...] | None: ...

    def check_question(self, question: str) -> None:
        """Raise InputError when the run cannot read the question. Runs without questions ignore it."""

    def predict(self, request: Request) -> RunResult:
        """Return the result. Raises UnusableVideoError, and StgcmaError when the work fails."""


class OpenedRun:
    """A trained run in memory, as a `ServedRun`."""

    def __init__(self, name: str, trained: TrainedRun) -> None:
        self.name = name
        self.folder = trained.path
        self.task = trained.task.name
        self.preset = trained.config.preset
        self.question_words = self._predictor.question_words(trained)
        self._trained = trained

    @property
    def _predictor(self) -> type[Predictor[Any]]:
        return PREDICTORS[self.task]

    def check_question(self, question: str) -> None:
        if self.question_words is None:
            return
        if not question:
            raise InputError(f"{self.name} answers questions: enter one, e.g. Is there a violin sound?")
        self._predictor.encode_questions(self._trained, [question])

    def predict(self, request: Request) -> RunResult:
        asked = [request.question] if self.question_words is not None else []
        questions = self._predictor.encode_questions(self._trained, asked)
        called = Path(request.filename)
        (name,) = result_names([called])
        with decoding_pool() as pool:
            work = OneVideo(
                self._trained,
                request.video,
                name,
                pool,
                request.report,
                questions,
                filename=request.filename,
                called=called,
                longest_seconds=request.longest_seconds,
            )
            try:
                result = work.predict(request.folder)
            except ClipError as error:
                raise UnusableVideoError(_for_people(explained(called, error), request, called)) from None
        tables = self._predictor.annotations(self._trained, [result], [request.filename])
        for table, content in tables.items():
            (request.folder / table).write_text(content, encoding="utf-8", newline="")
        warnings = (*(line for one in questions for line in one.warnings()), *result.warnings)
        return self._shown(result, name, request.folder, warnings)

    def _shown(self, result: Prediction, name: str, folder: Path, warnings: Sequence[str]) -> RunResult:
        named = [(one, folder / f"{name}{one.ending}") for one in self._predictor.shown]
        files = [ResultFile(_KINDS[path.suffix], one.title, path) for one, path in named if path.is_file()]
        return RunResult(
            headline=result.headline(),
            header=tuple(result.header),
            rows=tuple(tuple(row) for row in result.rows()),
            warnings=tuple(warnings),
            files=tuple(files),
            archive=_zipped(folder, name),
        )


def _for_people(text: str, request: Request, called: Path) -> str:
    """Return the message of a video's error for a page that says that the video cannot be used."""
    text = text.replace(request.video.name, called.name)
    return text.replace(f"cannot be opened: {called.name}", "it is not readable as a video")


def _zipped(folder: Path, name: str) -> Path:
    """Write all files of `folder` into a ZIP file beside it."""
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as stream:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                stream.write(path, Path(name) / path.relative_to(folder))
    return archive


def open_runs(
    runs: Sequence[str | Path], *, device: str = "auto", on_run: Callable[[str], None] = lambda _name: None
) -> list[ServedRun]:
    """Open trained runs; `on_run` is called with the name of each before it is loaded.

    Raises InputError as `open_run` does, and when there is none or one occurs twice.
    """
    if not runs:
        raise InputError("RUN is missing: name at least one run folder")
    opened: list[ServedRun] = []
    for run, name in zip(runs, run_names(runs), strict=True):
        on_run(name)
        opened.append(OpenedRun(name, open_run(Path(run), device=device)))
    return opened


def run_names(runs: Sequence[str | Path]) -> list[str]:
    """Return a name for each run: its folder's, with those of parents where several have the same.

    Raises InputError when a run occurs twice.

    >>> run_names(["a/run", "b/run", "other"])
    ['a/run', 'b/run', 'other']
    """
    parts = [(path if (path := Path(run)).name else path.absolute()).parts for run in runs]
    for index, run in enumerate(runs):
        if parts[index] in parts[:index]:
            raise InputError(f"RUN {run} is given twice; leave one out")
    depth = 1
    while len({one[-depth:] for one in parts}) < len(parts):
        depth += 1
    return ["/".join(one[-depth:]) for one in parts]
