"""Telling the second run of a block, in the backward pass under `checkpointing`, from the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_RECOMPUTING: ContextVar[bool] = ContextVar("recomputing", default=False)


def recomputing() -> bool:
    """Return whether a block is being computed a second time, so that its buffers must not change.

    Never while a compiler traces: it computes again what changes nothing, and knows no context variables.
    """
    return not torch.compiler.is_compiling() and _RECOMPUTING.get()


@contextmanager
def recomputation() -> Iterator[None]:
    """Mark everything computed in the context as a second run."""
    token = _RECOMPUTING.set(True)
    try:
        yield
    finally:
        _RECOMPUTING.reset(token)
