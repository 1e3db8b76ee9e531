"""The AVE collection: 10 s clips with one audio-visual event each, labelled by the second.

Layout: `Annotations.txt` (`Category&VideoID&Quality&StartTime&EndTime`, with or without that header line),
`trainSet.txt`, `valSet.txt`, `testSet.txt` (rows of the same form) or `train_order.h5`, `val_order.h5`,
`test_order.h5` (numbers of rows of `Annotations.txt`, from 0, the header not counted), `AVE/VideoID.mp4`.

A video with several rows is a clip for each: its key is the video id, then `ID_event2` and so on.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from ...shards.published import Published
from ...shards.schema import SPLITS, AudioStatistics
from .ave_order import read_order
from .clip_list import ClipList
from .names import check_twins, class_name
from .packed import HashList, PackedRows
from .paths import VideoNames, annotation_file, printable, unsafe_name, videos_by_name
from .specification import Collection, CollectionEntry, Sampling, clip_values
from .text_files import check_utf8, escaped, stream_lines

SECONDS = 10
BACKGROUND = "Background"
FOLDER = "AVE"
SAMPLING = Sampling(frames=10, frame_times="evenly", resize="crop", windows=10, window_seconds=1.0)

_FIELDS = ("category", "video id", "quality", "start second", "end second")
_CATEGORY, _VIDEO, _QUALITY, _START, _END = range(len(_FIELDS))
_MOST_KNOWN = 4096  # different rows but for the video
_WHOLE_NUMBER = re.compile(r"[0-9]{1,4}")


class Annotation(NamedTuple):
    """One row: the event fills the seconds `[start, end)`."""

    category: str
    video: str
    quality: str
    start: int
    end: int

    @property
    def event(self) -> tuple[str, str, int, int]:
        """Identity of a row, as `_event`."""
        return _event(*self)


def _event(category: str, video: str, _quality: str, start: int, end: int) -> tuple[str, str, int, int]:
    """Return the identity of a row; the quality is left out because split files may grade it differently."""
    return video, category, start, end


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the annotations and splits under `raw`. Raises InputError naming the file and line at fault."""
    path = annotation_file(raw, raw / "Annotations.txt", allow_links=allow_links)
    annotations = PackedRows((row for _, row in read_rows(path)), make=Annotation._make)
    if not annotations:
        raise InputError(f"{path} holds no annotation rows")
    check_twins(_categories(annotations), path, background=BACKGROUND)
    planner = _Planner(annotations, videos_by_name(raw, FOLDER, allow_links=allow_links))
    splits = _SplitFiles(raw, annotations, allow_links=allow_links)
    clips = ClipList.of_values(planner.specify(row, split) for split in SPLITS for row in splits.rows(split))
    return Collection(
        name="ave",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=(*planner.classes, BACKGROUND),
        clips=clips,
        findings=tuple(_findings(annotations, planner.repeated)),
        media_folders=(FOLDER,),
        published=COLLECTION.published,
    )


# Counts: Table 8 of the STG-CMA paper, and the published splits. Audio: constants of the STG-CMA release.
COLLECTION = CollectionEntry(
    read=read,
    task="ave",
    summary="RAW/Annotations.txt, RAW/*Set.txt, RAW/AVE/*.mp4",
    published=Published(
        clips={"train": 3339, "val": 402, "test": 402},
        classes=29,
        audio=AudioStatistics(mean=-4.1426, std=3.2001),
    ),
)


def read_rows(path: Path) -> Iterator[tuple[int, Annotation]]:
    """Yield the rows of an annotation or split file with their lines; the header line is left out."""
    # A form feed or the like within a name does not end a line.
    lines = stream_lines(path, hint=f"RAW must be the AVE folder, with {path.name} and AVE/*.mp4 in it")
    known: dict[tuple[str, ...], tuple[str, str, int, int]] = {}  # of the cells but the video
    for number, line in enumerate(lines, start=1):
        parts = line.strip().split("&")
        if len(parts) != len(_FIELDS):
            if not line.strip():
                continue
            raise InputError(
                f"{path}:{number}: {len(parts)} fields in {line.strip()!r}, "
                f"expected {len(_FIELDS)}: {', '.join(_FIELDS)}"
            )
        video = parts.pop(1).strip(" \t")
        said = tuple(parts)
        if said not in known:
            category, quality, start, end = (part.strip(" \t") for part in parts)
            if number == 1 and category.casefold() == "category" and not start.isdecimal():
                continue
            if len(known) == _MOST_KNOWN:
                known.clear()
            known[said] = _parse(category, quality, start, end, f"{path}:{number}")
        category, quality, begin, until = known[said]
        yield number, Annotation(category, printable(escaped(video)), quality, begin, until)


