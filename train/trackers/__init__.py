"""Trackers, which show a training's curves, scores and pictures: one module a tracker.

A module assigns `TRACKER`, a class of `base.Tracker`. Trackers are chosen by `train.trackers`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import Registry

if TYPE_CHECKING:
    from .base import Tracker

__all__ = ["TRACKERS"]

TRACKERS: Registry[type[Tracker]] = Registry(
    __name__, Path(__file__).parent, attribute="TRACKER", noun="tracker"
)
"""The trackers by name."""
