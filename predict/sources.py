"""Which files are asked about, and what their results are called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..preprocess.collections.paths import is_video_name, printable


def find_videos(places: Iterable[Path], *, without: Path | None) -> tuple[list[Path], list[Path]]:
    """The files among `places`, and all video files in the folders among them, sorted; each once.

    Hidden files, and what lies in the folder `without`, are passed over in folders, and links to folders are
    not followed. Also returns the folders that hold no video.
    """
    videos: dict[Path, Path] = {}
    empty = []
    for place in places:
        found = sorted(_videos_in(place, without)) if place.is_dir() else [place]
        for video in found:
            videos.setdefault(video.absolute(), video)
        if not found:
            empty.append(place)
    return list(videos.values()), empty


def _videos_in(folder: Path, without: Path | None) -> Iterator[Path]:
    left_out = None if without is None else without.resolve()
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and (Path(place) / name).resolve() != left_out
        ]
        for name in names:
            if not name.startswith(".") and is_video_name(name):
                yield Path(place) / name


def result_names(videos: Sequence[Path]) -> list[str]:
    """A name for each video's results: its own without the suffix, a number after it where that is taken."""
    stems = [printable(video.stem) for video in videos]
    taken = {stem.casefold() for stem in stems}
    used: set[str] = set()
    names = []
    for stem in stems:
        name, number = stem, 1
        # Not a name that another video has by right; some file systems take a and A for one.
        while name.casefold() in used or (number > 1 and name.casefold() in taken):
            number += 1
            name = f"{stem}-{number}"
        used.add(name.casefold())
        names.append(name)
    return names
