"""Label tracks of Audacity: lines of start, end and label, separated by tabs, in seconds.

A label may end in `[audible]` or `[visible]`. Lines that begin with a backslash are the frequencies of the
label before, which are not used. A label with equal times is a point.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import InputError
from .event_rows import EventRow, Faults, check_times, read_label, read_seconds, split_tag
from .paths import printable
from .text_files import read_text

SUFFIX = ".txt"
_TITLES = ("start", "begin", "onset")
_BLANKS = re.compile(r"[ \t]+")
_MOST_SHOWN = 80


def read_label_track(path: Path, faults: Faults) -> list[EventRow]:
    """Return the labels of a track, in order.

    Lines that cannot be used are added to `faults`. Raises InputError for a file that is not text in UTF-8.
    """
    rows = []
    lines = read_text(path, hint="export the labels from Audacity").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        if number == 1 and line.split()[0].strip('"').casefold() in _TITLES:
            continue
        where = f"{path}:{number}"
        try:
            rows.append(_read(line, where))
        except InputError as error:
            faults.add(where, str(error).removeprefix(f"{where}: "))
    return rows


def _read(line: str, where: str) -> EventRow:
    cells = line.split("\t", 2)
    if len(cells) < 2:
        cells = _BLANKS.split(line.strip(), maxsplit=2)  # tabs that an editor replaced
    if len(cells) < 2:
        raise InputError(
            f"{printable(line)[:_MOST_SHOWN]!r} is not a label; expected start, end and label, separated by "
            "tabs"
        )
    start, end = read_seconds(cells[0], "start"), read_seconds(cells[1], "end")
    check_times(start, end)
    text, modality = split_tag(cells[2].strip() if len(cells) > 2 else "")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    return EventRow(where, start, end, read_label(text, where), modality)
