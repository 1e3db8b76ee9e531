"""Reading of a JSON file that is one long list, record by record, without holding all in memory."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...bounded import MOST_DEPTH, is_too_deep, unique_object
from ...errors import InputError
from .text_files import check_encoding

_CHUNK_BYTES = 1 << 20
_MAX_RECORD_CHARACTERS = 16 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_UNIQUE_KEYS = json.JSONDecoder(object_pairs_hook=unique_object)


def read_records(path: Path, *, unique_keys: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number where each record of the list in `path` begins, and the record.

    Bytes that are not UTF-8 become lone surrogates. Raises InputError naming the line when the file is not a
    list of objects in JSON, and naming its encoding when that is another than UTF-8; with `unique_keys` also
    for an object that has a key twice.
    """
    check_encoding(path)
    text = _Window(path, _UNIQUE_KEYS if unique_keys else _DECODER)
    if text.next_character() != "[":
        raise InputError(f"{path}:{text.line}: a JSON list of records must begin here")
    text.skip(1)
    if text.next_character() == "]":
        return
    while True:
        line, record = text.record()
        if not isinstance(record, dict):
            raise InputError(f"{path}:{line}: a record is {type(record).__name__}, must be a JSON object")
        yield line, record
        follows = text.next_character()
        text.skip(1)
        if follows == "]":
            return
        if follows != ",":
            raise InputError(f"{path}:{text.line}: {follows or 'the end'!r} after a record, must be , or ]")


class _Window:
    """The part of the file that is in memory, and how many lines lie before it."""

    def __init__(self, path: Path, decoder: json.JSONDecoder) -> None:
        self.path = path
        self.line = 1
        self._decoder = decoder
        self._text = ""
        self._place = 0
        self._chunks = self._read()

    def _read(self) -> Iterator[str]:
        bytes_decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        decoder = io.IncrementalNewlineDecoder(bytes_decoder, translate=True)
        with self.path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield decoder.decode(chunk)
        yield decoder.decode(b"", final=True)

    def _more(self) -> bool:
        """Drop what was read and read a chunk. Return False at the end of the file."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._text = self._text[self._place :] + chunk
        self._place = 0
        return True

    def skip(self, count: int) -> None:
        """Skip `count` characters."""
        self.line += self._text.count("\n", self._place, self._place + count)
        self._place += count

    def next_character(self) -> str:
        """Return the next character that is not white space, without consuming it; empty at the end."""
        if self._place < len(self._text) and (character := self._text[self._place]) not in " \t\r\n":
            return character
        while True:
            # The pattern also matches nothing, so there is always a match.
            self.skip(len(_SPACE.match(self._text, self._place).group()))  # type: ignore[union-attr]
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def record(self) -> tuple[int, Any]:
        """Read one value; return the line where it begins, and the value."""
        self.next_character()
        line = self.line
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except (ValueError, RecursionError) as error:  # a number of too many digits is a ValueError
                if len(self._text) - self._place > _MAX_RECORD_CHARACTERS or not self._more():
                    raise InputError(f"{self.path}:{line}: the record here is not JSON ({error})") from None
                continue
            if is_too_deep(value):
                raise InputError(
                    f"{self.path}:{line}: the record here is nested deeper than {MOST_DEPTH} levels"
                )
            self.skip(end - self._place)
            return line, value
