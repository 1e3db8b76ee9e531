"""The split files of AVE in HDF5: `train_order.h5` and the like, lists of annotation row numbers."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..media.isolation import IsolatedPool
from ..media.reasons import ClipError

DATASET = "order"  # name in the authors' files

MAX_CHUNK_BYTES = 16 << 20
_MEMORY_BYTES = 256 << 20
_TIMEOUT_SECONDS = 60.0


def read_order(path: Path, rows: int) -> list[int]:
    """Return the row numbers in `path`, each in `[0, rows)`, in its order; a row may occur more than once.

    They are the dataset `order`, or the only dataset at the file's top. The file is read in a process of its
    own, because its unpacked size is unknown. Raises InputError naming the file and the value at fault.
    """
    with IsolatedPool(
        1, timeout_seconds=_TIMEOUT_SECONDS, memory_bytes=_MEMORY_BYTES, tries=1, imports=("h5py",)
    ) as pool:
        ((_, numbers),) = pool.map(partial(_read, rows=rows), [path])
    if isinstance(numbers, ClipError):
        raise InputError(f"{path} cannot be read: {numbers.message}")
    for place, number in enumerate(numbers):
        if not 0 <= number < rows:
            raise InputError(
                f"{path}: entry {place} is {number}, must be a row of Annotations.txt: 0 to {rows - 1}"
            )
    return numbers


def _read(path: Path, *, rows: int) -> list[int]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _numbers(_dataset(file, path), path, rows)
    except OSError as error:
        raise InputError(f"{path} is not a whole HDF5 file ({error})") from None


def _dataset(file: Any, path: Path) -> Any:
    import h5py

    # Links are not followed: an external one would open another file.
    names = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
    datasets = {name: file[name] for name in names if file.get(name, getclass=True) is h5py.Dataset}
    if DATASET in datasets:
        return datasets[DATASET]
    if len(datasets) == 1:
        return next(iter(datasets.values()))
    held = ", ".join(map(repr, datasets)) or "none"
    raise InputError(f"{path}: datasets are {held}; there must be one named {DATASET!r}, or only one")


def _numbers(dataset: Any, path: Path, rows: int) -> list[int]:
    if dataset.dtype.kind not in "iu" or len(dataset.shape) != 1:
        raise InputError(
            f"{path}: {dataset.name} holds {dataset.dtype} {list(dataset.shape)}, must be a list of integers"
        )
    if dataset.external or dataset.is_virtual:
        raise InputError(f"{path}: {dataset.name} keeps its numbers in other files, which are not read")
    # A header can claim any length: no more than twice the annotations is unpacked.
    if dataset.shape[0] > 2 * rows:
        raise InputError(f"{path}: {dataset.shape[0]} entries, there are {rows} rows in Annotations.txt")
    # A chunk is unpacked as a whole, however few of its numbers are read.
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if chunk > MAX_CHUNK_BYTES:
        raise InputError(
            f"{path}: {dataset.name} is stored in parts of {chunk} bytes, at most {MAX_CHUNK_BYTES} are read"
        )
    return [int(number) for number in dataset[:]]
