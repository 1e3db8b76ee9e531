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
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from .names import split_of
from .packed import PackedRows
from .path_series import Series
from .paths import VideoNames, folder_names, printable, unsafe_name, videos_by_name
from .specification import MaskKind, Sampling, clip_values
from .text_files import opened_text

SECONDS = 5
SAMPLING = Sampling(frames=SECONDS, frame_times="masks", resize="squash", windows=5, window_seconds=1.95)


_ENDS = tuple(tuple(f"{number + 1}.png" for number in range(count)) for count in range(SECONDS + 1))
"""Ends of the names of a clip's pictures, by their number."""


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
                yield lines.line_num, list(map(str.strip, fields))
        except csv.Error as error:
            raise InputError(f"{path}:{lines.line_num}: not a line of a CSV file ({error})") from None


def _delimiter(header: str) -> str:
    """The separator of the header's columns: spreadsheets of some countries write `;` or tabs."""
    return max(",;\t", key=header.count)


def split_folder(names: Collection[str], split: str) -> str:
    """Return the one of the folders `names` that means `split`; `split` itself where none does."""
    spelt = {split_of(name): name for name in sorted(names)}
    return split if split in names else spelt.get(split, split)


def series(folder: str, name: str, count: int = SECONDS, *, suffix: str = "") -> Series:
    """Return the paths of a clip's first pictures, `NAME/NAME_1.png` and so on; `suffix` follows the name."""
    return f"{folder}/{name}/{name}{suffix}_", _ENDS[count]


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
    _groups: dict[tuple[str, str], _Group] = field(default_factory=dict)

    @abstractmethod
    def place(self, kind: str, row: Row) -> str:
        """Return the folder of a clip's files of one kind: `raw_videos`, `visual_frames`, … ."""

    @abstractmethod
    def masks(self, folder: str, row: Row) -> Series:
        """Return the clip's masks by frame, empty for a frame without; `folder` is that of all clips."""

    def pictures(self, folder: str, row: Row) -> Series:
        """Return the paths of the frames of a clip without a video; `folder` is that of all clips."""
        return series(folder, row.name)

    def fields(self, row: Row) -> Mapping[str, Any]:  # noqa: ARG002
        """Return the fields of `KEY.json`."""
        return {}

    def folder_problem(self, row: Row) -> tuple[str, str] | None:  # noqa: ARG002
        """Return the problem of a row whose category cannot name a folder."""
        return None

    def specify(self, row: Row) -> tuple[Any, ...]:
        """Return the clip of a row, as its fields: its video, or else its pictures."""
        name, category, split = row
        group = self._group(row)
        problem = unsafe_name(name, "name") or group.problem
        if problem is not None:
            folders = f"{split}/{category}/" if category else ""
            source = printable(f"{self.data}raw_videos/{folders}{name}.mp4")
            return clip_values(printable(name), split, source, fields=group.fields, problem=problem)
        folder, videos = group.videos
        video = videos.get(name)
        source, sound = f"{folder}/{video or name + '.mp4'}", None
        pictures: Series | tuple[()] = ()
        if video is None and name in group.pictured[1]:
            frames, (sounds, names) = group.pictured[0], group.sounds
            source, pictures = f"{frames}/{name}", self.pictures(frames, row)
            if f"{name}.wav" in names:
                sound = f"{sounds}/{name}.wav"
            self.counts["pictured"] += 1
            self.counts["silent"] += sound is None
        return clip_values(
            key=name,
            split=split,
            source=source,
            fields=group.fields,
            masks=self.masks(group.masked[0], row),
            mask_kind=self.mask_kind,
            pictures=pictures,
            sound=sound,
            annotated_seconds=SECONDS,
        )

    def _group(self, row: Row) -> _Group:
        """Return the folders of the clips with the split and the category of `row`."""
        _, category, split = row
        group = self._groups.get((category, split))
        if group is None:
            group = self._groups[category, split] = _Group(self, row)
        return group

    def findings(self, rows: PackedRows[Row]) -> Iterator[str]:
        """Yield notes on clips without a video, sound or masks."""
        if pictured := self.counts["pictured"]:
            silent = self.counts["silent"]
            yield (
                f"{pictured} clips have no video: their frames are taken from visual_frames "
                f"({silent} of them have no sound in audio_wav)"
            )
        masks_only = no_masks = 0
        for row in rows:
            group, name = self._group(row), row.name
            if unsafe_name(name, "name") or group.problem:
                continue
            masked = name in group.masked[1]
            no_masks += not masked
            masks_only += masked and name not in group.videos[1] and name not in group.pictured[1]
        if masks_only:
            yield f"{masks_only} clips have masks, but neither video nor frames"
        if no_masks:
            yield f"{no_masks} clips have no folder in gt_masks"

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


class _Group:
    """The folders of the clips of one split and category, each with the names in it.

    Folders are listed when they are needed: that of pictures may be one that cannot be listed.
    """

    def __init__(self, files: PartFiles, row: Row) -> None:
        self._files, self._row = files, row
        self.fields = files.fields(row)
        self.problem = files.folder_problem(row)

    @cached_property
    def videos(self) -> tuple[str, VideoNames]:
        """The folder of the videos."""
        folder = self._files.place("raw_videos", self._row)
        return folder, self._files.videos_in(folder)

    @cached_property
    def pictured(self) -> tuple[str, set[str]]:
        """The folder of the clips' folders of pictures."""
        return self._listed("visual_frames", folders=True)

    @cached_property
    def masked(self) -> tuple[str, set[str]]:
        """The folder of the clips' folders of masks."""
        return self._listed("gt_masks", folders=True)

    @cached_property
    def sounds(self) -> tuple[str, set[str]]:
        """The folder of the sounds."""
        return self._listed("audio_wav", folders=False)

    def _listed(self, kind: str, *, folders: bool) -> tuple[str, set[str]]:
        folder = self._files.place(kind, self._row)
        return folder, self._files.names_in(folder, folders=folders)
