"""Splits and frame rates of one's own videos with masks: `videos.csv` and the lists of `ImageSets`.

`videos.csv` has the columns `video`, `split` and `frame_rate`; `ImageSets/…/train.txt`, `val.txt` and
`test.txt` have one name a line. Without splits, the videos are divided 80/10/10 by a hash of their paths.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...errors import InputError
from ...shards.schema import SPLITS
from .divisions import divided
from .names import split_of
from .paths import annotation_file, folder_names, is_video_name, printable
from .tables import read_table
from .text_files import check_utf8, read_text

SETS, TABLE = "ImageSets", "videos.csv"

_HIGHEST_RATE = 1000.0
_COLUMNS = {
    "video": ("video", "name", "filename", "file"),
    "split": ("split", "subset", "set"),
    "frame_rate": ("frame_rate", "fps"),
}


@dataclass(frozen=True)
class VideoTable:
    """The rows of `videos.csv`: split, frame rate and line by the plain name of the video."""

    splits: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    def rate(self, name: str, default: float) -> float:
        """Return the frames a second of the video `name`, `default` where the table has none."""
        return self.rates.get(plain_name(name), default)


def read_video_table(raw: Path, *, allow_links: bool) -> VideoTable:
    """Read `RAW/videos.csv`; an empty table without it. Raises InputError naming the line at fault."""
    path = annotation_file(raw, raw / TABLE, allow_links=allow_links)
    if not path.is_file():
        return VideoTable()
    splits: dict[str, str] = {}
    rates: dict[str, float] = {}
    places: dict[str, str] = {}
    for row in read_table(path, columns=_COLUMNS, optional=("split", "frame_rate"), hint=""):
        name = plain_name(check_utf8(row["video"], row.where, "video"))
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
    return VideoTable(splits, rates, places)


def plain_name(name: str) -> str:
    """Return the name of a video without folder and suffix, composed (NFC): macOS decomposes names."""
    path = PurePosixPath(name.replace("\\", "/"))
    return unicodedata.normalize("NFC", path.stem if is_video_name(path.name) else path.name)


def _split(text: str, where: str) -> str:
    split = split_of(text)
    if split is None:
        raise InputError(f"{where}: split is {printable(text)!r}, must be one of {', '.join(SPLITS)}")
    return split


def decide_splits(
    raw: Path, videos: Mapping[str, str | None], table: VideoTable, *, allow_links: bool
) -> dict[str, str]:
    """Return the splits by plain name: as in the table, else as in ImageSets, else by a hash of the path.

    `videos` are the videos below `raw` by the names of the folders of masks; None for a video that is not
    there. Raises InputError when only some have a split, or one has two.
    """
    if table.splits:
        for name in sorted(videos):
            if plain_name(name) not in table.splits:
                where = table.places.get(plain_name(name), str(raw / TABLE))
                raise InputError(f"{where}: no split of {name!r}, but other videos have one")
        return dict(table.splits)
    listed = _listed(raw, allow_links=allow_links)
    if listed:
        return listed
    names = {name if path is None else path: plain_name(name) for name, path in videos.items()}
    return {names[path]: split for path, split in divided(names)}


def _listed(raw: Path, *, allow_links: bool) -> dict[str, str]:
    """Return the splits of `ImageSets`; of its sub-folders, such as 2016 and 2017, the last one."""
    inner = max(_names(raw, SETS, folders=True, allow_links=allow_links), default=None)
    folder = SETS if inner is None else f"{SETS}/{inner}"
    found: dict[str, str] = {}
    for file in sorted(_names(raw, folder, folders=False, allow_links=allow_links)):
        split = split_of(PurePosixPath(file).stem) if file.endswith(".txt") else None
        if split is None:
            continue
        path = annotation_file(raw, raw / folder / file, allow_links=allow_links)
        for number, line in enumerate(read_text(path, hint="").split("\n"), start=1):
            name = plain_name(check_utf8(line.strip(), f"{path}:{number}", "video"))
            if name and found.setdefault(name, split) != split:
                raise InputError(f"{path}:{number}: {name!r} is in {found[name]} too; a video has one split")
    return found


def _names(raw: Path, folder: str, *, folders: bool, allow_links: bool) -> Iterator[str]:
    names = folder_names(raw, folder, folders=folders, allow_links=allow_links)
    return (name for name in names if not name.startswith("."))
