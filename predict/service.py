"""A trained run on videos: find them, predict each, write files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..console import progress
from ..errors import InputError
from ..preprocess.media.ffmpeg_program import ffmpeg_executable
from ..preprocess.media.reasons import ClipError
from ..preprocess.media.sound_choice import check_choice
from ..shards.staging import check_folder, put_in_place, staged
from ..shards.storage import Location
from .one_video import OneVideo, decoding_pool, explained
from .predictor import PREDICTORS
from .results import Failure, Prediction, Predictions
from .sources import find_videos, relative_names, result_names
from .trained import open_run


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
    with decoding_pool() as pool, progress("windows") as bar:
        filenames = relative_names([Path(video) for video in videos], found)
        for video, name, filename in zip(found, result_names(found), filenames, strict=True):
            row = bar.add_task(video.name, total=None, note="")
            work = OneVideo(
                trained, video, name, pool, partial(bar.update, row), encoded, audio_stream, filename
            )
            try:
                results.append(work.predict(folder))
                predicted.append(filename)
            except ClipError as error:
                failures.append(Failure(video, error.reason, explained(video, error)))
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
