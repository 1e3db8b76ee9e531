"""The pace of a training: the time of its steps and epochs, and a forecast of its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..figures import short_duration

# The first steps of a process start loaders, choose kernels and compile; no later step takes as long.
_FIRST_STEPS = 2
_FORECAST_AFTER_SECONDS = 30.0


class Pace:
    """Measure the steps and epochs of this process, and tell about how long the rest of the run takes.

    An epoch ends with scoring, checkpoints and pictures, which count as scoring here.

    Args:
        scoring_seconds: of an epoch in earlier processes of the run; None where none was scored.
        clock: seconds of a clock that only runs forward.

    Attributes:
        epochs: that this process has ended.
    """

    epochs = 0

    def __init__(self, *, scoring_seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._scoring_seconds, self._clock = scoring_seconds, clock
        self._step_seconds: list[float] = []  # of the first steps, until others are counted
        self._steps, self._seconds = 0, 0.0  # without the first steps
        self._is_told = False
        self._epoch_began = self._last = clock()

    def begin_epoch(self) -> None:
        """Call this before an epoch, or the rest of one, is trained."""
        self._epoch_began = self._last = self._clock()

    def count_step(self) -> None:
        """Call this after a step was done."""
        seconds = self._since_last()
        if len(self._step_seconds) < _FIRST_STEPS:
            self._step_seconds.append(seconds)
        else:
            self._steps += 1
            self._seconds += seconds

    def first_forecast(self, *, steps_left: int, epochs_left: int) -> str | None:
        """Return the forecast as text, once: when half a minute of steps was measured. Else None.

        Args:
            steps_left: of the run.
            epochs_left: that are not scored yet.
        """
        if self._is_told or self._seconds < _FORECAST_AFTER_SECONDS:
            return None
        self._is_told = True
        left = short_duration(self._left(steps_left, epochs_left))
        scoring = "without" if self._scoring_seconds is None else "with"
        return f"{short_duration(self._seconds / self._steps)} a step, about {left} left, {scoring} scoring"

    def end_epoch(self, *, steps_left: int, epochs_left: int, is_whole: bool) -> str:
        """Return the time of the epoch that ends now, and the forecast of the others, as text.

        Args:
            steps_left: of the run.
            epochs_left: that are not scored yet.
            is_whole: this process trained the epoch from its beginning.
        """
        self._scoring_seconds, self._is_told = self._since_last(), True
        self.epochs += 1
        took = f"took {short_duration(self._last - self._epoch_began)}"
        if not is_whole:
            took += " since it was resumed"
        if not epochs_left:
            return took
        return f"{took}, about {short_duration(self._left(steps_left, epochs_left))} left"

    def _since_last(self) -> float:
        before, self._last = self._last, self._clock()
        return self._last - before

    def _left(self, steps: int, epochs: int) -> float:
        measured = self._steps or len(self._step_seconds)
        seconds = self._seconds if self._steps else sum(self._step_seconds)
        return steps * seconds / max(measured, 1) + epochs * (self._scoring_seconds or 0.0)
