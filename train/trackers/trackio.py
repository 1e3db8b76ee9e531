"""Trackio, with a local dashboard (`trackio show`). TRACKIO_DIR and TRACKIO_PROJECT apply."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from .base import PROJECT, Entry, TrackedRun, Tracker, log_by_step


class Trackio(Tracker):
    """A run of Trackio, in the user's local database."""

    package = "trackio"
    # No extra: it requires a Pillow below 13, which would change the bytes of shards, and works with 13.
    how = "pip install trackio, then pip install --no-deps pillow==13.0.0, whose version decides bytes"

    def start(self, run: TrackedRun, identity: str | None) -> str | None:
        import trackio

        # Trackio knows a run by its name, and folders may have the same name.
        name = identity or f"{run.name}-{uuid4().hex[:8]}"
        with contextlib.redirect_stdout(sys.stderr):  # its greeting
            self._run: Any = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", PROJECT),
                name=name,
                config=dict(run.config),
                resume="allow",
                auto_log_gpu=False,
                auto_log_cpu=False,
                embed=False,
            )
        return name

    def log(self, entries: Sequence[Entry]) -> None:
        import trackio

        log_by_step(lambda values, step: self._run.log(values, step=step), entries, trackio.Image)

    def close(self, *, finished: bool) -> None:  # noqa: ARG002
        self._run.finish()


TRACKER = Trackio
