"""Checkpoints of the authors' release: one module a backbone family that was released."""

from __future__ import annotations

from pathlib import Path

from ...registry import Registry
from .base import Release

RELEASES: Registry[Release] = Registry(
    __name__, Path(__file__).parent, attribute="RELEASE", noun="released family"
)
"""The layout of released checkpoints, by backbone family."""

__all__ = ["RELEASES"]
