"""Tables of events: `filename, onset, offset, event_label`, the convention of DCASE.

The optional columns are `modality` and `split`. A row with a file name alone says that the recording has no
events. A table without a header has these four columns in this order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError
from .event_rows import Faults, check_times, read_label, read_modality, read_seconds
from .names import read_split
from .paths import is_video_name
from .tables import Cells, Table, TableRow, read_table
from .text_files import check_utf8

COLUMNS = {
    "filename": ("filename", "file", "file_name", "recording", "video", "path", "audio_filename", "name"),
    "onset": ("onset", "start", "begin", "start_time", "onset_seconds", "start_seconds", "begin_time_(s)"),
    "offset": ("offset", "end", "stop", "end_time", "offset_seconds", "end_seconds", "end_time_(s)"),
    "event_label": ("event_label", "label", "event", "event_labels", "event_class", "class", "annotation"),
}
OPTIONAL = {
    "modality": ("modality", "modalities"),
    "split": ("split", "subset", "partition", "set"),
}
_HINT = "write one with the columns filename, onset, offset and event_label"


class TableEvent(NamedTuple):
    """One row: a recording, and what the row says of it.

    Attributes:
        line: the number of the row's line.
        filename: the recording as the row names it.
        split: empty where the row gives none.
        event: onset, offset, label and modality as of `EventRow`; None for a recording without events.
    """

    line: int
    filename: str
    split: str
    event: tuple[float, float, str, str] | None


def read_event_table(path: Path, faults: Faults) -> tuple[Iterator[TableEvent], tuple[str, ...]]:
    """Return the rows of a table, and the names of the columns that are not used.

    Rows that cannot be used are added to `faults`. Raises InputError for a file that is no such table.
    """
    table = _open(path)
    return _read_rows(table, faults), table.unused


def _read_rows(table: Table, faults: Faults) -> Iterator[TableEvent]:
    labels: dict[str, str] = {}
    for line, cells in table.cells(faults.add):
        try:
            yield _read(table.path, line, cells, labels)
        except InputError as error:
            where = f"{table.path}:{line}"
            faults.add(where, str(error).removeprefix(f"{where}: "))


def is_event_table(path: Path) -> bool:
    """Tell whether a text file has the header of a table of events."""
    try:
        read_table(path, columns=COLUMNS | OPTIONAL, optional=OPTIONAL, hint=_HINT)
    except InputError:
        return False
    return True


def _open(path: Path) -> Table:
    plain = read_table(path, columns=COLUMNS, header=False, lone="filename", hint=_HINT)
    if not _has_header(plain):
        return plain
    return read_table(path, columns=COLUMNS | OPTIONAL, optional=OPTIONAL, lone="filename", hint=_HINT)


def _has_header(plain: Table) -> bool:
    """Tell whether a table, opened as one without a header, has one: its first row with a time has none."""
    try:
        for row in plain:
            if row["filename"].casefold() in COLUMNS["filename"]:
                return True
            if _has_event(row):
                return not _is_time(row["onset"])
    except InputError:  # another number of columns, which only a header explains
        return True
    return not any(is_video_name(row["filename"]) for row in plain)


def _is_time(text: str) -> bool:
    try:
        read_seconds(text.lstrip("-"), "onset")
    except InputError:
        return False
    return True


def _has_event(row: TableRow) -> bool:
    return _is_event(*(row[name] for name in ("onset", "offset", "event_label")))


def _is_event(*cells: str) -> bool:
    return any(cell.casefold() not in ("", "nan", "none") for cell in cells)


def _read(path: Path, line: int, cells: Cells, labels: dict[str, str]) -> TableEvent:
    """Return the event of a row; `labels` are names of classes by their cells, which are added to it."""
    filename, onset, offset, label, *more = cells
    modality, split = more or ("", "")  # a table without a header has no more columns
    if not filename.isascii():
        check_utf8(filename, f"{path}:{line}", "filename")
    if not filename:
        raise InputError("filename is empty")
    if split:
        read_split(split, f"{path}:{line}")
    if not onset[:1].isdigit() and not _is_event(onset, offset, label):
        return TableEvent(line, filename, split, None)
    begin, end = read_seconds(onset, "onset"), read_seconds(offset, "offset")
    if end < begin:
        check_times(begin, end)
    if label not in labels:
        labels[label] = read_label(label, f"{path}:{line}")
    return TableEvent(line, filename, split, (begin, end, labels[label], read_modality(modality)))


def unused_columns(unused: Iterator[str]) -> str:
    """Return a note on the columns that no table uses, empty without any."""
    names = ", ".join(repr(name) for name in dict.fromkeys(unused))
    return f"columns that are not used: {names}" if names else ""
