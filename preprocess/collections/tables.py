"""Tables in text files (CSV, TSV): columns by their names in the header, every row with its line.

The delimiter is a comma, a semicolon or a tab; quotes are those of the `csv` module. A byte-order mark, any
line ends, blank lines, and Excel's first line `sep=;` are accepted.
"""

from __future__ import annotations

import csv
import functools
import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ...errors import InputError
from .paths import printable
from .text_files import opened_text

DELIMITERS = ",;\t"
Cells = tuple[str, ...]

_MOST_SHOWN = 200
_MOST_COMPARED = 100
_LINES_AT_ONCE = 2048
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t])"?[,;\t]*', re.IGNORECASE)


class TableRow:
    """One row of a table.

    Cells are without blanks at their ends; empty for an optional column that the table lacks. Bytes that are
    not UTF-8 are lone surrogates: see `escaped` and `check_utf8` of `text_files`.

    Attributes:
        line: number of its first line.
    """

    __slots__ = ("_cells", "_path", "_places", "line")

    def __init__(self, path: Path, line: int, cells: Cells, places: Mapping[str, int]) -> None:
        self._path, self.line, self._cells, self._places = path, line, cells, places

    @property
    def where(self) -> str:
        """`FILE:LINE`, for messages."""
        return f"{self._path}:{self.line}"

    def __getitem__(self, column: str) -> str:
        return self._cells[self._places[column]]

    def get(self, column: str) -> str:
        """Return a cell; empty for a column that was not asked for."""
        return self[column] if column in self._places else ""

    def number(self, column: str) -> float:
        """Return a cell as a number; `1.5` and `1,5` are the same. Raises InputError for other text."""
        text = self[column]
        value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(value):
            raise InputError(f"{self.where}: {column} is {printable(text)!r}, expected a number such as 1.5")
        return value


@dataclass(frozen=True)
class Table:
    """The rows of a table, in order; they can be iterated over several times.

    Attributes:
        path: the file.
        unused: names of the columns that were not asked for, as the header spells them.
    """

    path: Path
    unused: tuple[str, ...]
    _delimiter: str
    _header_lines: int
    _places: Mapping[str, int | None]
    _header: tuple[str, ...]
    _lone: str = ""

    def has(self, column: str) -> bool:
        """Tell whether the table has a column that it may lack."""
        return self._places[column] is not None

    def __iter__(self) -> Iterator[TableRow]:
        """Yield the rows. Raises InputError for one with more or fewer cells than the table has columns."""
        return self.rows(_refuse)

    def rows(self, refuse: Callable[[str, str], None]) -> Iterator[TableRow]:
        """Yield the rows that can be used; call `refuse(where, fault)` for the others."""
        return itertools.starmap(self.row, self.cells(refuse))

    def row(self, line: int, cells: Cells) -> TableRow:
        """Return the row that `cells` yields."""
        return TableRow(self.path, line, cells, self._columns)

    @functools.cached_property
    def _columns(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._places)}

    def cells(self, refuse: Callable[[str, str], None] | None = None) -> Iterator[tuple[int, Cells]]:
        """Yield number and cells of each row, as `rows`; the cells in the order of the asked columns.

        It takes a quarter of the time, for tables of a million rows. Without `refuse`, raises InputError for
        a row that cannot be used.
        """
        refuse = refuse or _refuse
        width, chosen = len(self._header), tuple(self._places.values())
        try:
            for first, records in _blocks(self.path, self._delimiter):
                skipped = max(self._header_lines + 1 - first, 0)
                first, records = first + skipped, records[skipped:]
                if set(map(len, records)) == {width}:
                    columns = tuple(zip(*records, strict=True))
                    if all(map(str.strip, columns[0])):  # else a row may be blank
                        stripped = (
                            itertools.repeat("") if place is None else map(str.strip, columns[place])
                            for place in chosen
                        )
                        numbers = range(first, first + len(records))
                        yield from zip(numbers, zip(*stripped, strict=False), strict=False)
                        continue
                yield from self._each(first, records, refuse)
        except _NotCsvError as error:
            refuse(error.where, error.fault)

    def _each(
        self, first: int, records: Sequence[list[str]], refuse: Callable[[str, str], None]
    ) -> Iterator[tuple[int, Cells]]:
        """Yield the rows among the records that follow each other from the line `first` on."""
        width, places = len(self._header), self._places
        for line, cells in enumerate(records, first):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) == 1 and places.get(self._lone) == 0:
                cells = cells + [""] * (width - 1)
            if len(cells) != width and (fault := self._wrong_width(cells)):
                refuse(f"{self.path}:{line}", fault)
            else:
                yield line, tuple("" if place is None else cells[place].strip() for place in places.values())

    def _wrong_width(self, cells: Sequence[str]) -> str:
        """Return the fault of a row with another number of cells, or nothing."""
        expected = len(self._header)
        if len(cells) >= expected and not any(cell.strip() for cell in cells[expected:]):
            return ""
        row = printable(self._delimiter.join(cells))[:_MOST_SHOWN]
        return (
            f"{len(cells)} cells in {row!r}, expected {expected} ({', '.join(self._header)}); "
            f"quote a cell that holds {self._delimiter!r}"
        )


class _NotCsvError(InputError):
    """A record that is not CSV; nothing after it can be read."""

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"{where}: {fault}")
        self.where, self.fault = where, fault


