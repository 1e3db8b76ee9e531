"""One's own files: all files below RAW, and videos by the names that annotations give them."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from ...errors import InputError
from .paths import is_video_name, printable


def files_below(raw: Path) -> Iterator[Path]:
    """Yield every file below `raw`, relative to it. Folders that are links are not entered."""
    for folder, _, names in os.walk(raw):
        place = Path(folder).relative_to(raw)
        yield from (place / name for name in names)


def is_hidden(path: Path) -> bool:
    """Tell whether a part of `path`, relative to RAW, begins with a dot."""
    return any(part.startswith(".") for part in path.parts)


class OwnVideos:
    """The videos below RAW, found by the names that annotations give them.

    A name is a path in RAW or in one of `folders`, with or without the suffix; or the name of a file, with or
    without the suffix, that lies in any folder.

    Attributes:
        paths: all videos, relative to RAW, sorted; without those that a hidden folder holds.
        unused: all other files that are not hidden.
    """

    def __init__(self, raw: Path, *, folders: Sequence[str] = ("videos",)) -> None:
        files = sorted(path for path in files_below(raw) if not is_hidden(path))
        self.paths = [path for path in files if is_video_name(path.name)]
        self.unused = [path for path in files if not is_video_name(path.name)]
        self._exact: dict[str, list[Path]] = {}
        self._anywhere: dict[str, list[Path]] = {}
        for path in self.paths:
            self._add(self._exact, path.as_posix(), path)
            for folder in folders:
                if path.is_relative_to(folder):
                    self._add(self._exact, path.relative_to(folder).as_posix(), path)
            self._add(self._anywhere, path.name, path)

    @staticmethod
    def _add(index: dict[str, list[Path]], name: str, path: Path) -> None:
        name = unicodedata.normalize("NFC", name)  # macOS decomposes names
        for spelling in dict.fromkeys((name, str(PurePosixPath(name).with_suffix("")))):
            index.setdefault(spelling, []).append(path)

    def find(self, name: str, *, where: str) -> Path | None:
        """Return the video called `name`, relative to RAW; None when there is none.

        Raises InputError naming `where`, `FILE:LINE`, when the name is that of several videos, and for one
        like `/` that no file has.
        """
        if PurePosixPath(name.replace("\\", "/")).name in ("", ".."):
            raise InputError(f"{where}: video is {printable(name)!r}, must be the name of a file")
        wanted = unicodedata.normalize("NFC", str(PurePosixPath(name.replace("\\", "/"))))
        for index in (self._exact, self._anywhere):
            found = list(dict.fromkeys(index.get(wanted, ())))
            exact = [path for path in found if path.as_posix() == wanted]
            if len(found) == 1 or exact:
                return (exact or found)[0]
            if found:
                named = ", ".join(printable(path.as_posix()) for path in found[:3])
                raise InputError(
                    f"{where}: {printable(name)!r} is the name of {len(found)} videos, {named}; "
                    "write the path in RAW, with its suffix"
                )
        return None

    def suggestion(self, name: str) -> str:
        """Return a hint at the video with the most similar name, or nothing."""
        near = difflib.get_close_matches(PurePosixPath(name).name, list(self._anywhere), n=1)
        return f"; did you mean {printable(near[0])!r}?" if near else ""
