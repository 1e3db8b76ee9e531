"""Telling the second run of a block, in the backward pass under `checkpointing`, from the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_RECOMPUTING: ContextVar[bool] = ContextVar("recomputing", default=False)


def recomputing() -> bool:
    """Return whether a block is being computed a second time, so that its buffers must not change."""
    return _RECOMPUTING.get()


@contextmanager
def recomputation() -> Iterator[None]:
    """Mark everything computed in the context as a second run."""
    token = _RECOMPUTING.set(True)
    try:
        yield
    finally:
        _RECOMPUTING.reset(token)
