"""Tables of events: `filename, onset, offset, event_label`, the convention of DCASE.

The optional columns are `modality` and `split`. A row with a file name alone says that the recording has no
events. A table without a header has these four columns in this order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError
from .event_rows import EventRow, Faults, check_times, read_label, read_modality, read_seconds
from .names import read_split
from .paths import is_video_name
from .tables import Table, TableRow, read_table
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
        where: `FILE:LINE`.
        filename: the recording as the row names it.
        split: empty where the row gives none.
        event: None for a recording without events.
    """

    where: str
    filename: str
    split: str
    event: EventRow | None


def read_event_table(path: Path, faults: Faults) -> tuple[Iterator[TableEvent], tuple[str, ...]]:
    """Return the rows of a table, and the names of the columns that are not used.

    Rows that cannot be used are added to `faults`. Raises InputError for a file that is no such table.
    """
    table = _open(path)
    return _read_rows(table, faults), table.unused


def _read_rows(table: Table, faults: Faults) -> Iterator[TableEvent]:
    for row in table.rows(faults.add):
        try:
            yield _read(row)
        except InputError as error:
            faults.add(row.where, str(error).removeprefix(f"{row.where}: "))


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
    return any(row[name].casefold() not in ("", "nan", "none") for name in ("onset", "offset", "event_label"))


def _read(row: TableRow) -> TableEvent:
    filename = row["filename"]
    if not filename.isascii():
        check_utf8(filename, row.where, "filename")
    if not filename:
        raise InputError("filename is empty")
    split = row.get("split")
    if split:
        read_split(split, row.where)
    if not _has_event(row):
        return TableEvent(row.where, filename, split, None)
    onset = read_seconds(row["onset"], "onset")
    offset = read_seconds(row["offset"], "offset")
    check_times(onset, offset)
    where = row.where
    label = read_label(row["event_label"], where)
    modality = read_modality(row.get("modality"))
    return TableEvent(where, filename, split, EventRow(where, onset, offset, label, modality))


def unused_columns(unused: Iterator[str]) -> str:
    """Return a note on the columns that no table uses, empty without any."""
    names = ", ".join(repr(name) for name in dict.fromkeys(unused))
    return f"columns that are not used: {names}" if names else ""
