"""The records that a run writes while it trains: JSON lines of steps and epochs, and its trackers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bounded import open_plain, parse_object
from ..errors import InputError
from ..shards.files import named_errors, publish
from ..strict_json import strict_json

if TYPE_CHECKING:
    from .tracking import Tracking

METRICS, STEPS = "metrics.jsonl", "steps.jsonl"
# Limits of one file of JSON lines; a line of steps.jsonl names the clips of a step.
_MOST_LINE_BYTES = 1 << 20
_MOST_LINES_BYTES = 2 << 30

Row = dict[str, Any]


class RunRecords:
    """The rows of `METRICS` (one per epoch) and `STEPS` (one per step) in a run folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, name: str, row: Row) -> None:
        """Append a row to the file `name`."""
        path = self._folder / name
        with named_errors(path), path.open("a", encoding="utf-8") as stream:
            stream.write(strict_json(row) + "\n")

    def read(self, name: str) -> list[Row]:
        """Return the rows of the file `name`, none without the file. Raises InputError naming a bad line."""
        return [row for _, row in self._lines(name)]

    def rewind(self, *, step: int, epoch: int) -> None:
        """Remove the rows of steps after `step` and of epochs after `epoch`, both counted from 1."""
        for name, key, last in ((STEPS, "step", step), (METRICS, "epoch", epoch)):
            # A line that a kill cut off was written after the last saved state.
            kept = [line for line, row in self._lines(name, cut=True) if _is_until(row, key, last)]
            publish(self._folder / name, b"".join(kept))

    def _lines(self, name: str, *, cut: bool = False) -> Iterator[tuple[bytes, Row]]:
        """Yield the lines of a file as bytes and as objects. With `cut`, skip lines that do not end."""
        path = self._folder / name
        if not path.is_file():
            return
        total = 0
        with open_plain(path) as stream:
            for number in itertools.count(1):
                line = stream.readline(_MOST_LINE_BYTES + 1)
                total += len(line)
                if not line:
                    return
                if cut and not line.endswith(b"}\n"):
                    continue
                if len(line) > _MOST_LINE_BYTES or total > _MOST_LINES_BYTES:
                    raise InputError(
                        f"{path}:{number}: more than {_MOST_LINE_BYTES:,} bytes a line or "
                        f"{_MOST_LINES_BYTES:,} in all, the most that is read"
                    )
                yield line, parse_object(line, where=f"{path}:{number}", non_finite=True)


def _is_until(row: Row, key: str, last: int) -> bool:
    value = row.get(key)
    return isinstance(value, int) and value <= last


class RecordWriter:
    """Write steps and epochs to the run folder and to the trackers. Without `tracking`, write nothing."""

    def __init__(self, records: RunRecords, tracking: Tracking | None) -> None:
        """`tracking` is None on all ranks but 0."""
        self._records, self._tracking = records, tracking

    def step(self, row: Row, *, scalars: dict[str, float]) -> None:
        """Write the row of a step, and its scalars as `train/NAME`."""
        self._write(STEPS, row, "train", scalars)
        if self._tracking is not None:
            self._tracking.count_step(row["step"])

    def epoch(self, row: Row, *, scalars: dict[str, float]) -> None:
        """Write the row of an epoch, and its scalars as `epoch/NAME`."""
        self._write(METRICS, row, "epoch", scalars)

    def _write(self, name: str, row: Row, group: str, scalars: dict[str, float]) -> None:
        if self._tracking is None:
            return
        self._records.append(name, row)
        self._tracking.scalars(group, scalars, step=row["step"])
