"""The confusion matrix as a heat table."""

from __future__ import annotations

from dataclasses import dataclass

from ..train.tasks.meter import ConfusionMatrix

# A cell's shade, 1 to 5: the number of these shares of its row that it is above; 0 for an empty cell.
_SHADES = (0.0, 0.1, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Cell:
    """Seconds of one class that were taken for another, and how dark that is drawn."""

    seconds: int
    shade: int


@dataclass(frozen=True)
class ConfusionTable:
    """Rows are true classes, columns predicted ones, in the order of `names`."""

    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def confusion_table(matrix: ConfusionMatrix) -> ConfusionTable:
    """Return the matrix as a table, without classes that are neither true nor predicted."""
    names, counts = matrix.names, matrix.counts
    kept = [index for index in range(len(names)) if sum(counts[index]) or sum(row[index] for row in counts)]
    rows = tuple(
        tuple(_cell(counts[true][predicted], sum(counts[true])) for predicted in kept) for true in kept
    )
    return ConfusionTable(tuple(names[index] for index in kept), rows)


def _cell(seconds: int, of_class: int) -> Cell:
    return Cell(seconds, sum(seconds / of_class > share for share in _SHADES) if of_class else 0)
