"""Tensors in files: digests, reading, and atomic writing."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..bounded import open_plain
from ..errors import InputError, StgcmaError

MOST_HEADER_BYTES = 8 << 20  # some hundred bytes a tensor


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of names, dtypes, shapes and values; order and device do not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_tensors(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path, *, most: int = 12
) -> None:
    """Copy every tensor of `given` into the one of the same name; both sides must match exactly.

    Raises `InputError` with the first `most` faults.
    """
    check_shapes(wanted, {name: tuple(tensor.shape) for name, tensor in given.items()}, path, most=most)
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(given[name])


def check_shapes(
    wanted: Mapping[str, Tensor], given: Mapping[str, tuple[int, ...]], path: Path, *, most: int = 12
) -> None:
    """Compare the names and shapes in `given` with the tensors `wanted`, which may be on the meta device.

    Raises `InputError` with the first `most` faults.
    """
    faults = [f"missing {name}" for name in wanted if name not in given]
    faults += [f"unknown {name}" for name in given if name not in wanted]
    faults += [
        f"{name} has shape {list(given[name])}, expected {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name] != tuple(tensor.shape)
    ]
    if faults:
        raise InputError(f"{path}: {summary(faults, most)}")


def summary(faults: list[str], most: int = 12) -> str:
    """Return the faults on one line; the first `most` in full, the rest counted."""
    return "; ".join(faults[:most]) + (f"; and {len(faults) - most} more" if len(faults) > most else "")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file. Raises InputError when it is none, or its header too long."""
    with open_tensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shape of every tensor of a safetensors file from its header. Raises as `read_tensors`."""
    with open_tensors(path) as file:
        names = file.keys()
        return {name: tuple(file.get_slice(name).get_shape()) for name in names}


def read_metadata(path: Path) -> dict[str, str]:
    """Read the texts in the header of a safetensors file. Raises as `read_tensors`."""
    with open_tensors(path) as file:
        return file.metadata() or {}


@contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file. Its header is read whole; the library checks it against the file's size."""
    try:
        with open_plain(path) as stream:
            claimed = int.from_bytes(stream.read(8), "little")
        if claimed > MOST_HEADER_BYTES:
            reason = f"its header claims {claimed} bytes, at most {MOST_HEADER_BYTES} are read"
            raise InputError(f"{path}: not a readable safetensors file ({reason})")
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically; the same tensors give the same bytes."""
    write_atomically(path, lambda temporary: save_file(dict(tensors), temporary, metadata=metadata))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary path)`, sync, then rename: a reader never sees half a file.

    The folder is synced as well, so that a power cut does not lose this file and leave later ones.
    Raises StgcmaError naming `path` where it cannot be written.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except (SafetensorError, OSError) as error:
        raise StgcmaError(f"{path} cannot be written: {error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
