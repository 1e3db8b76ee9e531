"""The videos to predict, and the names of their results."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..preprocess.collections.paths import is_video_name, printable


def find_videos(paths: Iterable[Path], *, without: Path | None) -> tuple[list[Path], list[Path]]:
    """Return the files of `paths` and all video files in its folders, sorted, without duplicates.

    In folders, hidden files and the folder `without` are skipped, and links to folders are not followed. The
    second list has the folders that hold no video.
    """
    videos: dict[Path, Path] = {}
    empty = []
    for path in paths:
        found = sorted(_videos_in(path, without)) if path.is_dir() else [path]
        for video in found:
            videos.setdefault(video.absolute(), video)
        if not found:
            empty.append(path)
    return list(videos.values()), empty


def _videos_in(folder: Path, without: Path | None) -> Iterator[Path]:
    skipped = None if without is None else without.resolve()
    for parent, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and (Path(parent) / name).resolve() != skipped
        ]
        for name in names:
            if not name.startswith(".") and is_video_name(name):
                yield Path(parent) / name


def relative_names(paths: Sequence[Path], videos: Sequence[Path]) -> list[str]:
    """Return the path of each video relative to the folder that a table of them is for.

    That is the only one of `paths`, when it is a folder, else the lowest folder that all videos lie in.
    """
    if not videos:
        return []
    if len(paths) == 1 and paths[0].is_dir():
        base = str(paths[0].absolute())
    else:
        base = os.path.commonpath([video.absolute().parent for video in videos])
    return [Path(os.path.relpath(video.absolute(), base)).as_posix() for video in videos]


def result_names(videos: Sequence[Path]) -> list[str]:
    """Return a name for the results of each video: its stem, numbered where another video has the same."""
    stems = [printable(video.stem) for video in videos]
    taken = {stem.casefold() for stem in stems}
    used: set[str] = set()
    names = []
    for stem in stems:
        name, number = stem, 1
        # A numbered name may be the stem of another video; some file systems do not distinguish a and A.
        while name.casefold() in used or (number > 1 and name.casefold() in taken):
            number += 1
            name = f"{stem}-{number}"
        used.add(name.casefold())
        names.append(name)
    return names
