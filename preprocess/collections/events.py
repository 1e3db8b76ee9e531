"""Recordings of any length with events: windows of them, with the events of every second.

Recordings lie anywhere below RAW. Their events are rows of the tables `RAW/*.csv`, `RAW/*.tsv` and
`RAW/*.txt` (`event_tables`), or label tracks of Audacity beside them, `NAME.txt` and `NAME.….txt`
(`label_tracks`).

Windows follow each other as in prediction; the last one ends with the recording. Seconds without events are
background. Where no two classes meet in a second and no modality is given, the task is `ave`, with one class
a second; otherwise `avvp`, with any number of audible and visible classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from ...shards.schema import SPLITS
from ..media.probe import COVERAGE_TOLERANCE_SECONDS
from ..media.reasons import ClipError
from .arrays import npy_bytes
from .ave import BACKGROUND
from .clip_list import ClipList
from .divisions import path_key
from .event_files import Annotation, read_annotations
from .event_rows import EventList, EventRow, Faults, check_labels
from .event_windows import marked_steps, step_events, step_labels
from .options import CollectionOptions, option
from .paths import printable
from .recordings import Lengths, ReadLengths, read_lengths
from .specification import (
    ClipSpecification,
    Collection,
    CollectionEntry,
    Sampling,
    clip_values,
    field_values,
)
from .windows import Span, plan_windows, second_edges, window_spans

_PARSING = "avvp"


@dataclass(frozen=True, kw_only=True)
class EventOptions(CollectionOptions):
    """Options of the collection.

    Attributes:
        window_seconds: length of a window, and its number of frames.
        hop_seconds: distance of successive windows; None for that of their length.
        task: `auto` decides by the events.
    """

    window_seconds: int = option(10, "Length of a window of a recording.", minimum=2, maximum=60)
    hop_seconds: int | None = option(
        None,
        "Distance from one window to the next; by default they do not overlap.",
        kind=int,
        minimum=1,
        maximum=60,
    )
    task: str = option(
        "auto",
        "Task of the labels; auto is avvp where classes overlap or a modality is given.",
        choices=("auto", "ave", _PARSING),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hop > self.window_seconds:
            raise InputError(
                f"hop_seconds is {self.hop}, must be at most window_seconds, {self.window_seconds}: "
                "otherwise seconds between the windows are lost"
            )

    @property
    def hop(self) -> int:
        """Distance of successive windows, in seconds."""
        return self.window_seconds if self.hop_seconds is None else self.hop_seconds

    def to_json(self) -> dict[str, Any]:
        """Return the window and the hop; the task is recorded with the data set."""
        return {"window_seconds": self.window_seconds, "hop_seconds": self.hop}


@dataclass(frozen=True, slots=True)
class _Source:
    """A recording that can be opened, with its events."""

    path: str
    split: str
    length: float
    events: EventList

    def cut(self, options: EventOptions, sampling: Sampling, classes: Sequence[str]) -> _Recording:
        """Return the recording in windows."""
        windows = window_spans(self.length, options.window_seconds, hop_seconds=options.hop)
        seconds = second_edges(self.length)
        if len(seconds) < sampling.frames:
            (only,) = plan_windows(self.length, options.window_seconds, sampling)
            seconds = np.array(only.steps)
        steps = step_events(self.events, seconds, classes)
        return _Recording(self.path, self.split, self.events, windows, sampling.frames, seconds, steps)


@dataclass(frozen=True)
class _Recording:
    """A recording in windows: large, so made one at a time.

    Attributes:
        windows: their spans.
        frames: number of time steps T of a window.
        seconds: the time steps of all windows: seconds, or those of the only window: start and end `[T, 2]`.
        steps: the events of these steps: uint8 `[2, seconds, C]`.
    """

    path: str
    split: str
    events: EventList
    windows: Sequence[Span]
    frames: int
    seconds: npt.NDArray[np.float64]
    steps: npt.NDArray[np.uint8]

    def steps_of(self, window: Span) -> npt.NDArray[np.uint8]:
        """Return the events of a window's steps: uint8 `[2, T, C]`."""
        start = int(window[0])
        return self.steps[:, start : start + self.frames]


