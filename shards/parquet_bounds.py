"""Check of the size that a Parquet table unpacks to, before any of it is unpacked.

A dictionary, run lengths and a compressor each turn a few bytes into any number of rows. Arrow trusts the
pages' claims, so the footer and every page's header are compared with the actual bytes. Our own tables
are Snappy or not compressed, and every row of them takes some bytes in any encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

MOST_FOOTER_BYTES = 1 << 20
MOST_COLUMNS = 64
MOST_ITEMS_A_ROW = 256
"""The most entries of a list in one row (`warnings`, `source_files`)."""

_MOST_HEADER_BYTES = 1 << 16  # of a page; it may hold a column's least and greatest text
_MAGIC = b"PAR1"
_CODECS = (0, 1)  # none, Snappy
_TYPES = range(8)
_ENCODINGS = {0, 2, 3, 4, 8}  # plain, dictionary, run lengths; what Arrow writes by default
_MOST_EXPANSION = 32  # of Snappy, which copies at most 64 bytes for 3
_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY = range(9)
_LIST, _STRUCT = 9, 12
_MOST_THRIFT_DEPTH = 8


class TableError(ValueError):
    """A table claims more than its bytes can hold, or is damaged."""


class _Column(NamedTuple):
    path: str
    codec: int
    values: int
    begin: int
    packed_bytes: int


class _Page(NamedTuple):
    kind: int
    values: int
    unpacked_bytes: int
    packed_bytes: int
    begin: int


def check_table(content: bytes, names: Sequence[str], *, bytes_a_row: int) -> list[str]:
    """Compare what a table claims with its bytes.

    The footer is read here and not by Arrow, which aborts the process where a number names no codec.

    Args:
        content: the file.
        names: the columns that may be read.
        bytes_a_row: the least number of bytes of a row in the file, all columns together.

    Returns the paths of all columns, such as `key` and `warnings.list.element`.

    Raises TableError for more columns, rows, list entries or unpacked bytes than possible for its size.
    """
    if len(content) < 12 or content[:4] != _MAGIC or content[-4:] != _MAGIC:
        raise TableError("it is not a Parquet file")
    size = int.from_bytes(content[-8:-4], "little")
    if size > min(MOST_FOOTER_BYTES, len(content) - 12):
        raise TableError(f"its footer claims {size} bytes, at most {MOST_FOOTER_BYTES} are read")
    try:
        rows, groups = _footer(content, len(content) - 8 - size)
    except TableError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise TableError("its footer is damaged") from None
    if sum(count for count, _ in groups) != rows or (rows and min(count for count, _ in groups) < 1):
        raise TableError(f"it claims {rows} rows, its parts others")
    most = len(content) // bytes_a_row
    if rows > most:
        raise TableError(f"it claims {rows} rows, its {len(content)} bytes hold at most {most}")
    paths = [column.path for column in groups[0][1]] if groups else []
    for count, columns in groups:
        if len(columns) > MOST_COLUMNS:
            raise TableError(f"it has {len(columns)} columns, at most {MOST_COLUMNS} are read")
        if [column.path for column in columns] != paths:
            raise TableError("its parts have different columns")
        for column in columns:
            if count and column.path.partition(".")[0] in names:
                _check_column(content, column, count)
    return paths


def _footer(content: bytes, at: int) -> tuple[int, list[tuple[int, list[_Column]]]]:
    """The number of rows that the footer at byte `at` claims, and of every part its rows and columns."""
    fields, _ = _struct(content, at, depth=0)
    groups = []
    for group in fields[4]:
        columns = []
        for chunk in group[1]:
            about = chunk[3]
            numbers = [about[1], *about[2], *(about[number] for number in (4, 5, 7, 9))]
            if not all(isinstance(number, int) for number in numbers):
                raise TypeError
            if about[1] not in _TYPES or not set(about[2]) <= _ENCODINGS:
                raise TableError(f"it has a column of type {about[1]} in the encodings {about[2]}")
            path = b".".join(about[3]).decode()
            begin = min(about[9], about[11]) if about.get(11) else about[9]
            columns.append(_Column(path, about[4], about[5], begin, about[7]))
        groups.append((int(group[3]), columns))
    return int(fields[3]), groups


def _check_column(content: bytes, column: _Column, rows: int) -> None:
    name, size = column.path, column.packed_bytes
    if column.codec not in _CODECS:
        raise TableError(f"column {name} is packed with codec {column.codec}, expected Snappy or none")
    most = rows * MOST_ITEMS_A_ROW if "." in name else rows
    end = column.begin + size
    if not 4 <= column.begin <= end <= len(content):
        raise TableError(f"column {name} claims bytes {column.begin} to {end}, the file has {len(content)}")
    values = unpacked = 0
    at = column.begin
    while at < end:
        page = _page(content, at, end, name)
        at = page.begin + page.packed_bytes
        unpacked += page.unpacked_bytes
        if page.kind == _DICTIONARY:
            if page.values > page.unpacked_bytes:
                raise TableError(f"column {name} claims {page.values} words in {page.unpacked_bytes} bytes")
        else:
            values += page.values
    if values != column.values or not rows <= values <= most:
        raise TableError(f"column {name} claims {values} values for {rows} rows")
    if unpacked > _MOST_EXPANSION * size + 1024:
        raise TableError(f"column {name} claims to unpack {size} bytes to {unpacked}")


def _page(content: bytes, at: int, end: int, name: str) -> _Page:
    """The header at byte `at` of a column that ends at `end`."""
    try:
        fields, length = _struct(content[at : min(end, at + _MOST_HEADER_BYTES)], 0, depth=0)
        kind, unpacked, packed = (fields[number] for number in (1, 2, 3))
        inner = fields[{_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}[kind]]
        page = _Page(kind, inner[1], unpacked, packed, at + length)
    except (KeyError, IndexError, TypeError):
        raise TableError(f"column {name} has a damaged page header at byte {at}") from None
    if min(page[1:4]) < 0 or page.begin + packed > end:
        raise TableError(f"column {name} has a page at byte {at} that claims {packed} bytes")
    return page


def _struct(content: bytes, at: int, *, depth: int) -> tuple[dict[int, Any], int]:
    """A struct of Thrift's compact protocol: field number to value, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while (head := content[at]) & 15 != _STOP:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(content, at)
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _value(content, at, kind, depth=depth)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, *, depth: int) -> tuple[Any, int]:
    """A value of another type than truth. Raises KeyError for types that Parquet's structs do not have."""
    if depth > _MOST_THRIFT_DEPTH:
        raise KeyError(depth)
    if kind in (_I16, _I32, _I64):
        return _integer(content, at)
    if kind in (_BYTE, _DOUBLE):
        return None, at + (1 if kind == _BYTE else 8)
    if kind == _BINARY:
        size, at = _varint(content, at)
        return content[at : at + size], at + size
    if kind == _LIST:
        return _list(content, at, depth=depth + 1)
    if kind == _STRUCT:
        return _struct(content, at, depth=depth + 1)
    raise KeyError(kind)


def _list(content: bytes, at: int, *, depth: int) -> tuple[list[Any], int]:
    size, kind = content[at] >> 4, content[at] & 15
    at += 1
    if size == 15:
        size, at = _varint(content, at)
    values = []
    for _ in range(size):  # ends with an IndexError where the file does
        value, at = (None, at + 1) if kind in (_TRUE, _FALSE) else _value(content, at, kind, depth=depth)
        if at > len(content):
            raise IndexError(at)
        values.append(value)
    return values, at


def _integer(content: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(content, at)
    return value >> 1 ^ -(value & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise KeyError(at)
