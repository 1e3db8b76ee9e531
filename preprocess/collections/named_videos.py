"""Videos that the rows of a table name: paths relative to the raw folder, each checked and found on disk."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ...errors import InputError
from .paths import folder_names, is_video_name, printable
from .text_files import check_utf8

_MOST_NAMED = 5


class _Folder(NamedTuple):
    """The files of a folder: all names, also by their composed (NFC) form; videos by that without suffix."""

    names: set[str]
    by_name: dict[str, list[str]]
    by_stem: dict[str, list[str]]

    def find(self, name: str) -> list[str]:
        """Return the files called `name`, else the videos called so without their suffix."""
        composed = _composed(name)
        return [name] if name in self.names else self.by_name.get(composed) or self.by_stem.get(composed, [])


class NamedVideos:
    """Finds the videos that the rows of a table name. Every folder is listed once."""

    def __init__(self, raw: Path, *, allow_links: bool) -> None:
        self._raw, self._allow_links = raw, allow_links
        self._listed: dict[str, _Folder] = {}
        self._unknown: list[tuple[str, PurePosixPath]] = []

    def find(self, text: str, where: str) -> str | None:
        r"""Return the path of the video `text`, relative to the raw folder; None where there is no such file.

        `\` is read as `/`. A name without a suffix is that of the video with one, and a composed name that of
        a decomposed one, as macOS writes them. `check_all_found` reports the files that are missing.

        Raises InputError naming `where` for a path that leads out of the raw folder, a name that is not
        UTF-8, several videos that it may be, and a file that is not a video.
        """
        check_utf8(text, where, "file")
        if not text or not text.isprintable():
            raise InputError(f"{where}: file is {printable(text)!r}, must be the path of a video")
        path = PurePosixPath(text.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", text):
            raise InputError(f"{where}: file {text!r} must be a path below {self._raw}, relative to it")
        folder = "" if path.parent == PurePosixPath() else f"{path.parent}/"
        spellings = dict.fromkeys((folder, _composed(folder), unicodedata.normalize("NFD", folder)))
        folder = next((one for one in spellings if self._list(one).names), folder)
        found = self._list(folder).find(path.name)
        if len(found) > 1:
            raise InputError(f"{where}: file {text!r} may be {' or '.join(found)}; add the suffix")
        if not found:
            self._unknown.append((where, path))
            return None
        if not is_video_name(found[0]):
            raise InputError(f"{where}: file {text!r} is not a video, by its suffix")
        return folder + found[0]

    def check_all_found(self) -> None:
        """Raise InputError naming the rows of missing files, and where a file of that name is."""
        if not self._unknown:
            return
        where, path = self._unknown[0]
        elsewhere = self._elsewhere(path.name)
        hint = f"; there is {printable(elsewhere)!r}" if elsewhere else ""
        lines = [line.rpartition(":")[2] for line, _ in self._unknown[1:]]
        shown = ", ".join([*lines[:_MOST_NAMED], *(["…"] if len(lines) > _MOST_NAMED else [])])
        more = f"; the same holds for {len(lines)} more rows: {shown}" if lines else ""
        raise InputError(f"{where}: {str(path)!r} is not a file in {self._raw}{hint}{more}")

    def _list(self, folder: str) -> _Folder:
        if folder not in self._listed:
            names = folder_names(self._raw, folder, allow_links=self._allow_links, linked=False)
            by_name: dict[str, list[str]] = {}
            by_stem: dict[str, list[str]] = {}
            for name in sorted(names):
                composed = _composed(name)
                by_name.setdefault(composed, []).append(name)
                if is_video_name(name):
                    by_stem.setdefault(composed.rpartition(".")[0], []).append(name)
            self._listed[folder] = _Folder(names, by_name, by_stem)
        return self._listed[folder]

    def _elsewhere(self, name: str) -> str | None:
        """Return the path of a file called `name`, or `name` and a suffix, in any folder."""
        for folder, folders, names in os.walk(self._raw):
            folders.sort()
            for found in sorted(names):
                if name in (found, Path(found).stem):
                    return (Path(folder) / found).relative_to(self._raw).as_posix()
        return None


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
