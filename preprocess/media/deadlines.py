"""A stopwatch that does not jump and does not count time in which nothing could run."""

from __future__ import annotations

import time

TICK_SECONDS = 0.1
# A longer time between two ticks means that this process was stopped, frozen or starved: its children may
# have been as well, and their results have not been read.
MOST_PER_TICK_SECONDS = 1.0


class Elapsed:
    """The seconds since the first `tick`, of which each adds at most `MOST_PER_TICK_SECONDS`.

    The clock is monotonic: a step of the system's clock changes nothing. On Linux it stands still while the
    machine is suspended.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last: float | None = None

    def tick(self) -> float:
        """Add the time since the last tick, and return the seconds until now."""
        now = time.monotonic()
        if self._last is not None:
            self.seconds += min(now - self._last, MOST_PER_TICK_SECONDS)
        self._last = now
        return self.seconds
