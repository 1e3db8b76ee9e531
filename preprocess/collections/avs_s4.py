"""The AVSBench-S4 collection: 5 s clips with one sounding object, and masks of its pixels.

Layout: `s4_meta_data.csv` (columns `name`, `category`, `split`, and others), and beside it or in `s4_data/`:
`raw_videos/SPLIT/CATEGORY/NAME.mp4`, `gt_masks/SPLIT/CATEGORY/NAME/NAME_1.png` … `NAME_5.png` (for training
the first only as published; further ones are used where they are). Where there is no video,
`visual_frames/SPLIT/CATEGORY/NAME/NAME_1.png` … `NAME_5.png` are its frames, and
`audio_wav/SPLIT/CATEGORY/NAME.wav` is its sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...shards.published import Published
from ...shards.schema import SPLITS, AudioStatistics
from .avsbench import (
    SAMPLING,
    SECONDS,
    PartFiles,
    Row,
    data_folder,
    read_lines,
    series,
    split_folder,
    table_path,
)
from .clip_list import values_by_split
from .names import check_twins, class_key, class_name, read_split, split_of
from .packed import PackedRows
from .path_series import Series
from .paths import MAX_NAME_BYTES, annotation_file, folder_names, printable
from .specification import Collection, CollectionEntry
from .text_files import check_utf8, escaped

ANNOTATIONS = "s4_meta_data.csv"
MASKS = {"train": 1, "val": SECONDS, "test": SECONDS}

_DATA_FOLDERS = ("", "s4_data/")
_COLUMNS = {"name": ("name", "video_name", "video_id"), "category": ("category",), "split": ("split",)}


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the annotations under `raw`. Raises InputError naming the file and line at fault."""
    path = annotation_file(raw, table_path(raw, ANNOTATIONS, _DATA_FOLDERS), allow_links=allow_links)
    rows = read_rows(path)
    categories = tuple(dict.fromkeys(category for _, category, _ in rows.values()))
    check_twins(categories, path)
    files = _Files(raw, data_folder(raw, _DATA_FOLDERS), allow_links)
    clips = values_by_split(map(files.specify, rows))
    return Collection(
        name="avs-s4",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=categories,
        clips=clips,
        findings=tuple(files.findings(rows)),
        media_folders=tuple(files.video_folders()),
        published=COLLECTION.published,
    )


# Counts: Table 8 of the STG-CMA paper, and the published splits. Audio: constants of the STG-CMA release.
COLLECTION = CollectionEntry(
    read=read,
    task="avs",
    summary="RAW/s4_meta_data.csv, RAW/raw_videos/SPLIT/CATEGORY/*.mp4, RAW/gt_masks/…",
    published=Published(
        clips={"train": 3452, "val": 740, "test": 740},
        classes=23,
        audio=AudioStatistics(mean=-5.6696, std=3.9484),
    ),
)


def read_rows(path: Path) -> PackedRows[Row]:
    """The rows of `s4_meta_data.csv`. Raises InputError naming the line at fault."""
    hint = f"RAW must be the AVSBench-S4 folder, with {ANNOTATIONS} and raw_videos in it"
    lines = read_lines(path, hint=hint)
    header = [column.casefold() for column in next(lines, (1, []))[1]]
    places = [_column(header, names, path) for names in _COLUMNS.values()]
    rows = PackedRows(_parsed(lines, places, path), make=Row._make)
    if not rows:
        raise InputError(f"{path} holds no rows below its header")
    return rows


def _parsed(lines: Iterable[tuple[int, list[str]]], places: list[int], path: Path) -> Iterator[Row]:
    width = max(places) + 1
    categories: dict[str, str] = {}
    for number, fields in lines:
        if not any(fields):
            continue
        where = f"{path}:{number}"
        if len(fields) < width:
            raise InputError(f"{where}: {len(fields)} fields in {','.join(fields)!r}, expected {width}")
        name, said, split = (fields[place] for place in places)
        split = read_split(split, where)
        if said not in categories:
            categories[said] = printable(class_name(check_utf8(said, where, "category")))
        yield Row(escaped(name), categories[said], split)


def _column(header: list[str], names: tuple[str, ...], path: Path) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise InputError(
        f"{path}:1: the columns are {', '.join(header)[:200] or 'none'}; there must be {' or '.join(names)}"
    )


def _is_folder_name(name: str) -> bool:
    if not name.isprintable() or name in ("", ".", "..") or set(name) & set("/\\"):
        return False
    return len(name.encode()) <= MAX_NAME_BYTES


def _split_rank(name: str) -> tuple[int, str]:
    split = split_of(name)
    return (SPLITS.index(split) if split else len(SPLITS), name)


@dataclass
class _Files(PartFiles):
    """Files of the part with one source, in folders by split and category."""

    _places: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _fields: dict[str, dict[str, str]] = field(default_factory=dict)

    def fields(self, row: Row) -> Mapping[str, Any]:
        return self._fields.setdefault(row.category, {"category": row.category})

    def folder_problem(self, row: Row) -> tuple[str, str] | None:
        if _is_folder_name(row.category):
            return None
        return "unsafe-path", f"category {row.category!r} cannot name a folder"

    def findings(self, rows: PackedRows[Row]) -> Iterator[str]:
        yield from super().findings(rows)
        if more := self.counts["more"]:
            yield (
                f"{more} training clips have masks beyond the first, which are used as well: "
                "as published, training sees one mask a clip"
            )

    def video_folders(self) -> list[str]:
        """Return every folder of videos, referenced or not."""
        top = f"{self.data}raw_videos"
        return [
            f"{top}/{split}/{category}"
            for split in sorted(self.names_in(top, folders=True), key=_split_rank)
            if split_of(split)
            for category in sorted(self.names_in(f"{top}/{split}", folders=True))
        ]

    def masks(self, folder: str, row: Row) -> Series:
        """Return the clip's masks by frame, empty for a frame without: those of its split, and others."""
        name, published = row.name, MASKS[row.split]
        if published == SECONDS or name not in self.names_in(folder, folders=True):
            return series(folder, name, published)
        there = folder_names(self.raw, f"{folder}/{name}", allow_links=self.allow_links)
        start, ends = series(folder, name)
        found = [end if f"{name}_{end}" in there else "" for end in ends]
        if not any(found[published:]):
            return series(folder, name, published)
        self.counts["more"] += sum(map(bool, found)) > published
        return start, tuple(found[: 1 + max(number for number, end in enumerate(found) if end)])

    def place(self, kind: str, row: Row) -> str:
        """Return `KIND/SPLIT/CATEGORY` as spelt on disk, which may differ from the table."""
        asked = (kind, row.split, row.category)
        if asked not in self._places:
            top = f"{self.data}{kind}"
            split = split_folder(self.names_in(top, folders=True), row.split)
            names = self.names_in(f"{top}/{split}", folders=True)
            alike = {class_key(name): name for name in sorted(names)}
            category = row.category if row.category in names else alike.get(class_key(row.category))
            self._places[asked] = f"{top}/{split}/{category or row.category}"
        return self._places[asked]
