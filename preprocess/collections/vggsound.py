"""The VGGSound collection: 10 s clips of YouTube videos with one of 309 classes each.

Layout: `vggsound.csv` (`YouTube ID,start second,label,train or test`, without a header line), and the clips
in `video/`, `videos/`, `clips/` or RAW itself, or there in `train/` and `test/`, as `ID_000030.mp4`,
`ID_30.mp4` or `ID_30_40.mp4`.

The collection has no val split: 5 % of the YouTube ids in train are used as val, by a hash of the id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from ...shards.published import Published
from .ave import SAMPLING
from .clip_labels import LabelSets
from .clip_list import ClipList, values_by_split
from .divisions import hash_position
from .names import check_twins, class_name, split_of
from .packed import PackedRows
from .paths import annotation_file, printable, unsafe_name, videos_by_name
from .specification import Collection, CollectionEntry, clip_values
from .tables import read_table
from .text_files import check_utf8, escaped

ANNOTATIONS = "vggsound.csv"
SECONDS = 10
VAL_SHARE = 0.05
"""Share of the YouTube ids of the training split that are used as val."""

_COLUMNS = {"video": ("video",), "start": ("start",), "label": ("label",), "split": ("split",)}
_FOLDERS = tuple(
    folder + split for folder in ("video/", "videos/", "clips/", "") for split in ("", "train/", "test/")
)
_START = re.compile(r"([0-9]{1,6})(?:\.0+)?")


class Row(NamedTuple):
    """A clip of the annotation file, which begins at second `start` of its YouTube video."""

    video: str
    start: int
    label: str
    split: str


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the annotations under `raw`. Raises InputError naming the file and line at fault."""
    path = annotation_file(raw, raw / ANNOTATIONS, allow_links=allow_links)
    rows = PackedRows(read_rows(path), make=Row._make)
    if not rows:
        raise InputError(f"{path} holds no rows")
    classes = tuple(sorted({label for _, _, label, _ in rows.values()}))
    check_twins(classes, path)
    disk = _Disk(raw, allow_links=allow_links)
    moved = 0 if any(split == "val" for _, _, _, split in rows.values()) else VAL_SHARE
    clips = values_by_split(_specify(rows, disk, LabelSets(classes), moved))
    return Collection(
        name="vggsound",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=classes,
        clips=clips,
        findings=tuple(_findings(rows, clips, moved)),
        media_folders=disk.folders,
        published=COLLECTION.published,
        features={"labels_per_clip": "one"},
    )


# Classes: appendix of the paper (arXiv 2004.14368). Its numbers of clips are not those of the published file.
COLLECTION = CollectionEntry(
    read=read,
    task="avc",
    summary="RAW/vggsound.csv, RAW/video/ID_000030.mp4",
    published=Published(clips={}, classes=309),
)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of `vggsound.csv`. Raises InputError naming the line at fault."""
    table = read_table(
        path, columns=_COLUMNS, header=False, hint=f"RAW must be a folder with {ANNOTATIONS} and video/*.mp4"
    )
    labels: dict[str, str] = {}
    for number, (line, (video, start, label, split)) in enumerate(table.cells()):
        seconds, known = _seconds(start), split_of(split)
        if seconds is None or known is None or label not in labels:
            if number == 0 and known is None and seconds is None:
                continue  # a header line, which some copies have
            labels[label] = _check(f"{path}:{line}", start, label, split)
        yield Row(printable(escaped(video)), seconds or 0, labels[label], known or "")


def _check(where: str, start: str, label: str, split: str) -> str:
    """Return the class of a row. Raises InputError naming `where` when a cell cannot be used."""
    if _seconds(start) is None:
        raise InputError(f"{where}: start is {printable(start)!r}, must be whole seconds")
    if split_of(split) is None:
        raise InputError(f"{where}: split is {printable(split)!r}, must be train or test")
    name = printable(class_name(check_utf8(label, where, "label")))
    if not name:
        raise InputError(f"{where}: the label is empty")
    return name


@lru_cache(maxsize=1024)
def _seconds(text: str) -> int | None:
    """Return whole seconds; None for other text."""
    found = _START.fullmatch(text)
    return None if found is None else int(found[1])


def _specify(rows: PackedRows[Row], disk: _Disk, sets: LabelSets, moved: float) -> Iterator[tuple[Any, ...]]:
    """Yield the clips of all rows, as their fields."""
    for video, start, label, split in rows.values():
        labels = (label,)
        yield clip_values(
            key=f"{video}_{start:06d}",
            split="val" if moved and split == "train" and hash_position(video) < moved else split,
            source=disk.source(video, start),
            fields=sets.fields(labels),
            members=sets.members(labels),
            annotated_seconds=SECONDS,
            problem=unsafe_name(video, "YouTube id"),
        )


class _Disk:
    """The clips on disk. Every folder that may hold some is listed once.

    Attributes:
        folders: those with videos, relative to the raw folder.
    """

    def __init__(self, raw: Path, *, allow_links: bool) -> None:
        listed = {
            folder: videos_by_name(raw, folder.rstrip("/"), allow_links=allow_links) for folder in _FOLDERS
        }
        self._videos = {folder: videos for folder, videos in listed.items() if videos}
        self.folders = tuple(folder.rstrip("/") for folder in self._videos)

    def source(self, video: str, start: int) -> str:
        """Return the path of a clip's file; that of the first usual name where there is none."""
        usual = f"{video}_{start:06d}"
        for folder, videos in self._videos.items():
            if found := videos.get(usual):
                return f"{folder}{found}"
            for name in (f"{video}_{start}", f"{video}_{start}_{start + SECONDS}"):
                if name in videos:
                    return folder + videos[name]
        return f"{next(iter(self._videos), _FOLDERS[0])}{usual}.mp4"


def _findings(rows: PackedRows[Row], clips: ClipList, moved: float) -> Iterator[str]:
    if moved:
        count = clips.counts()["val"]
        yield f"no val split: {count:,} training clips, {moved:.0%} of the YouTube ids, are used as val"
    tested = {video for video, _, _, split in rows.values() if split == "test"}
    if both := len({video for video, _, _, split in rows.values() if split != "test" and video in tested}):
        yield f"{both:,} YouTube videos have clips in training and in test"
