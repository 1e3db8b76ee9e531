"""Masks of the sounding objects in one's own videos, in the layout of DAVIS and YouTube-VOS.

`RAW/Annotations/NAME/*.png` are the masks of the video `NAME.mp4`, in RAW or `RAW/videos`. `NAME` may lie a
folder deeper, as in `Annotations/480p/NAME`. Files are called by the number of their frame, from 0, or by
their time in seconds: see `mask_names`. `videos.csv` (video, split, frame_rate) and `ImageSets/…/train.txt`,
`val.txt`, `test.txt` are optional; without splits, the videos are divided 80/10/10 by a hash of their names.

A video becomes clips of five seconds, as AVSBench has them: of every second the annotated frame that is
nearest to 15/16 of it, and the frame at 15/16 without a mask where none is annotated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ...errors import InputError
from ...shards.schema import SPLITS
from .avsbench import SAMPLING, SECONDS
from .divisions import divided, path_key
from .mask_names import MaskName, read_names
from .names import split_of
from .own_files import OwnVideos
from .paths import annotation_file, folder_names, is_video_name, printable
from .specification import ClipSpecification, Collection, CollectionEntry
from .tables import read_table
from .text_files import check_utf8, read_text

ANNOTATIONS, VIDEOS, PICTURES, SETS = "Annotations", "videos", "JPEGImages", "ImageSets"
TABLE = "videos.csv"
FRAME_RATE = 30.0
"""Frames a second of a video that `videos.csv` does not name, to tell which frames form a clip."""

_OFFSET = 15 / 16
_HIGHEST_RATE = 1000.0
_COLUMNS = {
    "video": ("video", "name", "filename", "file"),
    "split": ("split", "subset", "set"),
    "frame_rate": ("frame_rate", "fps"),
}


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Find the masks under `raw`. Raises InputError naming the file at fault."""
    disk = _Disk(raw, allow_links)
    folders = disk.mask_folders()
    if not folders:
        raise InputError(f"{raw} holds no masks as {ANNOTATIONS}/NAME/00000.png")
    table = _read_table(raw, allow_links=allow_links)
    splits = _splits(raw, folders, table, disk)
    clips = [
        clip
        for name in sorted(folders)
        if name in splits
        for clip in disk.clips(name, folders[name], splits[name], table.rates.get(name, FRAME_RATE))
    ]
    if not clips:
        raise InputError(f"{raw} holds no masks of the videos that {SETS} or {TABLE} name")
    return Collection(
        name="masks",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=(),
        clips=tuple(sorted(clips, key=lambda clip: SPLITS.index(clip.split))),
        findings=tuple(disk.findings(folders, splits, table)),
        media_folders=disk.video_folders(),
    )


COLLECTION = CollectionEntry(
    read=read, task="avs", summary="RAW/Annotations/NAME/*.png, RAW/videos/NAME.mp4 (DAVIS, YouTube-VOS)"
)


@dataclass(frozen=True)
class _Table:
    """The rows of `videos.csv`: split and frame rate by the name of the video, and the line of each."""

    splits: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)


def _read_table(raw: Path, *, allow_links: bool) -> _Table:
    path = annotation_file(raw, raw / TABLE, allow_links=allow_links)
    if not path.is_file():
        return _Table()
    splits: dict[str, str] = {}
    rates: dict[str, float] = {}
    places: dict[str, str] = {}
    for row in read_table(path, columns=_COLUMNS, optional=("split", "frame_rate"), hint=""):
        name = _stem(check_utf8(row["video"], row.where, "video"))
        if not name:
            raise InputError(f"{row.where}: video is empty")
        if name in places:
            raise InputError(f"{row.where}: {name!r} is also named in line {places[name].rpartition(':')[2]}")
        places[name] = row.where
        if row["split"]:
            splits[name] = _split(row["split"], row.where)
        if row["frame_rate"]:
            rates[name] = row.number("frame_rate")
            if not 0 < rates[name] <= _HIGHEST_RATE:
                raise InputError(
                    f"{row.where}: frame_rate is {rates[name]:g}, must be above 0 and at most 1000"
                )
    return _Table(splits, rates, places)


