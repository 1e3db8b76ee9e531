"""Paths from annotation files, which must stay inside the raw folder."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...shards.schema import is_valid_key
from ..media.reasons import ClipError

# Of the containers in `container.DEMUXERS`, as cameras, recorders and programs name them, in lower case.
VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mp4v", ".mov", ".qt", ".f4v", ".ismv", ".3gp", ".3gpp", ".3g2", ".3gp2", ".mj2"),
        *(".mkv", ".mk3d", ".webm", ".avi", ".divx", ".flv", ".asf", ".wmv", ".ogv", ".ogm", ".ogx"),
        *(".mpg", ".mpeg", ".mpe", ".m2p", ".vob", ".mod"),
        *(".ts", ".mts", ".m2ts", ".m2t", ".tp", ".trp", ".tod"),
        *(".ivf", ".nut"),
    }
)
# Of sound files that annotations may name in place of the videos that they were made from.
SOUND_SUFFIXES = frozenset(
    {".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma", ".au"}
)
_USUAL = ".mp4"
MAX_NAME_BYTES = 255  # of a file or folder, in nearly every file system


def resolve_source(raw: Path, source: str, *, allow_links: bool = False) -> Path:
    """Return the file that `source`, a path relative to `raw`, names.

    Raises ClipError `unsafe-path` when it leads out of `raw` (by `..`, by an absolute path, or by a link
    unless `allow_links`), `missing` when there is no such file. `raw` itself may be a link.
    """
    if Path(source).is_absolute() or ".." in Path(source).parts or "\0" in source:
        raise ClipError("unsafe-path", f"{source!r} leads out of the raw folder")
    path = raw / source
    if not allow_links and _leads_out(raw, path):  # first, so that nothing outside is accessed
        raise ClipError(
            "unsafe-path", f"{source} is a link that leads out of the raw folder; see --allow-links"
        )
    try:
        found = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise ClipError("missing", f"{source} cannot be a file: {error.strerror}") from error
    if not found:
        raise ClipError("missing", f"{source} is not in the raw folder")
    return path


def annotation_file(raw: Path, path: Path, *, allow_links: bool) -> Path:
    """`path`, an annotation file of the collection in `raw`, which need not exist.

    Raises InputError when it is, or lies behind, a link that leads out of `raw`, unless `allow_links`.
    """
    if not allow_links and _leads_out(raw, path):
        raise InputError(f"{path} is a link that leads out of {raw}; see the option allow_links")
    return path


def _leads_out(raw: Path, path: Path) -> bool:
    # Not Path.resolve(): it raises for links that go in a circle.
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(raw))


def unsafe_name(name: str, what: str) -> tuple[str, str] | None:
    """Return the problem of a clip whose `what` is `name` if that cannot be a key or one part of a path."""
    if is_valid_key(name):
        return None
    return "unsafe-path", f"{what} {name!r} has characters outside A-Z a-z 0-9 _ -, or too many"


def printable(text: str) -> str:
    """Return `text` with control characters and surrogates as escapes, for records and terminals."""
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in ("Cc", "Cs") else letter
        for letter in text
    )


def folder_names(
    raw: Path, folder: str, *, folders: bool = False, allow_links: bool = False, linked: bool = True
) -> set[str]:
    """Names of the files (or of the folders) in `raw/folder`; none when there is no such folder.

    A folder that a link puts outside `raw` counts as none, unless `allow_links`. `linked` False leaves out
    the single entries of which the same is true. Raises InputError when the folder may not be listed.
    """
    place = raw / folder
    if not allow_links and _leads_out(raw, place):
        return set()

    def counts(entry: os.DirEntry[str]) -> bool:
        if not linked and not allow_links and entry.is_symlink() and _leads_out(raw, Path(entry.path)):
            return False
        return entry.is_dir() if folders else entry.is_file()

    try:
        with os.scandir(place) as entries:
            return {entry.name for entry in entries if counts(entry)}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise InputError(f"{place} cannot be listed: {error.strerror}") from None


class Folders:
    """Lists folders below RAW, many of which lie side by side: links above them are looked for once.

    A folder that a link puts outside `raw` is empty, unless `allow_links`.
    """

    def __init__(self, raw: Path, *, allow_links: bool) -> None:
        self._raw, self._allow_links = raw, allow_links
        self._inside: dict[str, bool] = {}

    def names(self, folder: str) -> tuple[set[str], set[str]]:
        """Return the names of the files and of the folders in `folder`, relative to `raw`.

        Raises InputError when the folder may not be listed.
        """
        files: set[str] = set()
        folders: set[str] = set()
        place = f"{self._raw}/{folder}"
        if not self._allow_links:
            try:
                linked = stat.S_ISLNK(os.lstat(place).st_mode)
            except FileNotFoundError:
                return files, folders
            except (OSError, ValueError):
                linked = False  # listing it says why
            above = folder.rpartition("/")[0]
            if _leads_out(self._raw, Path(place)) if linked else not self._is_inside(above):
                return files, folders
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir():
                        folders.add(entry.name)
                    elif entry.is_file():
                        files.add(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise InputError(f"{place} cannot be listed: {error.strerror}") from None
        return files, folders

    def _is_inside(self, above: str) -> bool:
        if above not in self._inside:
            self._inside[above] = not _leads_out(self._raw, self._raw / above)
        return self._inside[above]


class VideoNames(Mapping[str, str]):
    """The videos among `names`: name without suffix to file name. MP4 has precedence.

    Names that end with `.mp4` are stored once, since a folder may hold a million of them.
    """

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._others: dict[str, str] = {}  # of other suffixes
        self._count = 0
        for name in names:
            if name.endswith(_USUAL):
                self._count += len(name) > len(_USUAL)
        for name in sorted(name for name in names if not name.endswith(_USUAL)):
            stem, _, suffix = name.rpartition(".")
            if not is_video_name(name) or f"{stem}{_USUAL}" in names:
                continue
            if stem not in self._others or suffix.lower() == "mp4":
                self._others[stem] = name

    def __getitem__(self, stem: str) -> str:
        usual = f"{stem}{_USUAL}"
        return usual if stem and usual in self._names else self._others[stem]

    def __iter__(self) -> Iterator[str]:
        end = len(_USUAL)
        yield from (name[:-end] for name in self._names if name.endswith(_USUAL) and len(name) > end)
        yield from self._others

    def __len__(self) -> int:
        return self._count + len(self._others)

    def get(self, stem: str, default: Any = None) -> Any:
        """Return the file of a video, `default` where there is none."""
        usual = f"{stem}{_USUAL}"
        return usual if stem and usual in self._names else self._others.get(stem, default)


def videos_by_name(raw: Path, folder: str, *, allow_links: bool = False) -> VideoNames:
    """Return the videos in `raw/folder`: name without suffix to file name. MP4 has precedence."""
    return VideoNames(folder_names(raw, folder, allow_links=allow_links))


def is_video_name(name: str) -> bool:
    """Tell whether the suffix of a file's name is that of a container that is read, in either case."""
    if name.endswith(_USUAL):
        return len(name) > len(_USUAL)
    stem, dot, suffix = name.rpartition(".")
    return bool(stem) and f"{dot}{suffix.lower()}" in VIDEO_SUFFIXES


def count_suffixes(names: Iterable[str], *, most: int = 5) -> str:
    """Return the suffixes of `names` as text, frequent ones first: `3 .rmvb, 2 without a suffix, 1 .txt`."""
    return counted_suffixes(Counter(Path(name).suffix for name in names), most=most)


def counted_suffixes(counts: Mapping[str, int], *, most: int = 5) -> str:
    """Return counts of suffixes as text, as `count_suffixes`."""
    shown: Counter[str] = Counter()
    for suffix, count in counts.items():
        shown[printable(suffix.lower())[:12] or "without a suffix"] += count
    suffixes = shown.most_common()
    said = [f"{count} {suffix}" for suffix, count in suffixes[:most]]
    return ", ".join([*said, "…"] if len(suffixes) > most else said)
