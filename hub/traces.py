"""Search for traces of a machine or a person in files that are to be pushed.

Searched are the home folder, the current folder and the folders of the pushed files in every byte; and in
texts also the host's name, the user's name within a path, and any absolute path. Texts are files of text,
descriptions of clips in shards, headers of tensors and the texts of tables.
"""

from __future__ import annotations

import getpass
import itertools
import json
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError
from ..public_paths import ABSOLUTE_PATH, credentials_in, is_path
from ..shards.tar_members import TarMemberError, stream_members
from .pushed_file import PushedFile

_TEXTS = frozenset({".json", ".jsonl", ".yaml", ".md", ".txt", ".py"})
_DESCRIPTIONS = frozenset({"json", "qa.json"})
_CHUNK_BYTES = 4 << 20
# A shorter text occurs by chance in gigabytes of pictures.
_FEWEST_BYTES = 8
# A host's name of so many letters, and of letters alone, may be a usual word.
_MOST_LETTERS_OF_A_WORD = 12
_MOST_SHOWN = 3


@dataclass(frozen=True)
class Trace:
    """A place that tells something about the machine or its user.

    Attributes:
        file: in the repository.
        place: in the file.
        text: that was found.
        what: the text is.
    """

    file: str
    place: str
    text: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}, {self.place}, has {self.text!r}, {self.what}"


@dataclass(frozen=True)
class Machine:
    """Names by which a machine and its user are recognised.

    Attributes:
        folders: absolute path to what it is.
        user: the user's name; empty when it is not known.
        hosts: names of the host.
    """

    folders: dict[str, str]
    user: str
    hosts: tuple[str, ...]

    @classmethod
    def here(cls, *sources: Path) -> Machine:
        """Return the names of this machine; `sources` are the folders that are pushed."""
        known = {Path.home(): "the home folder", Path.cwd(): "the current folder"}
        known |= dict.fromkeys(sources, "the folder of the pushed files")
        folders: dict[str, str] = {}
        for path, what in known.items():
            for each in (path.absolute(), path.resolve()):
                if each.parent != each:
                    folders.setdefault(str(each), what)
        try:
            user = getpass.getuser()
        except (OSError, KeyError, ImportError):
            user = ""
        host = socket.gethostname()
        hosts = {name for name in (host, host.split(".")[0], os.uname().nodename) if len(name) > 2}
        return cls(folders, user, tuple(sorted(hosts - {"localhost"})))


