"""Recordings of any length in a folder: their names, their lengths and their splits."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import InputError
from ...shards.schema import SPLITS
from ..media.isolation import IsolatedPool
from ..media.probe import probe
from ..media.reasons import ClipError
from ..media.video.timeline import scan_timeline
from .divisions import divided
from .names import looks_like_split, split_of
from .paths import SOUND_SUFFIXES, is_video_name, printable, resolve_source

_PROBE_SECONDS = 120.0
_PROBE_BYTES = 4 << 30

# Lengths of recordings in seconds, or the error of those that cannot be opened.
Lengths = Mapping[str, float | ClipError]
ReadLengths = Callable[[Path, Sequence[str], bool], Lengths]


class RecordingNames:
    """The recordings below RAW, found by the names that annotations use.

    Attributes:
        paths: all recordings.
        resolved: names that are not the path of their recording, apart from its suffix, to that path.
    """

    def __init__(self, raw: Path) -> None:
        self.paths = tuple(sorted(_videos(raw)))
        self.resolved: dict[str, str] = {}
        self._exact = {_folded(path): path for path in self.paths}
        self._by_name: dict[str, list[str]] = {}
        self._last: tuple[str, str | None] = ("", None)
        for path in self.paths:
            for name in _names_of(path):
                self._by_name.setdefault(name, []).append(path)

    def find(self, name: str) -> str | None:
        """Return the recording that `name` means: a path, a file name, or either without its suffix.

        A name with a folder is a path. The suffix may be that of another video or sound file. None when there
        is no such file. Raises InputError when there are several, and for a name like `.` that no file has.
        """
        if not name or name != self._last[0]:  # rows of a recording follow each other
            self._last = (name, self._find(name))
        return self._last[1]

    def _find(self, name: str) -> str | None:
        wanted = PurePosixPath(_folded(name.replace("\\", "/")))
        if wanted.name in ("", ".."):
            raise InputError(f"filename is {printable(name)!r}, must be the name of a recording")
        if (exact := self._exact.get(wanted.as_posix())) is not None:
            return exact
        for form in dict.fromkeys((wanted, _without_suffix(wanted))):
            found = self._by_name.get(form.as_posix(), [])
            if len(found) > 1:
                raise InputError(f"filename {name!r} may be {found[0]} or {found[1]}; write the path")
            if found:
                if PurePosixPath(_folded(found[0])).with_suffix("") != wanted:
                    self.resolved[name] = found[0]
                return found[0]
        return None

    def nearest(self, name: str) -> str | None:
        """Return the recording whose name is most similar to `name`; None when none is similar."""
        found = difflib.get_close_matches(PurePosixPath(_folded(name)).name, list(self._by_name), n=1)
        return self._by_name[found[0]][0] if found else None


def _names_of(path: str) -> set[str]:
    whole = PurePosixPath(_folded(path))
    return {whole.as_posix(), whole.with_suffix("").as_posix(), whole.name, whole.stem}


def _without_suffix(path: PurePosixPath) -> PurePosixPath:
    """Return `path` without the suffix of a video or sound file; `rec.02` has none."""
    is_media = is_video_name(path.name) or path.suffix.lower() in SOUND_SUFFIXES
    return path.with_suffix("") if is_media else path


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _videos(raw: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(raw):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if is_video_name(name) and not name.startswith("."):
                yield (Path(folder).relative_to(raw) / name).as_posix()


def read_lengths(raw: Path, paths: Sequence[str], allow_links: bool) -> dict[str, float | ClipError]:
    """Return the length of each recording from its header, read in a separate process."""
    found: dict[str, float | ClipError] = {}
    with IsolatedPool(
        1, timeout_seconds=_PROBE_SECONDS, memory_bytes=_PROBE_BYTES, tries=1, imports=("av", "numpy")
    ) as pool:
        items = [(raw, path, allow_links) for path in paths]
        for (_, path, _), outcome in pool.map(_length, items):
            found[path] = outcome
    return found


def _length(item: tuple[Path, str, bool]) -> float:
    raw, path, allow_links = item
    info = probe(resolve_source(raw, path, allow_links=allow_links))
    if info.video is None:
        raise ClipError("no-video", "it holds sound alone; a video is needed")
    end = info.claimed_end_seconds
    return round(scan_timeline(info).end_seconds if end is None else end, 3)


@dataclass
class SplitChoice:
    """The split of each recording, as its folder and its rows give it."""

    given: dict[str, tuple[str, str]]

    def add(self, path: str, split: str, where: str) -> None:
        """Note that `where` puts a recording into `split`. Raises InputError when it is in another one."""
        self._add(path, split, where, f"{where}: {path} is in split {split}")

    def add_folder(self, path: str) -> None:
        """Note the split that a folder of the recording names. Raises InputError for `dev` and the like."""
        for part in PurePosixPath(path).parts[:-1]:
            if (split := split_of(part)) is not None:
                folder = f"its folder {part!r}"
                self._add(path, split, folder, f"{path} is in split {split} by {folder}")
            elif looks_like_split(part):
                raise InputError(
                    f"{path} is in the folder {part!r}, which looks like a split; name it "
                    f"{', '.join(SPLITS)} if it is one, and otherwise if not"
                )

    def _add(self, path: str, split: str, by: str, said: str) -> None:
        known, before = self.given.setdefault(path, (split, by))
        if known != split:
            raise InputError(f"{said}, and in {known} by {before}; choose one")

    def decide(self, paths: Sequence[str]) -> dict[str, str]:
        """Return the split of each recording; by a hash of its path where no split is given at all.

        Raises InputError when only some recordings have one.
        """
        without = [path for path in paths if path not in self.given]
        if len(without) == len(paths):
            return {path.as_posix(): split for path, split in divided(PurePosixPath(path) for path in paths)}
        if without:
            known = next(path for path in paths if path in self.given)
            raise InputError(
                f"{without[0]} has no split, and {known} is in {self.given[known][0]}; give a split to all "
                f"recordings or to none ({len(without)} of {len(paths)} have none)"
            )
        return {path: self.given[path][0] for path in paths}
