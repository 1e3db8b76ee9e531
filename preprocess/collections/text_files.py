"""Reading of annotation files as UTF-8 text; errors name the actual encoding or format."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ...bounded import open_plain, read_file
from ...errors import InputError

_HEAD_BYTES = 4096
# UTF-32 first: its little-endian mark begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_OTHER_FILES = (
    (b"PK\x03\x04", "a ZIP archive, perhaps an Excel workbook"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file, perhaps an Excel workbook"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"%PDF-", "a PDF"),
    (b"version https://git-lfs", "a Git LFS pointer, whose file is still to be fetched"),
)
_WEB_PAGE = re.compile(rb"\s*<(?:!doctype html|html)[\s>]", re.IGNORECASE)
# So many of the bytes at even, or at odd, places of UTF-16 text are zero: blanks, digits and separators.
_ZERO_SHARE = 0.3
_MOST_BYTES = 512 << 20  # VGGSound's 200,000 rows take 10 MB


def read_text(path: Path, *, hint: str) -> str:
    """Return the text of an annotation file: a byte-order mark left out, every line end a line feed.

    Bytes that are not UTF-8 become lone surrogates; see `escaped` and `check_utf8`. Raises InputError, with
    `hint`, when there is no such file, and when it is in another encoding or not text.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; {hint}")
    check_encoding(path)
    content = read_file(path, most_bytes=_MOST_BYTES).removeprefix(codecs.BOM_UTF8)
    return content.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")


@contextmanager
def opened_text(path: Path, *, hint: str) -> Iterator[TextIO]:
    """Open a text file whose lines are those of `read_text`, to read it without holding it in memory.

    Raises as `read_text`.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; {hint}")
    check_encoding(path)
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path} is larger than {_MOST_BYTES:,} bytes, the most that is read of it")
    with (
        open_plain(path) as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape") as text,
    ):
        yield text


def stream_lines(path: Path, *, hint: str) -> Iterator[str]:
    """Yield the lines of a text file as `read_text` returns them, without holding the file in memory."""
    with opened_text(path, hint=hint) as text:
        yield from text


def check_encoding(path: Path) -> None:
    """Raise InputError naming what the file is when it is known, and not text in UTF-8.

    Single bytes that are not UTF-8 pass: what they mean depends on the field that they are in. Raises as
    `open_plain` when it cannot be read.
    """
    with open_plain(path) as stream:
        head = stream.read(_HEAD_BYTES)
    for start, what in _OTHER_FILES:
        if head.startswith(start):
            raise InputError(f"{path} is {what}; a text file in UTF-8 is needed")
    if _WEB_PAGE.match(head.removeprefix(codecs.BOM_UTF8)):
        raise InputError(f"{path} is a web page, perhaps of a download that failed; a text file is needed")
    if encoding := _wide_encoding(head):
        raise InputError(f"{path} is encoded in {encoding}; save it as UTF-8")


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by its mark or by where the zero bytes are; None for others."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    zeros = [half.count(0) / max(len(half), 1) for half in (head[0::2], head[1::2])]
    if len(head) < 4 or max(zeros) < _ZERO_SHARE:
        return None
    # Three of four bytes are zero in UTF-32, so that both halves have many.
    return "UTF-32" if min(zeros) >= _ZERO_SHARE else "UTF-16"


def escaped(text: str) -> str:
    r"""`text` with `\xNN` for each byte that was not UTF-8. Such an id is its clip's `unsafe-path`."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def check_utf8(text: str, where: str, what: str) -> str:
    """Return `text`; raises InputError naming `where` when a byte of it was not UTF-8.

    For what becomes a class or an answer: with escapes in place of letters it would silently be another.
    """
    if text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in text):
        return text
    shown = "".join(
        chr(ord(letter) - 0xDC00) if "\udc80" <= letter <= "\udcff" else letter for letter in text
    )
    raise InputError(
        f"{where}: {what} {shown!r} is not encoded in UTF-8 but perhaps in Latin-1 or Windows-1252; "
        "save the file as UTF-8"
    )
