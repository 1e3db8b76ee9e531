"""TensorBoard: curves in files of the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .base import Entry, Scalars, TrackedRun, Tracker


class TensorBoard(Tracker):
    """Writes `RUN/tensorboard`; it gets losses and scores only, and writes in a thread of its own."""

    package = "tensorboard"
    how = "pip install stgcma"
    background = False
    follows = False

    def start(self, run: TrackedRun, identity: str | None) -> str | None:
        from torch.utils.tensorboard import SummaryWriter

        # TensorBoard hides what was written after the last step of the saved state.
        self._board: Any = SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.step + 1)
        return identity

    def log(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Scalars):
                for name, value in entry.values.items():
                    self._board.add_scalar(name, value, entry.step)

    def close(self, *, finished: bool) -> None:  # noqa: ARG002
        self._board.close()


TRACKER = TensorBoard