def _stem(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem if is_video_name(path.name) else path.name


def _split(text: str, where: str) -> str:
    split = split_of(text)
    if split is None:
        raise InputError(f"{where}: split is {printable(text)!r}, must be one of {', '.join(SPLITS)}")
    return split


def _splits(raw: Path, folders: Mapping[str, str], table: _Table, disk: _Disk) -> dict[str, str]:
    """Return the split of every video that has one: by the table, else by ImageSets, else by a hash."""
    if table.splits:
        for name in sorted(folders):
            if name not in table.splits:
                where = table.places.get(name, str(raw / TABLE))
                raise InputError(f"{where}: no split of {name!r}, but other videos have one")
        return dict(table.splits)
    listed = _listed(raw, disk)
    if listed:
        return listed
    return {path.name: split for path, split in divided(PurePosixPath(name) for name in folders)}


def _listed(raw: Path, disk: _Disk) -> dict[str, str]:
    """Return the splits of `ImageSets`; of its sub-folders, such as 2016 and 2017, the last one."""
    inner = sorted(disk.names(SETS, folders=True))
    folder = f"{SETS}/{inner[-1]}" if inner else SETS
    found: dict[str, str] = {}
    for file in sorted(disk.names(folder)):
        split = split_of(PurePosixPath(file).stem) if file.endswith(".txt") else None
        if split is None:
            continue
        path = raw / folder / file
        for number, line in enumerate(read_text(path, hint="").split("\n"), start=1):
            name = check_utf8(line.strip(), f"{path}:{number}", "video")
            if name and found.setdefault(name, split) != split:
                raise InputError(f"{path}:{number}: {name!r} is in {found[name]} too; a video has one split")
    return found


@dataclass
class _Disk:
    """Files below RAW; every folder is listed once.

    Attributes:
        raw: the raw folder.
        allow_links: whether links may lead out of it.
    """

    raw: Path
    allow_links: bool
    _videos: OwnVideos | None = None
    _notes: dict[str, list[str]] = field(default_factory=dict)

    def names(self, folder: str, *, folders: bool = False) -> set[str]:
        """Return the names of files (or folders) in a folder that are not hidden."""
        found = folder_names(self.raw, folder, folders=folders, allow_links=self.allow_links)
        return {name for name in found if not name.startswith(".")}

    @property
    def videos(self) -> OwnVideos:
        """All videos below RAW."""
        if self._videos is None:
            self._videos = OwnVideos(self.raw)
        return self._videos

    def video_folders(self) -> tuple[str, ...]:
        """Return the folders that hold videos."""
        folders = sorted({path.parent.as_posix() for path in self.videos.paths})
        return tuple("" if folder == "." else folder for folder in folders)

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

    def clips(self, name: str, folder: str, split: str, rate: float) -> Iterator[ClipSpecification]:
        """Yield the clips of one video."""
        masks, others = read_names(self.names(folder), frame_rate=rate, where=str(self.raw / folder))
        for other in others:
            self._note("files in folders of masks are no PNG pictures and were left out", f"{folder}/{other}")
        by_second = _by_second(masks)
        for mask in masks:
            if mask not in by_second.values():
                self._note(
                    "masks were left out: another one of the same second is used", f"{folder}/{mask.file}"
                )
        video = self.videos.find(name, where=str(self.raw / folder))
        clip = ClipSpecification(
            key=path_key(PurePosixPath(name)),
            split=split,
            source=printable(f"{VIDEOS}/{name}.mp4" if video is None else video.as_posix()),
            fields={"video": printable(name)},
            mask_kind="objects",
            problem=self._problem(name, folder, video),
        )
        for start in sorted({second - second % SECONDS for second in by_second}):
            chosen = [by_second.get(second) for second in range(start, start + SECONDS)]
            yield _of_five_seconds(clip, folder, start, chosen, rate)

    def _problem(self, name: str, folder: str, video: Path | None) -> tuple[str, str] | None:
        if video is None:
            hint = self.videos.suggestion(name)
            if name in self.names(PICTURES, folders=True):
                hint = f": make one of {PICTURES}/{name} and its sound"
            self._note("folders of masks have no video of their name", folder)
            return "missing", f"{folder} is of {printable(name)!r}, of which RAW has no video{hint}"
        if printable(video.as_posix()) != video.as_posix() or printable(folder) != folder:
            return "unsafe-path", f"{printable(folder)!r} has bytes that are not UTF-8, or control characters"
        return None

    def _note(self, text: str, place: str) -> None:
        self._notes.setdefault(text, []).append(place)

    def findings(self, folders: Mapping[str, str], splits: Mapping[str, str], table: _Table) -> Iterator[str]:
        """Yield notes for the user."""
        for name in sorted(set(folders) - set(splits)):
            self._note(f"folders of masks are in no list of {SETS} and were left out", folders[name])
        for name in sorted(set(splits) - set(folders)):
            self._note("videos have a split, but no masks", name)
        for name in sorted(set(table.places) - set(folders) - set(splits)):
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
) -> ClipSpecification:
    """Return the clip of the seconds from `start` on; `chosen` are their masks, None for a second without."""
    times = [start + second + _OFFSET if mask is None else mask.seconds for second, mask in enumerate(chosen)]
    numbered = any(mask is not None and mask.number is not None for mask in chosen)
    numbers = [
        round(time * rate) if mask is None or mask.number is None else mask.number
        for time, mask in zip(times, chosen, strict=True)
    ]
    return replace(
        clip,
        key=f"{clip.key}-{start:05d}",
        fields={
            **clip.fields,
            "start": start,
            "annotated": [place for place, mask in enumerate(chosen) if mask is not None],
        },
        masks=tuple("" if mask is None else f"{folder}/{mask.file}" for mask in chosen),
        start_seconds=float(start),
        end_seconds=float(start + SECONDS),
        frame_seconds=tuple(times),
        frame_numbers=tuple(numbers) if numbered else (),
    )
