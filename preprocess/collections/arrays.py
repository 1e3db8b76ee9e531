"""Arrays as members of a shard."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    """Return the array as a `.npy` file."""
    if array.flags.c_contiguous and not array.dtype.hasobject:
        return _header(array.dtype, array.shape) + array.tobytes()
    return _saved(array)


def _saved(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


@lru_cache(maxsize=256)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the bytes before the values: writing them anew takes longer than the rest of a small file."""
    empty = np.zeros(shape, dtype)
    return _saved(empty)[: -empty.nbytes or None]
