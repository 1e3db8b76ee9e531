"""The confusion matrix as a table with shaded cells."""

from __future__ import annotations

from dataclasses import dataclass

from ..train.tasks.meter import ConfusionMatrix

# A cell's shade, 1 to 5: the number of these shares of its row that it exceeds; 0 for an empty cell.
_SHADES = (0.0, 0.1, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Cell:
    """Seconds or clips of one class predicted as another. `shade` is 0 to 5, the darkest."""

    count: int
    shade: int


@dataclass(frozen=True)
class ConfusionTable:
    """Cells by true class (rows) and predicted class (columns), in the order of `names`."""

    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def confusion_table(matrix: ConfusionMatrix) -> ConfusionTable:
    """Return the matrix as a table, without classes that are neither true nor predicted."""
    names, counts = matrix.names, matrix.counts
    used = [index for index in range(len(names)) if sum(counts[index]) or sum(row[index] for row in counts)]
    rows = tuple(
        tuple(_cell(counts[true][predicted], sum(counts[true])) for predicted in used) for true in used
    )
    return ConfusionTable(tuple(names[index] for index in used), rows)


def _cell(count: int, total: int) -> Cell:
    return Cell(count, sum(count / total > share for share in _SHADES) if total else 0)
