"""Common parts of synthetic collections: splits, ids, and encoding on several cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from typing import TypeVar

import numpy as np

from ...console import progress
from ...errors import InputError

MIN_CLIPS = 10

_ID_CHARACTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"))

Script = TypeVar("Script")


def split_names(clips: int) -> list[str]:
    """Return the split of each of `clips` clips: 70 % for training, 10 % val, 20 % test.

    Raises InputError when `clips` is below `MIN_CLIPS`.
    """
    if clips < MIN_CLIPS:
        raise InputError(f"clips is {clips}, must be at least {MIN_CLIPS} to fill three splits")
    train, val = round(0.7 * clips), round(0.1 * clips)
    return ["train"] * train + ["val"] * val + ["test"] * (clips - train - val)


def seeded(seed: int) -> np.random.Generator:
    """Return the generator for `seed`. Raises InputError when it is negative."""
    if seed < 0:
        raise InputError(f"seed is {seed}, must be at least 0")
    return np.random.default_rng(seed)


def new_id(rng: np.random.Generator, taken: set[str]) -> str:
    """Return an 11-character id, as of the real videos, that is not in `taken`, and add it there."""
    while (identity := "".join(rng.choice(_ID_CHARACTERS, 11))) in taken:
        pass
    taken.add(identity)
    return identity


def render_all(render: Callable[[Script], None], scripts: Sequence[Script], workers: int) -> None:
    """Call `render` for each of `scripts`; it must not depend on their order.

    They are called in `workers` processes; with one worker in this process, which costs no start.
    """
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else None
    with progress("clips") as bar, pool or nullcontext():
        row = bar.add_task("synthesize", total=len(scripts), note="")
        for _ in pool.map(render, scripts) if pool else map(render, scripts):
            bar.advance(row)
