"""Videos that the rows of a table name: paths relative to the raw folder, each checked and found on disk."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath

from ...errors import InputError
from .paths import folder_names, is_video_name, printable
from .text_files import check_utf8

_MOST_NAMED = 5


class _Folder:
    """The files of a folder, found by name; the indices are made when they are needed."""

    def __init__(self, names: set[str]) -> None:
        self.names = names
        self._by_name: dict[str, list[str]] | None = None
        self._by_stem: dict[str, str | list[str]] | None = None

    def find(self, name: str) -> list[str]:
        """Return the files called `name`, else the videos called so without their suffix.

        Composed (NFC) and decomposed forms of a name are the same.
        """
        if name in self.names:
            return [name]
        composed = _composed(name)
        return self._called(composed) or self._without_suffix(composed)

    def _called(self, composed: str) -> list[str]:
        if self._by_name is None:
            self._by_name = {}
            for name in sorted(name for name in self.names if not name.isascii()):
                self._by_name.setdefault(_composed(name), []).append(name)
        return self._by_name.get(composed, [])

    def _without_suffix(self, composed: str) -> list[str]:
        if self._by_stem is None:
            self._by_stem = {}
            for name in sorted(filter(is_video_name, self.names)):
                stem = _composed(name).rpartition(".")[0]
                before = self._by_stem.setdefault(stem, name)
                if isinstance(before, list):
                    before.append(name)
                elif before is not name:
                    self._by_stem[stem] = [before, name]
        found = self._by_stem.get(composed, [])
        return [found] if isinstance(found, str) else found


class NamedVideos:
    """Finds the videos that the rows of a table name. Every folder is listed once."""

    def __init__(self, raw: Path, *, allow_links: bool) -> None:
        self._raw, self._allow_links = raw, allow_links
        self._listed: dict[str, _Folder] = {}
        self._folders: dict[str, str] = {}  # as rows spell them, to what is on disk
        self._unknown: list[tuple[str, PurePosixPath]] = []

    def known(self, text: str) -> str | None:
        """Return what `find` returns for a plain path in a folder that it knows; None for others.

        It takes a third of the time: most of a million rows are such paths.
        """
        asked, slash, name = text.rpartition("/")
        folder = self._folders.get(asked + slash)
        if folder is None or not text.isascii() or not text.isprintable() or "\\" in text or ":" in text:
            return None
        return folder + name if name in self._listed[folder].names and is_video_name(name) else None

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
        folder, name = self._place(text, where)
        found = self._list(folder).find(name)
        if len(found) > 1:
            raise InputError(f"{where}: file {text!r} may be {' or '.join(found)}; add the suffix")
        if not found:
            self._unknown.append((where, PurePosixPath(text.replace("\\", "/"))))
            return None
        if not is_video_name(found[0]):
            raise InputError(f"{where}: file {text!r} is not a video, by its suffix")
        return folder + found[0]

    def _place(self, text: str, where: str) -> tuple[str, str]:
        """Return the folder of a path as it is spelt on disk, empty or with a slash at its end, and the name.

        Raises InputError naming `where` for a path that leads out of the raw folder.
        """
        asked, slash, name = text.replace("\\", "/").rpartition("/")
        asked += slash
        if asked in self._folders and name not in ("", ".", "..") and ":" not in name:
            return self._folders[asked], name
        path = PurePosixPath(text.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", text):
            raise InputError(f"{where}: file {text!r} must be a path below {self._raw}, relative to it")
        folder = "" if path.parent == PurePosixPath() else f"{path.parent}/"
        spellings = dict.fromkeys((folder, _composed(folder), unicodedata.normalize("NFD", folder)))
        folder = next((one for one in spellings if self._list(one).names), folder)
        if name == path.name:
            self._folders[asked] = folder
        return folder, path.name

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
            self._listed[folder] = _Folder(names)
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
    return name if name.isascii() else unicodedata.normalize("NFC", name)
