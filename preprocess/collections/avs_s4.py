"""The AVSBench-S4 collection: 5 s clips with one sounding object, and masks of its pixels.

Layout: `s4_meta_data.csv` (columns `name`, `category`, `split`, and others), and beside it or in `s4_data/`:
`raw_videos/SPLIT/CATEGORY/NAME.mp4`, `gt_masks/SPLIT/CATEGORY/NAME/NAME_1.png` … `NAME_5.png` (for training
the first only as published; further ones are used where they are). Where there is no video,
`visual_frames/SPLIT/CATEGORY/NAME/NAME_1.png` … `NAME_5.png` are its frames, and
`audio_wav/SPLIT/CATEGORY/NAME.wav` is its sound.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError
from ...shards.published import Published
from ...shards.schema import SPLITS, AudioStatistics
from .names import check_twins, class_key, class_name, split_of
from .paths import (
    MAX_NAME_BYTES,
    annotation_file,
    folder_names,
    printable,
    unsafe_name,
    videos_by_name,
)
from .specification import ClipSpecification, Collection, CollectionEntry, Sampling
from .text_files import check_utf8, escaped, read_text

SECONDS = 5
SAMPLING = Sampling(frames=SECONDS, frame_times="masks", resize="squash", windows=5, window_seconds=1.95)
ANNOTATIONS = "s4_meta_data.csv"
MASKS = {"train": 1, "val": SECONDS, "test": SECONDS}

_DATA_FOLDERS = ("", "s4_data/")
_COLUMNS = {"name": ("name", "video_name", "video_id"), "category": ("category",), "split": ("split",)}


class Row(NamedTuple):
    """A clip of the annotation file."""

    name: str
    category: str
    split: str


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the annotations under `raw`. Raises InputError naming the file and line at fault."""
    path = annotation_file(raw, _annotation_file(raw), allow_links=allow_links)
    rows = read_rows(path)
    check_twins(dict.fromkeys(row.category for row in rows), path)
    disk = _Disk(raw, _data_folder(raw), allow_links)
    clips = tuple(disk.specify(row) for row in rows)
    return Collection(
        name="avs-s4",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=tuple(dict.fromkeys(row.category for row in rows)),
        clips=tuple(sorted(clips, key=lambda clip: SPLITS.index(clip.split))),
        findings=tuple(disk.findings(rows, clips)),
        media_folders=tuple(disk.video_folders()),
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


def read_rows(path: Path) -> list[Row]:
    """The rows of `s4_meta_data.csv`. Raises InputError naming the line at fault."""
    text = read_text(
        path, hint=f"RAW must be the AVSBench-S4 folder, with {ANNOTATIONS} and raw_videos in it"
    )
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    rows = []
    try:
        header = [column.strip().casefold() for column in next(lines, [])]
        places = [_column(header, names, path) for names in _COLUMNS.values()]
        for fields in lines:
            if any(field.strip() for field in fields):
                rows.append(_parse(fields, places, f"{path}:{lines.line_num}"))
    except csv.Error as error:
        raise InputError(f"{path}:{lines.line_num}: not a line of a CSV file ({error})") from None
    if not rows:
        raise InputError(f"{path} holds no rows below its header")
    return rows


def _delimiter(text: str) -> str:
    """The separator of the header's columns: spreadsheets of some countries write `;` or tabs."""
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


def _annotation_file(raw: Path) -> Path:
    places = [raw / folder / ANNOTATIONS for folder in _DATA_FOLDERS]
    return next((path for path in places if path.is_file()), places[0])


def _data_folder(raw: Path) -> str:
    """Return the folder of `raw_videos` and its neighbours: RAW itself or `s4_data/`."""
    for folder in _DATA_FOLDERS:
        if any((raw / folder / name).is_dir() for name in ("raw_videos", "visual_frames", "gt_masks")):
            return folder
    return _DATA_FOLDERS[0]


def _column(header: list[str], names: tuple[str, ...], path: Path) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise InputError(
        f"{path}:1: the columns are {', '.join(header)[:200] or 'none'}; there must be {' or '.join(names)}"
    )


def _parse(fields: list[str], places: list[int], where: str) -> Row:
    if len(fields) <= max(places):
        raise InputError(f"{where}: {len(fields)} fields in {','.join(fields)!r}, expected {max(places) + 1}")
    name, category, said = (fields[place].strip() for place in places)
    split = split_of(said)
    if split is None:
        raise InputError(f"{where}: split is {said!r}, must be one of {', '.join(SPLITS)}")
    # Escapes hold a backslash, which no category's folder may have.
    return Row(escaped(name), printable(class_name(check_utf8(category, where, "category"))), split)


def _is_folder_name(name: str) -> bool:
    if not name.isprintable() or name in ("", ".", "..") or set(name) & set("/\\"):
        return False
    return len(name.encode()) <= MAX_NAME_BYTES


def _series(folder: str, name: str, numbers: Iterable[int]) -> Iterator[str]:
    """Yield the pictures of a clip, numbered from 1."""
    return (f"{folder}/{name}/{name}_{number + 1}.png" for number in numbers)


def _split_rank(name: str) -> tuple[int, str]:
    split = split_of(name)
    return (SPLITS.index(split) if split else len(SPLITS), name)


@dataclass
class _Disk:
    """Files under the data folder; every folder of a category is listed once.

    Attributes:
        raw: the raw folder.
        data: prefix of all paths: empty or `s4_data/`.
        allow_links: whether folders may be links that lead out of `raw`.
    """

    raw: Path
    data: str
    allow_links: bool
    _places: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _videos: dict[str, dict[str, str]] = field(default_factory=dict)
    _names: dict[str, set[str]] = field(default_factory=dict)
    _fields: dict[str, dict[str, str]] = field(default_factory=dict)

    def specify(self, row: Row) -> ClipSpecification:
        """Return the clip of a row: its video, or else its pictures."""
        problem = unsafe_name(row.name, "name")
        if problem is None and not _is_folder_name(row.category):
            problem = ("unsafe-path", f"category {row.category!r} cannot name a folder")
        fields = self._fields.setdefault(row.category, {"category": row.category})
        if problem is not None:
            source = printable(f"{self.data}raw_videos/{row.split}/{row.category}/{row.name}.mp4")
            return ClipSpecification(printable(row.name), row.split, source, fields=fields, problem=problem)
        masks = self._masks(row)
        videos = self._place("raw_videos", row)
        video = self._videos_in(videos).get(row.name)
        frames = self._place("visual_frames", row)
        if video is None and row.name in self._in(frames, folders=True):
            sounds = self._place("audio_wav", row)
            sound = f"{row.name}.wav" in self._in(sounds)
            return ClipSpecification(
                key=row.name,
                split=row.split,
                source=f"{frames}/{row.name}",
                fields=fields,
                masks=masks,
                pictures=tuple(_series(frames, row.name, range(SECONDS))),
                sound=f"{sounds}/{row.name}.wav" if sound else None,
                annotated_seconds=SECONDS,
            )
        source = f"{videos}/{video or row.name + '.mp4'}"
        return ClipSpecification(
            row.name, row.split, source, fields=fields, masks=masks, annotated_seconds=SECONDS
        )

    def findings(self, rows: list[Row], clips: tuple[ClipSpecification, ...]) -> Iterator[str]:
        """Yield notes on clips without a video, sound or masks."""
        if pictured := [clip for clip in clips if clip.pictures]:
            silent = sum(clip.sound is None for clip in pictured)
            yield (
                f"{len(pictured)} clips have no video: their frames are taken from visual_frames "
                f"({silent} of them have no sound in audio_wav)"
            )
        counts: Counter[str] = Counter()
        for row, clip in zip(rows, clips, strict=True):
            if clip.problem is None:
                masked = row.name in self._in(self._place("gt_masks", row), folders=True)
                filmed = bool(clip.pictures) or row.name in self._videos_in(self._place("raw_videos", row))
                counts["masks only"] += masked and not filmed
                counts["no masks"] += not masked
                counts["more masks"] += len([mask for mask in clip.masks if mask]) > MASKS[row.split]
        if counts["masks only"]:
            yield f"{counts['masks only']} clips have masks, but neither video nor frames"
        if counts["no masks"]:
            yield f"{counts['no masks']} clips have no folder in gt_masks"
        if counts["more masks"]:
            yield (
                f"{counts['more masks']} training clips have masks beyond the first, which are used as well: "
                "as published, training sees one mask a clip"
            )

    def video_folders(self) -> list[str]:
        """Return every folder of videos, referenced or not."""
        top = f"{self.data}raw_videos"
        return [
            f"{top}/{split}/{category}"
            for split in sorted(self._in(top, folders=True), key=_split_rank)
            if split_of(split)
            for category in sorted(self._in(f"{top}/{split}", folders=True))
        ]

    def _masks(self, row: Row) -> tuple[str, ...]:
        """Return the clip's masks by frame, empty for a frame without: those of its split, and others."""
        folder = self._place("gt_masks", row)
        wanted = list(_series(folder, row.name, range(SECONDS)))
        published = MASKS[row.split]
        if published == SECONDS:
            return tuple(wanted)
        there = self._in(f"{folder}/{row.name}") if row.name in self._in(folder, folders=True) else set()
        if not any(path.rpartition("/")[2] in there for path in wanted[published:]):
            return tuple(wanted[:published])
        masks = [path if path.rpartition("/")[2] in there else "" for path in wanted]
        return tuple(masks[: 1 + max(number for number, path in enumerate(masks) if path)])

    def _place(self, kind: str, row: Row) -> str:
        """Return `KIND/SPLIT/CATEGORY` as spelt on disk, which may differ from the table."""
        asked = (kind, row.split, row.category)
        if asked not in self._places:
            top = f"{self.data}{kind}"
            names = self._in(top, folders=True)
            spelt = {split_of(name): name for name in sorted(names)}
            split = row.split if row.split in names else spelt.get(row.split, row.split)
            names = self._in(f"{top}/{split}", folders=True)
            alike = {class_key(name): name for name in sorted(names)}
            category = row.category if row.category in names else alike.get(class_key(row.category))
            self._places[asked] = f"{top}/{split}/{category or row.category}"
        return self._places[asked]

    def _videos_in(self, folder: str) -> dict[str, str]:
        if folder not in self._videos:
            self._videos[folder] = videos_by_name(self.raw, folder, allow_links=self.allow_links)
        return self._videos[folder]

    def _in(self, folder: str, *, folders: bool = False) -> set[str]:
        if folder not in self._names:
            self._names[folder] = folder_names(
                self.raw, folder, folders=folders, allow_links=self.allow_links
            )
        return self._names[folder]