def _parse(category: str, quality: str, start: str, end: str, where: str) -> tuple[str, str, int, int]:
    if not (_WHOLE_NUMBER.fullmatch(start) and _WHOLE_NUMBER.fullmatch(end)):
        raise InputError(f"{where}: start {start!r} and end {end!r} must be whole seconds")
    if int(start) > int(end) or int(end) > SECONDS:
        raise InputError(f"{where}: seconds {start} to {end} must lie in order within 0 to {SECONDS}")
    return (
        sys.intern(printable(class_name(check_utf8(category, where, "category")))),
        sys.intern(escaped(quality)),
        int(start),
        int(end),
    )


class _SplitFiles:
    """The files that say which rows of `Annotations.txt` a split has."""

    def __init__(self, raw: Path, annotations: PackedRows[Annotation], *, allow_links: bool) -> None:
        self._raw, self._annotations, self._allow_links = raw, annotations, allow_links
        self._known: set[int] = set()  # hashes of all rows: a million rows themselves take 200 MB

    def rows(self, split: str) -> Iterator[Annotation]:
        """Yield the annotation rows of a split: by its `Set.txt`, else by its `_order.h5`."""
        rows, order = (
            annotation_file(self._raw, self._raw / name, allow_links=self._allow_links)
            for name in (f"{split}Set.txt", f"{split}_order.h5")
        )
        if not rows.is_file() and not order.is_file():
            raise InputError(
                f"{rows} is missing, and so is {order.name}; one of them must name the {split} clips"
            )
        if not rows.is_file():
            yield from self._annotations.chosen(read_order(order, len(self._annotations)))
            return
        self._known = self._known or {hash(_event(*row)) for row in self._annotations.values()}
        for line, row in read_rows(rows):
            if hash(_event(*row)) not in self._known:
                where = f"{rows}:{line}"
                raise InputError(f"{where}: {'&'.join(map(str, row))} is not a row of Annotations.txt")
            yield row


class _Planner:
    """Makes clips of annotation rows.

    Attributes:
        classes: categories in the order of their first appearance in `Annotations.txt`.
    """

    def __init__(self, annotations: PackedRows[Annotation], videos: VideoNames) -> None:
        self.classes = tuple(_categories(annotations))
        self._index = {name: index for index, name in enumerate(self.classes)}
        self._videos = videos
        self.repeated = _repeated(annotations)
        self._later_keys = _later_keys(annotations, self.repeated)
        # Clips of one class and interval share their labels and fields: a million rows are few of them.
        self._kinds: dict[tuple[str, int, int], tuple[tuple[int, ...], dict[str, str | int]]] = {}

    def specify(self, row: Annotation, split: str) -> tuple[Any, ...]:
        """The clip of a row, as its fields."""
        category, video, _, start, end = row
        kind = (category, start, end)
        if kind not in self._kinds:
            inside, outside = self._index[category], len(self.classes)
            labels = tuple(inside if start <= second < end else outside for second in range(SECONDS))
            fields: dict[str, str | int] = {"category": category, "start_seconds": start, "end_seconds": end}
            self._kinds[kind] = labels, fields
        labels, fields = self._kinds[kind]
        name = self._videos.get(video)
        return clip_values(
            key=self._later_keys.get(row.event, video) if self._later_keys else video,
            split=split,
            source=f"{FOLDER}/{name}" if name else f"{FOLDER}/{video}.mp4",
            labels=labels,
            annotated_seconds=SECONDS,
            event_end_seconds=end if start < end else 0,
            fields=fields,
            problem=unsafe_name(video, "video id"),
        )


def _categories(annotations: PackedRows[Annotation]) -> dict[str, None]:
    """Return the categories in the order of their first appearance."""
    return dict.fromkeys(map(itemgetter(_CATEGORY), annotations.values()))


def _repeated(annotations: PackedRows[Annotation]) -> set[str]:
    """Return the videos with several rows."""
    hashes = HashList()
    hashes.add_all(map(itemgetter(_VIDEO), annotations.values()))
    again = hashes.repeated()
    if not again:
        return set()
    counts = Counter(row.video for row in annotations if hash(row.video) in again)
    return {video for video, count in counts.items() if count > 1}


def _later_keys(
    annotations: PackedRows[Annotation], repeated: set[str]
) -> dict[tuple[str, str, int, int], str]:
    """Return the keys of the second and later distinct rows of a video; the first has the video id."""
    seen: dict[str, list[tuple[str, str, int, int]]] = {}
    for row in annotations if repeated else ():
        if row.video in repeated:
            events = seen.setdefault(row.video, [])
            if row.event not in events:
                events.append(row.event)
    return {
        event: f"{event[0]}_event{number}"
        for events in seen.values()
        for number, event in enumerate(events[1:], start=2)
    }


def _findings(annotations: PackedRows[Annotation], repeated: set[str]) -> Iterator[str]:
    if repeated:
        yield f"{len(repeated)} videos carry more than one annotation row; each row is a clip of its own"
    if empty := sum(values[_START] == values[_END] for values in annotations.values()):
        yield f"{empty} events have zero length: their clips are background throughout"
