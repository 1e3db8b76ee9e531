"""Paths of the pictures of a clip, which differ in their ends alone.

Packed they are their common beginning and the ends: `("v2/ID/frames/", ("0.jpg", "1.jpg"))`. Clips share the
ends, so that a million clips with twenty pictures each are packed in a third of the time.
"""

from __future__ import annotations

from typing import Any

Series = tuple[str, tuple[str, ...]]


def is_series(paths: tuple[Any, ...]) -> bool:
    """Tell whether `paths` are a beginning and ends."""
    return bool(paths) and type(paths[-1]) is tuple


def all_paths(paths: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the paths themselves; empty for an empty end."""
    if not is_series(paths):
        return paths
    start, ends = paths
    return tuple([start + end if end else "" for end in ends])