def read(raw: Path, *, allow_links: bool = False, options: EventOptions | None = None) -> Collection:
    """Find the recordings below `raw` and read their events.

    Raises InputError naming file and line for rows that cannot be used.
    """
    return read_events(raw, options or EventOptions(), allow_links=allow_links, lengths=read_lengths)


def read_events(raw: Path, options: EventOptions, *, allow_links: bool, lengths: ReadLengths) -> Collection:
    """Read the collection as `read`; `lengths` returns the lengths of recordings below `raw`."""
    faults = Faults()
    annotation = read_annotations(raw, faults, allow_links=allow_links)
    paths = list(annotation.events)
    found = lengths(raw, paths, allow_links)
    for path in paths:
        length = found[path]
        if not isinstance(length, ClipError):
            _check_inside(path, annotation.events[path], length, faults)
    faults.check()
    splits = annotation.splits.decide(paths)
    classes = check_labels(annotation.events.values(), BACKGROUND)
    if not classes:
        raise InputError(f"{raw}: no recording has an event; label some first")
    evenly = Sampling(options.window_seconds, "evenly", "crop", options.window_seconds, 1.0)
    middle = replace(evenly, frame_times="middle")
    recordings = [
        _Source(path, splits[path], length, events)
        for path, events in annotation.events.items()
        if not isinstance(length := found[path], ClipError)
    ]
    task, reason = _task((one.cut(options, evenly, classes) for one in recordings), options)
    sampling = middle if task == _PARSING else evenly
    others = [_unopened(path, splits[path], error) for path, error in _errors(found)]
    others += [_missing(name, split, where) for name, (split, where) in annotation.missing.items()]
    order = {split: number for number, split in enumerate(SPLITS)}
    # In the order of split, source and start; recordings are those of the videos, so no clip of `others`.
    sources: list[tuple[int, str, _Source | ClipSpecification]] = [
        *((order[one.split], one.path, one) for one in recordings),
        *((order[clip.split], clip.source, clip) for clip in others),
    ]
    sources.sort(key=lambda source: source[:2])
    clips = ClipList.of_values(
        values
        for _, _, one in sources
        for values in (
            [field_values(one)]
            if isinstance(one, ClipSpecification)
            else _clips(one.cut(options, sampling, classes), classes, task)
        )
    )
    return Collection(
        name="events",
        task=task,
        sampling=sampling,
        classes=classes if task == _PARSING else (*classes, BACKGROUND),
        clips=clips,
        findings=(*_findings(recordings, splits, annotation, reason), *annotation.findings),
        rows={split: sum(len(one.events) for one in recordings if one.split == split) for split in SPLITS},
        media_folders=tuple(sorted({_folder(path) for path in annotation.recordings})),
        annotation_files=annotation.files,
    )


COLLECTION = CollectionEntry(
    read=read,
    task="ave",
    other_tasks=(_PARSING,),
    summary="RAW/**/NAME.mp4, and RAW/events.csv or label tracks NAME.txt of Audacity beside them",
    options=EventOptions,
    needs_folder=True,
)


def _folder(path: str) -> str:
    parent = PurePosixPath(path).parent.as_posix()
    return "" if parent == "." else parent


def _check_inside(path: str, rows: EventList, length: float, faults: Faults) -> None:
    """Note the events that begin at or end after the end of their recording."""
    if rows.latest < length:
        return
    for row in rows:
        if (row.onset >= length and not row.is_point) or row.offset > length + COVERAGE_TOLERANCE_SECONDS:
            faults.add(
                row.where,
                f"the event from {row.onset:g} to {row.offset:g} s is beyond the end of {path}, which lasts "
                f"{length:.2f} s",
            )


def _task(recordings: Iterable[_Recording], options: EventOptions) -> tuple[str, str]:
    """Return the task, and the reason as a finding. Raises InputError when the chosen one is impossible."""
    reason = next(filter(None, map(_reason_for_parsing, recordings)), None)
    if options.task == _PARSING:
        return _PARSING, f"task {_PARSING}, as chosen"
    if reason is None:
        return "ave", "task ave: one class a second" + (", as chosen" if options.task == "ave" else "")
    if options.task == "ave":
        raise InputError(
            f"{reason}; task ave has one class a second, choose {_PARSING} or correct the labels"
        )
    return _PARSING, f"task {_PARSING}: {reason}"