class TraceSearch:
    """Search of files for the names of a machine.

    Args:
        machine: its names.
        allowed: texts that are no traces.
    """

    def __init__(self, machine: Machine, allowed: Sequence[str] = ()) -> None:
        self._allowed = frozenset(allowed)
        self._user = machine.user
        self._bytes = {
            text.encode(): what for text, what in machine.folders.items() if len(text) >= _FEWEST_BYTES
        }
        self._patterns = [
            (re.compile(rf"(?<![\w.\-/]){re.escape(folder)}(?![\w.\-])"), what)
            for folder, what in machine.folders.items()
        ]
        self._patterns += [
            (re.compile(_host_pattern(host), re.IGNORECASE), "the host's name") for host in machine.hosts
        ]

    def check(
        self, files: Iterable[PushedFile], on_bytes: Callable[[int], None] = lambda _size: None
    ) -> None:
        """Raise InputError naming files and places where a trace is found."""
        found: list[Trace] = []
        for file in files:
            found += itertools.islice(self.traces(file, on_bytes), _MOST_SHOWN)
        if not found:
            return
        more = f", and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        shown = "; ".join(map(str, found[:_MOST_SHOWN]))
        raise InputError(
            f"nothing was sent: {shown}{more}; if a text is no trace of a machine or a person, allow it with "
            f"the option allow"
        )

    def traces(
        self, file: PushedFile, on_bytes: Callable[[int], None] = lambda _size: None
    ) -> Iterator[Trace]:
        """Yield the traces in a file."""
        suffix = Path(file.name).suffix
        if suffix in _TEXTS:
            for number, line in enumerate(file.read().decode(errors="replace").splitlines(), 1):
                yield from self._in_text(file.name, f"line {number}", line)
            on_bytes(file.size_bytes)
            return
        with file.open() as stream:
            yield from self._in_bytes(file.name, stream, on_bytes)
        if suffix == ".tar":
            yield from self._in_descriptions(file)
        elif suffix == ".safetensors":
            with file.open() as stream:
                size = int.from_bytes(stream.read(8), "little")
                header = stream.read(min(size, _CHUNK_BYTES)).decode(errors="replace")
            for text in _texts(header):
                yield from self._in_text(file.name, "its header", text)
        elif suffix == ".parquet":
            yield from self._in_table(file)

    def _in_bytes(self, name: str, stream: BinaryIO, on_bytes: Callable[[int], None]) -> Iterator[Trace]:
        if not self._bytes:
            return
        longest = max(map(len, self._bytes))
        at, before = 0, b""
        while chunk := stream.read(_CHUNK_BYTES):
            block = before + chunk
            for text, what in self._bytes.items():
                place = block.find(text)
                if place >= 0 and text.decode() not in self._allowed:
                    yield Trace(name, f"byte {at - len(before) + place:,}", text.decode(), what)
            on_bytes(len(chunk))
            at += len(chunk)
            before = block[-longest:]

    def _in_text(self, name: str, place: str, text: str) -> Iterator[Trace]:
        known: list[tuple[int, int]] = []
        for pattern, what in self._patterns:
            for match in pattern.finditer(text):
                known.append(match.span())
                named = match[match.lastindex or 0]
                if named not in self._allowed:
                    yield Trace(name, place, named, what)
        for url in credentials_in(text):
            if url not in self._allowed:
                yield Trace(name, place, url, "a URL with credentials, which are not shown here")
        for match in ABSOLUTE_PATH.finditer(text):
            path = match[0]
            parts = re.split(r"[/\\]", path)
            if (len(parts) < 3 and path[0] == "/") or path in self._allowed or not is_path(path):
                continue
            if any(begin < match.end() and match.start() < end for begin, end in known):
                continue
            what = "a path with the user's name" if self._user in parts[1:] else "an absolute path"
            yield Trace(name, place, path, what)

    def _in_descriptions(self, file: PushedFile) -> Iterator[Trace]:
        with file.open() as stream:
            try:
                for member, content in stream_members(stream, file.size_bytes, _DESCRIPTIONS):
                    for text in _texts(content.decode(errors="replace")):
                        yield from self._in_text(file.name, member, text)
            except TarMemberError as fault:
                raise InputError(f"{file.name} is not a readable shard: {fault}; nothing was sent") from None

    def _in_table(self, file: PushedFile) -> Iterator[Trace]:
        import pyarrow
        from pyarrow import compute, parquet

        table = parquet.ParquetFile(pyarrow.BufferReader(file.read()), pre_buffer=False)
        names = [field.name for field in table.schema_arrow if _holds_text(field.type)]
        for group in range(table.metadata.num_row_groups if table.metadata.num_rows else 0):
            for name in names:
                column = table.read_row_group(group, columns=[name], use_threads=False).column(0)
                if pyarrow.types.is_list(column.type):
                    column = compute.list_flatten(column)
                for text in column.unique().to_pylist():
                    yield from self._in_text(file.name, f"column {name}", text or "")


def _host_pattern(host: str) -> str:
    """Return the pattern of a host's name as a word, which is its first group that matches.

    A name that may be a usual word, such as `data`, counts where a text names a host: as the value of a key,
    after `@` or the beginning of an address, before a port, a path on it or a local domain.
    """
    name = re.escape(host)
    if not host.isalpha() or len(host) > _MOST_LETTERS_OF_A_WORD:
        return rf"(?<!\w)({name})(?!\w)"
    before = r"\bhost(?:_?name)?[\"']?\s*[:=]\s*[\"']?|\w@|\b(?:https?|s?ftp|ssh|smb|nfs|hdfs)://"
    after = r":\d{2,5}\b|:/(?!/)|\.(?:local|lan|home|internal)\b"
    return rf"(?:{before})({name})(?![\w-])|(?<![\w.-])({name})(?={after})"


def _holds_text(kind: object) -> bool:
    import pyarrow

    return kind in (pyarrow.string(), pyarrow.list_(pyarrow.string()))


def _texts(content: str) -> Iterator[str]:
    """Yield the texts of a JSON document, keys included; the document itself when it is none."""
    try:
        values = [json.loads(content)]
    except (ValueError, RecursionError):
        yield content
        return
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield from _texts(value) if value.lstrip().startswith("{") else [value]
        elif isinstance(value, dict):
            values += [*value, *value.values()]
        elif isinstance(value, list):
            values += value
