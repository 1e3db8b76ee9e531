"""Tables and files that the parts of AVSBench have in common.

A clip has a video `raw_videos/…/NAME.mp4` and a folder `gt_masks/…/NAME` with a mask for each second, beside
the table or in a folder of the part. Where there is no video, the pictures in `visual_frames/…/NAME` are its
frames, and `audio_wav/…/NAME.wav` is its sound.
"""

from __future__ import annotations

import csv
import itertools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from .names import split_of
from .paths import VideoNames, folder_names, printable, unsafe_name, videos_by_name
from .specification import ClipSpecification, MaskKind, Sampling
from .text_files import opened_text

SECONDS = 5
SAMPLING = Sampling(frames=SECONDS, frame_times="masks", resize="squash", windows=5, window_seconds=1.95)


class Row(NamedTuple):
    """A clip of the annotation file; `category` is empty where a part has none."""

    name: str
    category: str
    split: str


def table_path(raw: Path, name: str, folders: Sequence[str]) -> Path:
    """Return the table `name` in `raw` or in one of its `folders`; the first place where it is in none."""
    places = [raw / folder / name for folder in folders]
    return next((path for path in places if path.is_file()), places[0])


def data_folder(raw: Path, folders: Sequence[str]) -> str:
    """Return the one of `folders` that holds `raw_videos` or its neighbours; the first where none does."""
    for folder in folders:
        if any((raw / folder / name).is_dir() for name in ("raw_videos", "visual_frames", "gt_masks")):
            return folder
    return folders[0]


def read_lines(path: Path, *, hint: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a table, each with its number and its fields without blanks at their ends.

    Raises InputError naming the line at fault; with `hint` when there is no such file.
    """
    with opened_text(path, hint=hint) as text:
        header = next(text, "")
        lines = csv.reader(itertools.chain((header,), text), delimiter=_delimiter(header))
        try:
            for fields in lines:
                yield lines.line_num, [each.strip() for each in fields]
        except csv.Error as error:
            raise InputError(f"{path}:{lines.line_num}: not a line of a CSV file ({error})") from None


def _delimiter(header: str) -> str:
    """The separator of the header's columns: spreadsheets of some countries write `;` or tabs."""
    return max(",;\t", key=header.count)


def split_folder(names: Collection[str], split: str) -> str:
    """Return the one of the folders `names` that means `split`; `split` itself where none does."""
    spelt = {split_of(name): name for name in sorted(names)}
    return split if split in names else spelt.get(split, split)


def series(folder: str, name: str, numbers: Iterable[int]) -> Iterator[str]:
    """Yield the paths of a clip's pictures, `NAME/NAME_1.png` and so on; `numbers` are from 0."""
    return (f"{folder}/{name}/{name}_{number + 1}.png" for number in numbers)


@dataclass
class PartFiles(ABC):
    """Files of one part of AVSBench; every folder is listed once.

    Attributes:
        raw: the raw folder.
        data: prefix of all paths: empty or such as `s4_data/`.
        allow_links: whether folders may be links that lead out of `raw`.
        mask_kind: as in `ClipSpecification`.
        counts: numbers of clips, for `findings`.
    """

    raw: Path
    data: str
    allow_links: bool
    mask_kind: MaskKind = "binary"
    counts: Counter[str] = field(default_factory=Counter)
    _videos: dict[str, VideoNames] = field(default_factory=dict)
    _names: dict[tuple[str, bool], set[str]] = field(default_factory=dict)

    @abstractmethod
    def place(self, kind: str, row: Row) -> str:
        """Return the folder of a clip's files of one kind: `raw_videos`, `visual_frames`, … ."""

    @abstractmethod
    def masks(self, row: Row) -> tuple[str, ...]:
        """Return the clip's masks by frame, empty for a frame without."""

    def pictures(self, folder: str, row: Row) -> tuple[str, ...]:
        """Return the paths of the frames of a clip without a video; `folder` is that of all clips."""
        return tuple(series(folder, row.name, range(SECONDS)))

    def fields(self, row: Row) -> Mapping[str, Any]:  # noqa: ARG002
        """Return the fields of `KEY.json`."""
        return {}

    def problem(self, row: Row) -> tuple[str, str] | None:
        """Return the problem of a row whose names cannot be a key or a folder."""
        return unsafe_name(row.name, "name")

    def specify(self, row: Row) -> ClipSpecification:
        """Return the clip of a row: its video, or else its pictures."""
        fields = self.fields(row)
        if (problem := self.problem(row)) is not None:
            folders = f"{row.split}/{row.category}/" if row.category else ""
            source = printable(f"{self.data}raw_videos/{folders}{row.name}.mp4")
            return ClipSpecification(printable(row.name), row.split, source, fields=fields, problem=problem)
        videos = self.place("raw_videos", row)
        video = self.videos_in(videos).get(row.name)
        frames = self.place("visual_frames", row)
        source, sound = f"{videos}/{video or row.name + '.mp4'}", None
        pictures: tuple[str, ...] = ()
        if video is None and row.name in self.names_in(frames, folders=True):
            sounds = self.place("audio_wav", row)
            source, pictures = f"{frames}/{row.name}", self.pictures(frames, row)
            if f"{row.name}.wav" in self.names_in(sounds):
                sound = f"{sounds}/{row.name}.wav"
        return ClipSpecification(
            key=row.name,
            split=row.split,
            source=source,
            fields=fields,
            masks=self.masks(row),
            mask_kind=self.mask_kind,
            pictures=pictures,
            sound=sound,
            annotated_seconds=SECONDS,
        )

    def count(self, clips: Iterable[ClipSpecification]) -> Iterator[ClipSpecification]:
        """Yield the clips while those with pictures are counted."""
        for clip in clips:
            if clip.pictures:
                self.counts["pictured"] += 1
                self.counts["silent"] += clip.sound is None
            yield clip

    def findings(self, rows: Iterable[Row]) -> Iterator[str]:
        """Yield notes on clips without a video, sound or masks."""
        if pictured := self.counts["pictured"]:
            silent = self.counts["silent"]
            yield (
                f"{pictured} clips have no video: their frames are taken from visual_frames "
                f"({silent} of them have no sound in audio_wav)"
            )
        counts: Counter[str] = Counter()
        for row in rows:
            if self.problem(row) is None:
                masked = row.name in self.names_in(self.place("gt_masks", row), folders=True)
                filmed = row.name in self.videos_in(self.place("raw_videos", row)) or row.name in (
                    self.names_in(self.place("visual_frames", row), folders=True)
                )
                counts["masks only"] += masked and not filmed
                counts["no masks"] += not masked
        if counts["masks only"]:
            yield f"{counts['masks only']} clips have masks, but neither video nor frames"
        if counts["no masks"]:
            yield f"{counts['no masks']} clips have no folder in gt_masks"

    def videos_in(self, folder: str) -> VideoNames:
        """Return the videos in a folder: name without suffix to file name."""
        if folder not in self._videos:
            self._videos[folder] = videos_by_name(self.raw, folder, allow_links=self.allow_links)
        return self._videos[folder]

    def names_in(self, folder: str, *, folders: bool = False) -> set[str]:
        """Return the names of the files, or of the folders, in a folder."""
        if (folder, folders) not in self._names:
            self._names[folder, folders] = folder_names(
                self.raw, folder, folders=folders, allow_links=self.allow_links
            )
        return self._names[folder, folders]