def _reason_for_parsing(recording: _Recording) -> str | None:
    if recording.events.has_modality:
        row = next(row for row in recording.events if row.modality != "both")
        return f"{row.where} is {row.modality} only"
    several = np.flatnonzero(recording.steps.any(axis=0).sum(axis=1) > 1)
    if not len(several):
        return None
    step = int(several[0])
    first: dict[str, EventRow] = {}
    seconds: list[Span] = [(start, end) for start, end in recording.seconds.tolist()]
    starts = [start for start, _ in seconds]
    for row in recording.events:
        if step in marked_steps(row.onset, row.offset, seconds, starts):
            first.setdefault(row.label, row)
    one, other, *_ = first.values()
    start = seconds[step][0]
    both = f"{one.where} ({one.label}) and {other.where} ({other.label})"
    return f"{both} are in the same second, from {start:g} s"


def _clips(recording: _Recording, classes: Sequence[str], task: str) -> Iterator[tuple[Any, ...]]:
    """Yield a clip for every window, as its fields."""
    key = path_key(recording.path)
    problem = _unsafe(recording.path)
    parsing = task == _PARSING
    seconds = () if parsing else step_labels(recording.steps)
    names: dict[tuple[int, ...], list[str]] = {}  # by labels: windows have few different ones
    for window in recording.windows:
        start, end = window
        labels: tuple[int, ...] = ()
        members: tuple[tuple[str, bytes], ...] = ()
        if parsing:
            found = recording.steps_of(window)
            tags: npt.NDArray[np.uint8] = np.asarray(found.any(axis=(0, 1)), dtype=np.uint8)
            present = [classes[number] for number in np.flatnonzero(tags).tolist()]
            members = (("events.npy", npy_bytes(np.ascontiguousarray(found))), ("tags.npy", npy_bytes(tags)))
        else:
            labels = seconds[int(start) : int(start) + recording.frames]
            if labels not in names:
                names[labels] = [classes[number] for number in sorted(set(labels) - {len(classes)})]
            present = names[labels]
        yield clip_values(
            key=f"{key}-{int(start):05d}",
            split=recording.split,
            source=recording.path,
            labels=labels,
            fields={"categories": present, "start_seconds": start},
            members=members,
            start_seconds=start,
            end_seconds=end,
            problem=problem,
        )


def _unsafe(path: str) -> tuple[str, str] | None:
    if printable(path) == path:
        return None
    return "unsafe-path", f"{printable(path)!r} has bytes that are not UTF-8, or control characters"


def _errors(lengths: Lengths) -> Iterator[tuple[str, ClipError]]:
    return ((path, one) for path, one in lengths.items() if isinstance(one, ClipError))


def _unopened(path: str, split: str, error: ClipError) -> ClipSpecification:
    return ClipSpecification(
        path_key(PurePosixPath(path)), split, printable(path), problem=(error.reason, error.message)
    )


def _missing(name: str, split: str, where: str) -> ClipSpecification:
    message = f"{where} names {printable(name)}, and there is no such video"
    return ClipSpecification(
        path_key(PurePosixPath(name)), split, printable(name), problem=("missing", message)
    )


def _findings(
    recordings: Sequence[_Source], splits: dict[str, str], annotation: Annotation, reason: str
) -> Iterator[str]:
    counts = {split: sum(one == split for one in splits.values()) for split in SPLITS}
    by = "given" if annotation.splits.given else "by a hash of the names"
    shares = ", ".join(f"{split} {count}" for split, count in counts.items())
    minutes = sum(one.length for one in recordings) / 60
    events = sum(len(one.events) for one in recordings)
    yield f"recordings: {len(recordings)}, {minutes:.1f} minutes with {events} events; {shares} ({by})"
    yield reason
    if not all(counts.values()):
        without = " and ".join(split for split, count in counts.items() if not count)
        yield f"no recording is in {without}: training needs three recordings, one for each split"
    points = sum(one.events.points for one in recordings)
    if points:
        yield f"labels that are points in time: {points}; each marks the second that it is in"
