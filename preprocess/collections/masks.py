"""Masks of the sounding objects in one's own videos, in the layout of DAVIS and YouTube-VOS.

`RAW/Annotations/NAME/*.png` are the masks of the video `NAME.mp4`, in RAW or `RAW/videos`. `NAME` may lie a
folder deeper, as in `Annotations/480p/NAME`. Files are called by the number of their frame, from 0, or by
their time in seconds: see `mask_names`. `videos.csv` and the lists of `ImageSets` are optional: see
`mask_splits`.

A video becomes clips of five seconds, as AVSBench has them: of every second the annotated frame that is
nearest to 15/16 of it, and the frame at 15/16 without a mask where none is annotated.

With `classes.txt` or `classes.csv`, the values of pixels are classes and the task is `avss`; otherwise every
value but 0 is an object and the task is `avs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import InputError
from ...shards.schema import SPLITS
from .avsbench import SAMPLING, SECONDS
from .clip_list import values_by_split
from .divisions import path_key
from .mask_classes import read_mask_classes
from .mask_names import MaskName, read_names
from .mask_splits import SETS, TABLE, VideoTable, decide_splits, plain_name, read_video_table
from .options import CollectionOptions, option
from .own_files import OwnVideos, folder_of
from .paths import folder_names, printable
from .specification import ClipSpecification, Collection, CollectionEntry, clip_values

ANNOTATIONS, VIDEOS, PICTURES = "Annotations", "videos", "JPEGImages"
FRAME_RATE = 30.0
"""Frames a second of a video that `videos.csv` does not name, to tell which frames form a clip."""

_BINARY, _CLASSES = "avs", "avss"
_OFFSET = 15 / 16
_MOST_HINTS = 3  # names of missing videos that are compared with all others


@dataclass(frozen=True, kw_only=True)
class MaskOptions(CollectionOptions):
    """Options of the collection; `auto` is `avss` where RAW names classes, and `avs` without them."""

    task: str = option(
        "auto",
        "Task of the masks; auto is avss where RAW has classes.txt or classes.csv.",
        choices=("auto", _BINARY, _CLASSES),
    )

    def to_json(self) -> dict[str, Any]:
        """Return nothing: the task is recorded with the data set."""
        return {}


def read(raw: Path, *, allow_links: bool = False, options: MaskOptions | None = None) -> Collection:
    """Find the masks under `raw`. Raises InputError naming the file at fault."""
    disk = _Disk(raw, allow_links)
    folders = disk.mask_folders()
    if not folders:
        raise InputError(f"{raw} holds no masks as {ANNOTATIONS}/NAME/00000.png")
    classes = _read_classes(raw, options or MaskOptions(), allow_links=allow_links)
    disk.classes = len(classes)
    videos = disk.find_videos(folders)
    table = read_video_table(raw, allow_links=allow_links)
    splits = decide_splits(raw, videos, table, allow_links=allow_links)
    clips = values_by_split(
        clip
        for name in sorted(folders)
        if plain_name(name) in splits
        for clip in disk.clips(
            name, folders[name], videos[name], splits[plain_name(name)], table.rate(name, FRAME_RATE)
        )
    )
    if not clips:
        raise InputError(f"{raw} holds no masks of the videos that {SETS} or {TABLE} name")
    return Collection(
        name="masks",
        task=_CLASSES if classes else _BINARY,
        sampling=SAMPLING,
        classes=classes,
        clips=clips,
        findings=tuple(disk.findings(folders, splits, table)),
        media_folders=disk.video_folders(),
    )


COLLECTION = CollectionEntry(
    read=read,
    task=_BINARY,
    other_tasks=(_CLASSES,),
    summary="RAW/Annotations/NAME/*.png, RAW/videos/NAME.mp4 (DAVIS, YouTube-VOS); RAW/classes.txt for avss",
    options=MaskOptions,
)


def _read_classes(raw: Path, options: MaskOptions, *, allow_links: bool) -> tuple[str, ...]:
    """Return the classes of the masks, background first; nothing for masks of objects."""
    if options.task == _BINARY:
        return ()
    classes = read_mask_classes(raw, allow_links=allow_links)
    if options.task == _CLASSES and not classes:
        raise InputError(
            f"{raw} holds no classes.txt, which task {_CLASSES} needs: one name a line, line 1 is the class 1"
        )
    return classes


@dataclass
class _Disk:
    """Files below RAW; every folder is listed once, and all names of videos are looked up in one index.

    Attributes:
        raw: the raw folder.
        allow_links: whether links may lead out of it.
        classes: number of classes of the masks; 0 for masks of objects.
    """

    raw: Path
    allow_links: bool
    classes: int = 0
    _videos: OwnVideos | None = None
    _notes: dict[str, list[str]] = field(default_factory=dict)
    _listed: dict[tuple[str, bool], frozenset[str]] = field(default_factory=dict)
    _hints: int = 0

    def names(self, folder: str, *, folders: bool = False) -> frozenset[str]:
        """Return the names of files (or folders) in a folder that are not hidden."""
        if (folder, folders) not in self._listed:
            found = folder_names(self.raw, folder, folders=folders, allow_links=self.allow_links)
            visible = frozenset(name for name in found if not name.startswith("."))
            self._listed[folder, folders] = visible
        return self._listed[folder, folders]

    @property
    def videos(self) -> OwnVideos:
        """All videos below RAW."""
        if self._videos is None:
            self._videos = OwnVideos(self.raw)
        return self._videos

    def video_folders(self) -> tuple[str, ...]:
        """Return the folders that hold videos."""
        return tuple(sorted({folder_of(path) for path in self.videos.paths}))

    def mask_folders(self) -> dict[str, str]:
        """Return the folder of masks of every video, by its name. They lie in Annotations, or one deeper."""
        found: dict[str, str] = {}
        for name in sorted(self.names(ANNOTATIONS, folders=True)):
            folder = f"{ANNOTATIONS}/{name}"
            for inner in sorted(self.names(folder, folders=True)):
                if inner in found:
                    raise InputError(
                        f"{self.raw}: {found[inner]} and {folder}/{inner} are masks of one video"
                    )
                found[inner] = f"{folder}/{inner}"
            if self.names(folder):
                if name in found:
                    raise InputError(f"{self.raw}: {found[name]} and {folder} are masks of one video")
                found[name] = folder
        return found

    def find_videos(self, folders: Mapping[str, str]) -> dict[str, str | None]:
        """Return the video of each folder of masks, relative to RAW; None for one that is not there.

        Raises InputError when two folders are of one video, which could then lie in two splits.
        """
        found: dict[str, str | None] = {}
        owners: dict[str, str] = {}
        for name, folder in folders.items():
            video = found[name] = self.videos.find(name, where=str(self.raw / folder))
            if video is not None and owners.setdefault(video, folder) != folder:
                raise InputError(
                    f"{self.raw}: {owners[video]} and {folder} are masks of one video, {video}; "
                    "put them into one folder"
                )
        return found

    def clips(
        self, name: str, folder: str, video: str | None, split: str, rate: float
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the clips of one video, as their fields."""
        masks, others = read_names(self.names(folder), frame_rate=rate, where=str(self.raw / folder))
        for other in others:
            self._note("files in folders of masks are no PNG pictures and were left out", f"{folder}/{other}")
        by_second = _by_second(masks)
        used = {mask.file for mask in by_second.values()}
        for mask in masks:
            if mask.file not in used:
                self._note(
                    "masks were left out: another one of the same second is used", f"{folder}/{mask.file}"
                )
        clip = ClipSpecification(
            key=path_key(PurePosixPath(name)),
            split=split,
            source=printable(f"{VIDEOS}/{name}.mp4" if video is None else video),
            fields={"video": printable(name)},
            problem=self._problem(name, folder, video),
            mask_kind="indices-or-void" if self.classes else "objects",
            mask_classes=self.classes,
        )
        for start in sorted({second - second % SECONDS for second in by_second}):
            chosen = [by_second.get(second) for second in range(start, start + SECONDS)]
            yield _of_five_seconds(clip, folder, start, chosen, rate)

    def _problem(self, name: str, folder: str, video: str | None) -> tuple[str, str] | None:
        if video is None:
            hint = ""
            if name in self.names(PICTURES, folders=True):
                hint = f": make one of {PICTURES}/{name} and its sound"
            elif self._hints < _MOST_HINTS:
                self._hints += 1
                hint = self.videos.suggestion(name)
            self._note("folders of masks have no video of their name", folder)
            return "missing", f"{folder} is of {printable(name)!r}, of which RAW has no video{hint}"
        if printable(video) != video or printable(folder) != folder:
            return "unsafe-path", f"{printable(folder)!r} has bytes that are not UTF-8, or control characters"
        return None

    def _note(self, text: str, place: str) -> None:
        self._notes.setdefault(text, []).append(place)

    def findings(
        self, folders: Mapping[str, str], splits: Mapping[str, str], table: VideoTable
    ) -> Iterator[str]:
        """Yield notes for the user."""
        names = {plain_name(name): folder for name, folder in sorted(folders.items())}
        for name in sorted(set(names) - set(splits)):
            self._note(f"folders of masks are in no list of {SETS} and were left out", names[name])
        for name in sorted(set(splits) - set(names)):
            self._note("videos have a split, but no masks", name)
        for name in sorted(set(table.places) - set(names) - set(splits)):
            self._note(f"videos of {TABLE} have no masks", name)
        for text, places in self._notes.items():
            yield f"{len(places)} {text} (first: {printable(places[0])})"
        missing = [split for split in SPLITS if split not in splits.values()]
        if missing:
            yield f"no video is in {' or '.join(missing)}"


