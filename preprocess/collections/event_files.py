"""The files of events below a folder: tables, and label tracks beside the recordings."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...errors import InputError
from .event_rows import EventList, Faults
from .event_tables import TableEvent, is_event_table, read_event_table, unused_columns
from .label_tracks import SUFFIX, read_label_track
from .names import split_of
from .paths import annotation_file, printable
from .recordings import RecordingNames, SplitChoice

_TABLE_SUFFIXES = (".csv", ".tsv")
_MOST_NAMED = 5


@dataclass
class Annotation:
    """Everything that the annotation files say.

    Attributes:
        events: recording to its events; none for one that is without.
        splits: the splits that folders and rows give.
        missing: names of recordings that are not there, each with a split and the first row that names it.
        recordings: paths of all videos, annotated or not.
        files: the annotation files, relative to RAW.
        findings: notes for the user.
    """

    recordings: tuple[str, ...]
    events: dict[str, EventList] = field(default_factory=dict)
    splits: SplitChoice = field(default_factory=lambda: SplitChoice({}))
    missing: dict[str, tuple[str, str]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    findings: list[str] = field(default_factory=list)


def read_annotations(raw: Path, faults: Faults, *, allow_links: bool) -> Annotation:
    """Read all tables and label tracks below `raw`. Rows that cannot be used are added to `faults`.

    Raises InputError when there is no recording, or no annotation of one; and when a recording is annotated
    by a table and by a track.
    """
    names = RecordingNames(raw)
    if not names.paths:
        raise InputError(f"{raw} holds no videos; put the recordings there, in folders or not")
    annotation = Annotation(names.paths)
    tables, tracks, others = _files(raw, names.paths)
    unused: list[str] = []
    for path in tables:
        file = annotation_file(raw, path, allow_links=allow_links)
        rows, more = read_event_table(file, faults)
        unused += more
        for row in rows:
            _add_row(annotation, names, row, str(file), faults)
    in_tables = {path: rows[0].where for path, rows in annotation.events.items() if rows and tracks}
    for recording, paths in tracks.items():
        if recording in in_tables:
            raise InputError(
                f"{paths[0]}: {recording} has events in {in_tables[recording]} as well; keep one of both"
            )
        for path in paths:
            found = read_label_track(annotation_file(raw, path, allow_links=allow_links), faults)
            events = annotation.events.setdefault(recording, EventList())
            for event in found:
                events.append(event)
    if not annotation.events:
        faults.check()
        raise InputError(_nothing_annotated(raw, names, annotation))
    for recording in annotation.events:
        annotation.splits.add_folder(recording)
    annotation.events = dict(sorted(annotation.events.items()))
    used = [*tables, *(path for paths in tracks.values() for path in paths)]
    annotation.files = tuple(path.relative_to(raw).as_posix() for path in used)
    annotation.findings += _findings(annotation, tracks, others, unused)
    if names.resolved:
        shown = [f"{name} for {path}" for name, path in names.resolved.items()]
        annotation.findings.append(
            f"names without the folder or with another suffix than the video: {len(shown)} ({_named(shown)})"
        )
    return annotation


def _nothing_annotated(raw: Path, names: RecordingNames, annotation: Annotation) -> str:
    if not annotation.missing:
        track = PurePosixPath(names.paths[0]).with_suffix(SUFFIX)
        return (
            f"{raw} holds {len(names.paths)} videos and no events of them; write RAW/events.csv, or export a "
            f"label track as {track}"
        )
    name, (_, where) = next(iter(annotation.missing.items()))
    near = names.nearest(name)
    hint = f"; did you mean {printable(near)!r}?" if near else f"; one video is {printable(names.paths[0])!r}"
    return f"{where} names {printable(name)!r}, and there is no such video, as in all other rows{hint}"


def _add_row(
    annotation: Annotation, names: RecordingNames, row: TableEvent, file: str, faults: Faults
) -> None:
    line, filename, said, event = row
    try:
        path = names.find(filename)
        split = (split_of(said) or "") if said else ""
        if path is None:
            annotation.missing.setdefault(filename, (split or "train", f"{file}:{line}"))
            return
        if split:
            annotation.splits.add(path, split, f"{file}:{line}")
    except InputError as error:
        faults.add(f"{file}:{line}", str(error).removeprefix(f"{file}:{line}: "))
        return
    events = annotation.events.get(path)
    if events is None:
        events = annotation.events[path] = EventList()
    if event is not None:
        events.add(file, line, *event)


def _files(raw: Path, recordings: tuple[str, ...]) -> tuple[list[Path], dict[str, list[Path]], list[Path]]:
    """Return the tables, the tracks of each recording, and the other text files."""
    stems: dict[str, list[str]] = {}
    for recording in recordings:
        stems.setdefault(_folded(PurePosixPath(recording).with_suffix("").as_posix()), []).append(recording)
    tables: list[Path] = []
    others: list[Path] = []
    tracks: dict[str, list[Path]] = {}
    for path in sorted(_text_files(raw)):
        relative = path.relative_to(raw)
        if path.suffix.lower() in _TABLE_SUFFIXES:
            (tables if len(relative.parts) == 1 else others).append(path)
            continue
        found = _recording_of(relative, stems, path)
        if found is not None:
            tracks.setdefault(found, []).append(path)
        elif len(relative.parts) == 1 and is_event_table(path):
            tables.append(path)
        else:
            others.append(path)
    return tables, tracks, others


def _recording_of(relative: Path, stems: dict[str, list[str]], path: Path) -> str | None:
    """Return the recording of the track `NAME.txt` or `NAME.….txt`. Raises InputError when there are two."""
    parts = _folded(relative.name).split(".")[:-1]
    for count in range(len(parts), 0, -1):
        found = stems.get((relative.parent / ".".join(parts[:count])).as_posix(), [])
        if len(found) > 1:
            raise InputError(f"{path} may be of {found[0]} or of {found[1]}; rename one of the videos")
        if found:
            return found[0]
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _text_files(raw: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(raw):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in (SUFFIX, *_TABLE_SUFFIXES):
                yield Path(folder) / name


def _findings(
    annotation: Annotation, tracks: dict[str, list[Path]], others: list[Path], unused: list[str]
) -> Iterator[str]:
    without = [path for path in annotation.recordings if path not in annotation.events]
    if without:
        yield f"videos without annotation, left out: {len(without)} ({_named(without)})"
    for name, (_, where) in list(annotation.missing.items())[:_MOST_NAMED]:
        yield f"{where} names {printable(name)!r}, and there is no such video"
    if len(annotation.missing) > _MOST_NAMED:
        yield f"videos that tables name and that are not there: {len(annotation.missing)}"
    if several := [recording for recording, paths in tracks.items() if len(paths) > 1]:
        yield f"recordings with several label tracks, which are joined: {len(several)} ({_named(several)})"
    if others:
        yield f"text files left out: {len(others)} ({_named([path.name for path in others])})"
    if note := unused_columns(iter(unused)):
        yield note


def _named(names: list[str]) -> str:
    more = ", …" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(printable(name) for name in names[:_MOST_NAMED])}{more}"
