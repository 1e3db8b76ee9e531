"""One's own files: all files below RAW, and videos by the names that annotations give them."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from ...errors import InputError
from .divisions import suffix_of
from .paths import counted_suffixes, is_video_name, printable


def files_below(raw: Path) -> Iterator[str]:
    """Yield the path of every file below `raw`, relative to it. Folders that are links are not entered."""
    for folder, _, names in os.walk(raw):
        place = Path(folder).relative_to(raw).as_posix()
        start = "" if place == "." else f"{place}/"
        yield from (f"{start}{name}" for name in names)


def is_hidden(path: str) -> bool:
    """Tell whether a part of `path`, relative to RAW, begins with a dot."""
    return path.startswith(".") or "/." in path


def by_parts(path: str) -> str:
    """Return a key by which paths sort as `PurePath` does: by their parts."""
    return path.replace("/", "\0")


def file_name(path: str) -> str:
    """Return the last part of a path."""
    return path[path.rfind("/") + 1 :]


def folder_of(path: str) -> str:
    """Return a path without its last part, empty for a file in RAW itself."""
    return path.rpartition("/")[0]


class OwnVideos:
    """The videos below RAW, found by the names that annotations give them.

    A name is a path in RAW or in one of `folders`, with or without the suffix; or the name of a file, with or
    without the suffix, that lies in any folder.

    Attributes:
        paths: all videos, relative to RAW, sorted; without those that a hidden folder holds.
        unused: suffixes of all other files that are not hidden, as text.
    """

    def __init__(self, raw: Path, *, folders: Sequence[str] = ("videos",)) -> None:
        self.paths: list[str] = []
        others: Counter[str] = Counter()
        first: dict[str, str] = {}  # key of the first file of each suffix
        for path in files_below(raw):
            if is_hidden(path):
                continue
            if is_video_name(file_name(path)):
                self.paths.append(path)
            else:
                suffix = suffix_of(path)
                others[suffix] += 1
                first[suffix] = min(first.get(suffix, key := by_parts(path)), key)
        self.paths.sort(key=by_parts)
        order = sorted(others, key=first.__getitem__)
        self.unused = counted_suffixes({suffix: others[suffix] for suffix in order})
        self._starts = tuple(f"{folder}/" for folder in folders)
        # One path, or a list where several videos have that name. Names without suffix are indexed alone.
        self._by_stem: dict[str, str | list[str]] = {}
        for path in self.paths:
            stem = _without_suffix(_composed(file_name(path)))
            before = self._by_stem.get(stem)
            if before is None:
                self._by_stem[stem] = path
            elif isinstance(before, str):
                self._by_stem[stem] = [before, path]
            else:
                before.append(path)

    def _named(self, name: str) -> list[str]:
        """Return the videos whose file is called `name`, with or without its suffix."""
        found: list[str] = []
        for stem in dict.fromkeys((_without_suffix(name), name)):
            one = self._by_stem.get(stem, [])
            found += [one] if isinstance(one, str) else one
        named = (path for path in found if name in _spellings(file_name(path)))
        return sorted(named, key=by_parts) if len(found) > 1 else list(named)

    def _is_exact(self, path: str, wanted: str) -> bool:
        shorter = [path[len(start) :] for start in self._starts if path.startswith(start)]
        return any(wanted in _spellings(each) for each in (path, *shorter))

    def find(self, name: str, *, where: str) -> str | None:
        """Return the video called `name`, relative to RAW; None when there is none.

        Raises InputError naming `where`, `FILE:LINE`, when the name is that of several videos, and for one
        like `/` that no file has.
        """
        wanted = name
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            path = PurePosixPath(name.replace("\\", "/"))
            if path.name in ("", ".."):
                raise InputError(f"{where}: video is {printable(name)!r}, must be the name of a file")
            wanted = str(path)
        wanted = _composed(wanted)
        videos = self._named(file_name(wanted))
        anywhere = videos if "/" not in wanted else []
        for found in ([path for path in videos if self._is_exact(path, wanted)], anywhere):
            exact = [path for path in found if path == wanted]
            if len(found) == 1 or exact:
                return (exact or found)[0]
            if found:
                named = ", ".join(printable(path) for path in found[:3])
                raise InputError(
                    f"{where}: {printable(name)!r} is the name of {len(found)} videos, {named}; "
                    "write the path in RAW, with its suffix"
                )
        return None

    def suggestion(self, name: str) -> str:
        """Return a hint at the video with the most similar name, or nothing."""
        names = (spelling for path in self.paths for spelling in _spellings(file_name(path)))
        near = difflib.get_close_matches(PurePosixPath(name).name, list(dict.fromkeys(names)), n=1)
        return f"; did you mean {printable(near[0])!r}?" if near else ""


def _spellings(name: str) -> tuple[str, str]:
    """Return a name and the same without its suffix, composed: macOS decomposes names."""
    name = _composed(name)
    return name, _without_suffix(name)


def _without_suffix(name: str) -> str:
    return name.removesuffix(suffix_of(name))


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)