def read_table(
    path: Path,
    *,
    columns: Mapping[str, Sequence[str]],
    optional: Collection[str] = (),
    header: bool = True,
    lone: str = "",
    hint: str,
) -> Table:
    """Open the table in the text file `path`.

    Args:
        path: the file.
        columns: name of each column to the spellings that the header may have; of several that it has, the
            first one counts. Case, blanks, `-` and `_` make no difference.
        optional: columns that the table may lack.
        header: False for a table without a header, whose columns are `columns` in this order.
        lone: a column that, if it is the first, a row may have alone, without delimiters.
        hint: follows the message when there is no such file.

    Raises:
        InputError: the file is missing, not text, or not UTF-8; or its header lacks a column, or has one
            twice. A row at fault is named while iterating.
    """
    with opened_text(path, hint=hint) as lines:
        separator = _SEPARATOR_LINE.fullmatch(lines.readline(_MOST_SHOWN).rstrip("\n"))
    skipped = 1 if separator else 0
    if not header:
        named = tuple(columns)
        delimiter = separator[1] if separator else _delimiter_of_width(path, len(named), skipped)
        places: dict[str, int | None] = {name: place for place, name in enumerate(named)}
        return Table(path, (), delimiter, skipped, places, named, lone)
    spellings = {_folded(name) for names in columns.values() for name in names}
    delimiter = separator[1] if separator else _delimiter(path, spellings, skipped)
    line, found = _first(path, delimiter, skipped)
    titles = tuple(printable(name.strip().lstrip("#").strip()) for name in found)
    while titles and not titles[-1]:
        titles = titles[:-1]
    _check_twice(titles, f"{path}:{line}")
    places = {
        name: _place(titles, name, names, required=name not in optional, where=f"{path}:{line}")
        for name, names in columns.items()
    }
    unused = tuple(title for place, title in enumerate(titles) if place not in places.values() and title)
    return Table(path, unused, delimiter, line, places, titles, lone)


def _refuse(where: str, fault: str) -> NoReturn:
    raise InputError(f"{where}: {fault}")


def _blocks(path: Path, delimiter: str) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield all records in blocks, blank ones included, each with the number of its first line.

    Every record of a block is one line.
    """
    first = 1
    with opened_text(path, hint="it was there before") as text:
        while lines := list(itertools.islice(text, _LINES_AT_ONCE)):
            try:
                records = list(_reader(lines, delimiter))
            except csv.Error:
                break  # also where a cell of several lines crosses the end of the block
            if len(records) != len(lines):
                break
            yield first, records
            first += len(lines)
        for line, cells in _numbered(itertools.chain(lines, text), delimiter, path, first):
            yield line, [cells]


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records that are not blank, each with the number of its first line."""
    with opened_text(path, hint="it was there before") as text:
        for line, cells in _numbered(text, delimiter, path, 1):
            if any(cell.strip() for cell in cells):
                yield line, cells


def _numbered(text: Iterable[str], delimiter: str, path: Path, first: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of lines from the number `first` on, each with the number of its first line."""
    line = first
    lines = _reader(text, delimiter)
    try:
        for cells in lines:
            yield line, cells
            line = first + lines.line_num
    except csv.Error as error:
        raise _NotCsvError(f"{path}:{line}", f"not a row of a CSV file ({error})") from None


def _reader(text: Iterable[str], delimiter: str) -> Any:
    return csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)


def _first(path: Path, delimiter: str, skipped: int) -> tuple[int, list[str]]:
    """Return the first record after `skipped` lines with its line; an empty one if there is none."""
    return next((record for record in _records(path, delimiter) if record[0] > skipped), (1, []))


def _delimiter(path: Path, known: Collection[str], skipped: int) -> str:
    """Return the delimiter that finds most of the known columns in the first record, else most cells."""

    def found(delimiter: str) -> tuple[int, int]:
        try:
            cells = _first(path, delimiter, skipped)[1]
        except InputError:
            return -1, 0
        return sum(_folded(cell) in known for cell in cells), len(cells)

    return max(DELIMITERS, key=found)


def _delimiter_of_width(path: Path, width: int, skipped: int) -> str:
    """Return the delimiter that gives most of the first records `width` cells, else most cells."""

    def found(delimiter: str) -> tuple[int, int]:
        widths = []
        try:
            for line, cells in _records(path, delimiter):
                if line > skipped:
                    widths.append(len(cells))
                if len(widths) == _MOST_COMPARED:
                    break
        except InputError:
            return -1, 0
        return widths.count(width), max(widths, default=0)

    # Names and numbers hold commas, but hardly tabs.
    return max(reversed(DELIMITERS), key=found)


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).strip().lstrip("#").strip().casefold()
    return re.sub(r"[\s_-]+", "_", plain)


def _check_twice(titles: Sequence[str], where: str) -> None:
    folded = [_folded(title) for title in titles]
    for place, title in enumerate(titles):
        if title and folded[place] in folded[:place]:
            raise InputError(f"{where}: two columns are called {title!r}; give each column its own name")


def _place(
    titles: Sequence[str], name: str, names: Sequence[str], *, required: bool, where: str
) -> int | None:
    folded = [_folded(title) for title in titles]
    for spelling in map(_folded, names):
        if spelling in folded:
            return folded.index(spelling)
    if not required:
        return None
    shown = ", ".join(titles)[:_MOST_SHOWN] or "none"
    raise InputError(
        f"{where}: the columns are {shown}; there must be {name!r}"
        + (f" (or {', '.join(other for other in names if other != name)})" if set(names) - {name} else "")
        + ", in a header line"
    )
