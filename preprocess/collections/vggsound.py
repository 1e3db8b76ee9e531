"""The VGGSound collection: 10 s clips of YouTube videos with one of 309 classes each.

Layout: `vggsound.csv` (`YouTube ID,start second,label,train or test`, without a header line), and the clips
in `video/`, `videos/`, `clips/` or RAW itself, or there in `train/` and `test/`, as `ID_000030.mp4`,
`ID_30.mp4` or `ID_30_40.mp4`.

The collection has no val split: 5 % of the YouTube ids in train are used as val, by a hash of the id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError
from ...shards.published import Published
from .ave import SAMPLING
from .clip_labels import LabelSets
from .clip_list import ClipList, by_split
from .divisions import hash_position
from .names import check_twins, class_name, split_of
from .packed import PackedRows
from .paths import annotation_file, printable, unsafe_name, videos_by_name
from .specification import ClipSpecification, Collection, CollectionEntry
from .tables import TableRow, read_table
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
    classes = tuple(sorted({row.label for row in rows}))
    check_twins(classes, path)
    disk = _Disk(raw, allow_links=allow_links)
    sets = LabelSets(classes)
    moved = 0 if any(row.split == "val" for row in rows) else VAL_SHARE
    clips = by_split(
        ClipSpecification(
            key=f"{row.video}_{row.start:06d}",
            split="val" if row.split == "train" and hash_position(row.video) < moved else row.split,
            source=disk.source(row),
            fields=sets.fields((row.label,)),
            members=sets.members((row.label,)),
            annotated_seconds=SECONDS,
            problem=unsafe_name(row.video, "YouTube id"),
        )
        for row in rows
    )
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
    for number, row in enumerate(table):
        if number == 0 and split_of(row["split"]) is None and _START.fullmatch(row["start"]) is None:
            continue  # a header line, which some copies have
        yield _parse(row)


def _parse(row: TableRow) -> Row:
    start, split = _START.fullmatch(row["start"]), split_of(row["split"])
    if start is None:
        raise InputError(f"{row.where}: start is {printable(row['start'])!r}, must be whole seconds")
    if split is None:
        raise InputError(f"{row.where}: split is {printable(row['split'])!r}, must be train or test")
    label = printable(class_name(check_utf8(row["label"], row.where, "label")))
    if not label:
        raise InputError(f"{row.where}: the label is empty")
    return Row(printable(escaped(row["video"])), int(start[1]), label, split)


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

    def source(self, row: Row) -> str:
        """Return the path of a clip's file; that of the first usual name where there is none."""
        names = (
            f"{row.video}_{row.start:06d}",
            f"{row.video}_{row.start}",
            f"{row.video}_{row.start}_{row.start + SECONDS}",
        )
        for folder, videos in self._videos.items():
            for name in names:
                if name in videos:
                    return folder + videos[name]
        return f"{next(iter(self._videos), _FOLDERS[0])}{names[0]}.mp4"


def _findings(rows: Sequence[Row], clips: ClipList, moved: float) -> Iterator[str]:
    if moved:
        count = clips.counts()["val"]
        yield f"no val split: {count:,} training clips, {moved:.0%} of the YouTube ids, are used as val"
    tested = {row.video for row in rows if row.split == "test"}
    if both := len({row.video for row in rows if row.split != "test" and row.video in tested}):
        yield f"{both:,} YouTube videos have clips in training and in test"
