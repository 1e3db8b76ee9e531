"""Tables of events by whole seconds, one class a row, of one modality (LLP)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from .paths import printable
from .tables import TableRow, read_table
from .text_files import check_utf8, escaped

_SECOND = re.compile(r"[0-9]{1,6}")
_MOST_NAMED = 8
_MOST_KNOWN = 4096  # different rows but for the name
Span = tuple[int, int, int]
"""Class, onset and offset, in whole seconds, the offset exclusive."""


@dataclass
class DenseRows:
    """The rows of a table.

    Attributes:
        classes: number of classes.
        seconds: length of a clip.
        rows: clip to its rows, in order, repetitions included.
        unlisted: names that are those of no clip, with their numbers of rows.
    """

    classes: int
    seconds: int
    rows: dict[str, list[Span]] = field(default_factory=dict)
    unlisted: Counter[str] = field(default_factory=Counter)

    def spans(self, name: str) -> tuple[Span, ...]:
        """Return the rows of a clip, in order."""
        return tuple(self.rows.get(name, ()))

    def marked(self, name: str) -> npt.NDArray[np.bool_]:
        """Return the seconds that the rows of a clip mark: bool `[seconds, classes]`.

        Rows of a class that touch or overlap are one event. Rows that end before they begin, or where they
        begin, mark nothing, nor do seconds after the end of the clip.
        """
        marked = np.zeros((self.seconds, self.classes), dtype=bool)
        for label, onset, offset in self.rows.get(name, ()):
            marked[onset:offset, label] = True
        return marked

    def findings(self) -> Iterator[str]:
        """Yield notes for the user about rows that are not used as they are, one line each."""
        spans = [span for rows in self.rows.values() for span in rows]
        if self.unlisted:
            names = sorted(self.unlisted)
            more = ", …" if len(names) > _MOST_NAMED else ""
            yield (
                f"{self.unlisted.total()} rows are of {len(names)} names that are no clips of val or test, "
                f"and are not used: {', '.join(names[:_MOST_NAMED])}{more}"
            )
        if empty := sum(onset == offset for _, onset, offset in spans):
            yield f"{empty} rows have zero length and mark nothing"
        if turned := sum(onset > offset for _, onset, offset in spans):
            yield f"{turned} rows end before they begin and mark nothing"
        if late := sum(max(onset, offset) > self.seconds for _, onset, offset in spans):
            yield f"{late} rows reach beyond {self.seconds} s and are cut there"
        if repeated := sum(len(rows) - len(set(rows)) for rows in self.rows.values()):
            yield f"{repeated} rows repeat another row"
        touching, overlapping = self._joined()
        if touching or overlapping:
            yield (
                f"{touching} rows touch and {overlapping} overlap an earlier one of their class, "
                "and are joined with it"
            )

    def _joined(self) -> tuple[int, int]:
        """Return the numbers of distinct rows that touch, and that overlap, an earlier one of their class."""
        touching = overlapping = 0
        for rows in self.rows.values():
            ends: dict[int, int] = {}
            for label, onset, offset in sorted(set(rows)):
                if offset <= onset:
                    continue
                end = ends.get(label, -1)
                touching += onset == end
                overlapping += onset < end
                ends[label] = max(end, offset)
        return touching, overlapping


def read_dense(
    path: Path, classes: Sequence[str], *, names: Collection[str], seconds: int, hint: str
) -> DenseRows:
    """Read a table with the columns `filename`, `onset`, `offset`, `event_labels`.

    Args:
        path: the file.
        classes: the classes that a row may name.
        names: the clips; rows of other names are counted.
        seconds: length of a clip.
        hint: follows the message when there is no such file.

    Raises InputError naming the line of an unknown class, and of a time that is no whole second from 0.
    """
    columns = ("filename", "onset", "offset", "event_labels")
    index = {name: place for place, name in enumerate(classes)}
    found = DenseRows(len(classes), seconds)
    table = read_table(path, columns={name: (name,) for name in columns}, hint=hint)
    known: dict[tuple[str, ...], Span] = {}  # of the cells but the name
    for line, (name, *said) in table.cells():
        cells = tuple(said)
        if cells not in known:
            if len(known) == _MOST_KNOWN:
                known.clear()
            known[cells] = _span(table.row(line, (name, *said)), index)
        name = printable(escaped(name))
        if name in names:
            found.rows.setdefault(name, []).append(known[cells])
        else:
            found.unlisted[name] += 1
    return found


def _span(row: TableRow, index: dict[str, int]) -> Span:
    label = check_utf8(row["event_labels"], row.where, "label")
    if label not in index:
        raise InputError(f"{row.where}: {printable(label)!r} is no class of the collection")
    onset, offset = row["onset"], row["offset"]
    if not (_SECOND.fullmatch(onset) and _SECOND.fullmatch(offset)):
        raise InputError(
            f"{row.where}: onset {printable(onset)!r} and offset {printable(offset)!r} must be whole seconds"
        )
    return index[label], int(onset), int(offset)
