"""PyTorch's own files, looked at before they are unpacked.

`torch.load(weights_only=True)` runs no code of a file, but unpacks whatever its zip archive claims: a member
that is packed or listed several times turns kilobytes into gigabytes. `torch.save` does neither.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bounded import open_plain
from ..errors import InputError

MOST_FILE_BYTES = 64 << 30
_MOST_LISTED_BYTES = 16 << 20  # the archive's list of members
_MOST_PICKLED_BYTES = 64 << 20  # all but the tensors' data
_MOST_CODE_BYTES = 64 << 20  # of a TorchScript archive, which packs its code
_TAIL_BYTES = (1 << 16) + 22 + 20 + 56


def load_torch(path: Path) -> Any:
    """Return what `torch.save` wrote into the zip archive `path`: tensors and plain values, on the CPU.

    Raises InputError when the archive claims more than it holds, or a tensor more than its data; and what
    `torch.load` raises of a damaged one.
    """
    check_archive(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    check_tensors(content, path)
    return content


def check_archive(path: Path, *, code: bool = False) -> None:
    """Compare what a zip archive claims with its size; `code` allows packed members, as TorchScript has them.

    Raises InputError naming the archive and the member at fault.
    """
    size = check_size(path)
    check_list(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, OverflowError) as error:
        raise InputError(f"{path}: not a readable archive of tensors ({error})") from None
    seen: set[str] = set()
    stored = packed = pickled = 0
    for member in members:
        name = member.filename
        if name in seen:
            raise InputError(f"{path}: {name[:100]} is in it twice")
        seen.add(name)
        if member.compress_type == zipfile.ZIP_STORED:
            stored += member.file_size
        elif code:
            packed += member.file_size
        else:
            raise InputError(f"{path}: {name[:100]} is packed, expected an archive as torch.save writes it")
        pickled += member.file_size if name.endswith(".pkl") else 0
    for what, claimed, most in (
        ("its members", stored, size),
        ("its code", packed, _MOST_CODE_BYTES),
        ("what is not data of tensors", pickled, _MOST_PICKLED_BYTES),
    ):
        if claimed > most:
            raise InputError(f"{path}: {what} would take {claimed} bytes, at most {most} are read")


def check_size(path: Path) -> int:
    """Return the size of a file of weights. Raises InputError when it is no plain file, or far too large."""
    with open_plain(path):
        size = path.stat().st_size
    if size > MOST_FILE_BYTES:
        raise InputError(f"{path}: {size} bytes, at most {MOST_FILE_BYTES} are read")
    return size


def check_tensors(content: Any, path: Path) -> None:
    """Raise InputError when a tensor of a loaded file claims more values than its data holds.

    Such a view costs nothing until it is copied.
    """
    for tensor in _tensors(content):
        claimed = tensor.numel() * tensor.element_size()
        if tensor.layout == torch.strided and claimed > tensor.untyped_storage().nbytes():
            raise InputError(f"{path}: a tensor of shape {list(tensor.shape)} has fewer values than that")
        if tensor.layout != torch.strided:
            raise InputError(f"{path}: a tensor is {tensor.layout}, expected plain ones")


def _tensors(content: Any) -> Iterator[Tensor]:
    pending, seen = [content], set[int]()
    while pending:
        value = pending.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            pending += value.values() if isinstance(value, dict) else value


def check_list(path: Path) -> None:
    """Raise InputError when an archive's list of members is longer than any of tensors."""
    with open_plain(path) as file:
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        tail = file.read(_TAIL_BYTES)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise InputError(f"{path}: not a whole zip archive, as torch.save writes it")
    listed = int.from_bytes(tail[at + 12 : at + 16], "little")
    wide = tail.rfind(b"PK\x06\x06", 0, at)
    if wide >= 0:
        listed = max(listed % 0xFFFFFFFF, int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    if listed > _MOST_LISTED_BYTES:
        raise InputError(f"{path}: its list of members claims {listed} bytes, at most {_MOST_LISTED_BYTES}")
