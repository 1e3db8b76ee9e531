"""What a run writes down while it goes: lines of JSON, and the same for TensorBoard."""

from __future__ import annotations

from typing import Any

from .run_folder import METRICS, STEPS, RunFolder


class Record:
    """Writes steps and epochs into the run folder. A record that is not `kept` writes nothing."""

    def __init__(self, run: RunFolder, *, step: int, kept: bool) -> None:
        self._run = run
        self._kept = kept
        self._board: Any = None
        if kept:
            from torch.utils.tensorboard import SummaryWriter

            # What a run that was resumed had written after its last saved state is hidden.
            self._board = SummaryWriter(str(run.tensorboard), purge_step=step + 1)

    def step(self, row: dict[str, Any], *, scalars: dict[str, float]) -> None:
        """One step: a line, and its numbers as `train/NAME`."""
        if self._kept:
            self._run.append(STEPS, row)
            self._draw(scalars, "train", row["step"])

    def epoch(self, row: dict[str, Any], *, scalars: dict[str, float]) -> None:
        """One epoch: a line, and its scores as `epoch/NAME`."""
        if self._kept:
            self._run.append(METRICS, row)
            self._draw(scalars, "epoch", row["step"])

    def close(self) -> None:
        """Writes what TensorBoard holds back."""
        if self._board is not None:
            self._board.close()

    def _draw(self, scalars: dict[str, float], group: str, step: int) -> None:
        for name, value in scalars.items():
            self._board.add_scalar(f"{group}/{name}", value, step)