def _by_second(masks: Sequence[MaskName]) -> dict[int, MaskName]:
    """Return the mask of every second that has one: that whose time is nearest to 15/16 of it."""
    found: dict[int, MaskName] = {}
    for mask in sorted(masks, key=lambda mask: abs(mask.seconds % 1 - _OFFSET)):
        found.setdefault(int(mask.seconds), mask)
    return found


def _of_five_seconds(
    clip: ClipSpecification, folder: str, start: int, chosen: Sequence[MaskName | None], rate: float
) -> tuple[Any, ...]:
    """Return the clip of the seconds from `start` on, as its fields.

    `chosen` are the masks of these seconds, None for a second without.
    """
    times = [start + second + _OFFSET if mask is None else mask.seconds for second, mask in enumerate(chosen)]
    numbered = any(mask is not None and mask.number is not None for mask in chosen)
    numbers = [
        round(time * rate) if mask is None or mask.number is None else mask.number
        for time, mask in zip(times, chosen, strict=True)
    ]
    return clip_values(
        split=clip.split,
        source=clip.source,
        problem=clip.problem,
        mask_kind=clip.mask_kind,
        mask_classes=clip.mask_classes,
        key=f"{clip.key}-{start:05d}",
        fields={
            **clip.fields,
            "start": start,
            "annotated": [place for place, mask in enumerate(chosen) if mask is not None],
        },
        masks=(f"{folder}/", tuple(["" if mask is None else mask.file for mask in chosen])),
        start_seconds=float(start),
        end_seconds=float(start + SECONDS),
        frame_seconds=tuple(times),
        frame_numbers=tuple(numbers) if numbered else (),
    )
