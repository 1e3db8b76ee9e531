"""What a model is scored by."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]


class SecondsAccuracy:
    """AVE's score: the share of seconds whose class is right, with the counts behind it.

    Ties between logits go to the lower class index, as `argmax` does.
    """

    def __init__(self, classes: int) -> None:
        self._confusion = np.zeros((classes, classes), dtype=np.int64)

    def update(self, predicted: Labels, true: Labels) -> None:
        """Counts predictions against the truth: class indices of equal shape."""
        if predicted.shape != true.shape:
            raise ValueError(f"predicted has shape {predicted.shape}, true {true.shape}; they must be equal")
        np.add.at(self._confusion, (true.ravel(), predicted.ravel()), 1)

    @property
    def confusion(self) -> Labels:
        """Counts `[true class, predicted class]`."""
        return self._confusion.copy()

    def accuracy(self) -> float:
        """Share of seconds right; NaN when nothing was counted."""
        total = self._confusion.sum()
        return float(self._confusion.trace() / total) if total else float("nan")

    def by_class(self) -> list[float | None]:
        """Share of each class's seconds that are right; None for a class without seconds."""
        totals = self._confusion.sum(axis=1)
        return [float(row[i] / totals[i]) if totals[i] else None for i, row in enumerate(self._confusion)]

    def summary(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "accuracy": self.accuracy(),
            "seconds": int(self._confusion.sum()),
            "by_class": dict(zip(classes, self.by_class(), strict=True)),
            "confusion": self._confusion.tolist(),
        }
