"""The AVSBench-MS3 collection: 5 s clips with one or several sounding objects, and masks of their pixels.

Layout: `ms3_meta_data.csv` (column 0 the clip, column 1 its split), and beside it or in `ms3_data/`:
`raw_videos/NAME.mp4` and `gt_masks/SPLIT/NAME/NAME_1.png` … `NAME_5.png`, in training too. Where there is no
video, `visual_frames/NAME/NAME.mp4_1.png` … `NAME.mp4_5.png` are its frames, and `audio_wav/SPLIT/NAME.wav`
is its sound. There are no categories, hence no classes.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import InputError
from ...shards.published import Published
from ...shards.schema import SPLITS, AudioStatistics
from .avsbench import (
    SAMPLING,
    PartFiles,
    Row,
    data_folder,
    read_lines,
    series,
    split_folder,
    table_path,
)
from .clip_list import values_by_split
from .names import read_split, split_of
from .packed import PackedRows
from .path_series import Series, all_paths
from .paths import annotation_file, folder_names, printable
from .specification import Collection, CollectionEntry
from .text_files import escaped

ANNOTATIONS = "ms3_meta_data.csv"

_DATA_FOLDERS = ("", "ms3_data/")
_NAME_COLUMNS = ("name", "video_name", "video_id", "uid", "id")
_YOUTUBE_ID_LETTERS = 11


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the annotations under `raw`. Raises InputError naming the file and line at fault."""
    path = annotation_file(raw, table_path(raw, ANNOTATIONS, _DATA_FOLDERS), allow_links=allow_links)
    rows, header = read_rows(path)
    files = _Files(raw, data_folder(raw, _DATA_FOLDERS), allow_links, mask_kind="two-values")
    clips = values_by_split(map(files.specify, rows))
    return Collection(
        name="avs-ms3",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=(),
        clips=clips,
        findings=(*header, *files.findings(rows), *shared_videos(rows)),
        media_folders=(f"{files.data}raw_videos",),
        published=COLLECTION.published,
    )


# Counts: rows of v1m in the metadata of AVSBench-semantic. Audio: constants of the STG-CMA release.
COLLECTION = CollectionEntry(
    read=read,
    task="avs",
    summary="RAW/ms3_meta_data.csv, RAW/raw_videos/*.mp4, RAW/gt_masks/SPLIT/…",
    published=Published(
        clips={"train": 296, "val": 64, "test": 64},
        audio=AudioStatistics(mean=-5.6696, std=3.9484),
    ),
)


def read_rows(path: Path) -> tuple[PackedRows[Row], list[str]]:
    """Return the rows of `ms3_meta_data.csv`, and a note on its first line where that is unclear.

    The columns are read by position, as the authors do, or by name where the header has known names. A first
    line whose second field is no split is the header. Raises InputError naming the line at fault.
    """
    hint = f"RAW must be the AVSBench-MS3 folder, with {ANNOTATIONS} and raw_videos in it"
    lines = ((number, fields) for number, fields in read_lines(path, hint=hint) if any(fields))
    places, notes = (0, 1), []
    first = next(lines, None)
    if first is not None and not _is_row(first[1]):
        number, header = first
        first = None
        places, known = _columns(header)
        if not known:
            shown = printable(",".join(header))[:200]
            notes.append(f"{path.name}:{number} is taken for the names of the columns: {shown!r}")
    every = lines if first is None else itertools.chain([first], lines)
    rows = PackedRows(
        (_parse(fields, places, f"{path}:{number}") for number, fields in every), make=Row._make
    )
    if not rows:
        raise InputError(f"{path} holds no rows")
    return rows, notes


def _is_row(fields: list[str]) -> bool:
    return len(fields) > 1 and split_of(fields[1]) is not None


def _columns(header: list[str]) -> tuple[tuple[int, int], bool]:
    """Return the places of name and split, and whether the header names the latter."""
    names = [name.casefold() for name in header]
    name = next((names.index(known) for known in _NAME_COLUMNS if known in names), 0)
    return (name, names.index("split") if "split" in names else 1), "split" in names


def _parse(fields: list[str], places: tuple[int, int], where: str) -> Row:
    if len(fields) <= max(places):
        raise InputError(f"{where}: {len(fields)} fields in {','.join(fields)!r}, expected {max(places) + 1}")
    name, split = (fields[place] for place in places)
    return Row(escaped(name), "", read_split(split, where))


def video_of(name: str) -> str:
    """Return the YouTube id of a clip's name: `ID_2` is the clip 2 of a video, a plain `ID` is the video.

    Ids have 11 characters, of which `_` and digits may be the last.
    """
    if len(name) <= _YOUTUBE_ID_LETTERS:
        return name
    cut = re.fullmatch(r"(.+)_[0-9]+", name)
    return cut[1] if cut else name


def shared_videos(rows: PackedRows[Row]) -> Iterator[str]:
    """Yield a note on videos of which several splits have clips."""
    trained = {video_of(name) for name, _, split in rows.values() if split == "train"}
    clips: Counter[str] = Counter()
    known: Counter[str] = Counter()
    others: set[str] = set()
    for name, _, split in rows.values():
        clips[split] += 1
        if split != "train":
            video = video_of(name)
            known[split] += video in trained
            others.add(video)
    shared = [
        f"{known[split]} of {clips[split]} {split} clips"
        for split in SPLITS
        if split != "train" and known[split]
    ]
    if shared:
        distinct = len(trained) + len(others - trained)
        yield (
            f"{clips.total()} clips are of {distinct} videos by their names: {' and '.join(shared)} are of a "
            "video of which training has clips too"
        )


@dataclass
class _Files(PartFiles):
    """Files of the part with several sources: videos and frames of all splits in one folder."""

    _places: dict[tuple[str, str], str] = field(default_factory=dict)

    def place(self, kind: str, row: Row) -> str:
        asked = (kind, row.split)
        if asked not in self._places:
            folder = f"{self.data}{kind}"
            if kind not in ("raw_videos", "visual_frames"):
                folder += f"/{split_folder(self.names_in(folder, folders=True), row.split)}"
            self._places[asked] = folder
        return self._places[asked]

    def masks(self, folder: str, row: Row) -> Series:
        return series(folder, row.name)

    def pictures(self, folder: str, row: Row) -> Series:
        """Return the frames, whose names follow that of the video: `NAME.mp4_1.png`."""
        there = folder_names(self.raw, f"{folder}/{row.name}", allow_links=self.allow_links)
        plain = super().pictures(folder, row)
        if any(path.rpartition("/")[2] in there for path in all_paths(plain)):
            return plain
        return series(folder, row.name, suffix=".mp4")
