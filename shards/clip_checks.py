"""Whether one clip's extent in a shard is what the contract says of a clip of its task."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .schema import ClipRecord, DatasetInfo

# Columns of the manifest that are not in KEY.json: what is about the clip's own bytes, and about its sources.
_NOT_DESCRIBED = ("bytes", "sha256", "source_files", "source_bytes", "source_sha256")


@dataclass(frozen=True)
class Shapes:
    """What every clip of a data set must hold.

    Attributes:
        task: `ave`, `avs` or `avqa`.
        frames: number of `frame_NN.jpg`.
        fbanks: member name to its number of mel bins and the most analysis frames it may have.
        windows: audio windows K.
        classes: number of classes, background included.
    """

    task: str
    frames: int
    fbanks: dict[str, tuple[int, int]]
    windows: int
    classes: int


def expected_shapes(info: DatasetInfo) -> Shapes:
    """What `dataset.json` says a clip must hold."""
    sampling = info.features["sampling"]
    kinds = info.features["fbanks"].values()
    return Shapes(
        task=info.task,
        frames=sampling["frames"],
        fbanks={f"fbank_{kind['mel_bins']}.npy": (kind["mel_bins"], kind["target_frames"]) for kind in kinds},
        windows=sampling["windows"],
        classes=len(info.classes),
    )


def clip_faults(extent: bytes, record: ClipRecord, shapes: Shapes | None) -> Iterator[str]:
    """What is wrong with a clip; without `shapes`, only tar structure and description are looked at."""
    try:
        members = _members(extent)
    except tarfile.TarError as error:
        yield f"is not a readable part of a tar: {error}"
        return
    contents: dict[str, bytes] = {}
    for member, content in members:
        key, _, suffix = member.name.partition(".")
        if key != record.key or not suffix:
            yield f"has the member {member.name}, which is not its own"
        elif not member.isreg():
            yield f"has the member {member.name}, which is no file"
        elif suffix in contents:
            yield f"has the member {member.name} twice"
        contents[suffix] = content
    yield from _description_faults(contents.get("json"), record)
    if shapes is not None:
        yield from _member_set_faults(set(contents), record.split, shapes)
        yield from _array_faults(contents, shapes)


def first_key(extent: bytes) -> str:
    """The key that a tar's first header names, for telling whose clips they are."""
    return extent[:100].split(b"\0")[0].split(b".")[0].decode(errors="replace")


def _members(extent: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(extent + bytes(2 * tarfile.BLOCKSIZE)), mode="r:") as archive:
        members = []
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() else None
            members.append((member, stream.read() if stream is not None else b""))
    return members


def _description_faults(content: bytes | None, record: ClipRecord) -> Iterator[str]:
    if content is None:
        yield "has no description, KEY.json"
        return
    try:
        described = json.loads(content)
    except ValueError as error:
        yield f"has a description that is not JSON: {error}"
        return
    wanted = record._asdict() | {"warnings": list(record.warnings)}
    for name, value in wanted.items():
        if name not in _NOT_DESCRIBED and described.get(name) != value:
            yield f"has {name} {described.get(name)!r} in its description, {value!r} in the manifest"


def _member_set_faults(found: set[str], split: str, shapes: Shapes) -> Iterator[str]:
    wanted = {"json", *(f"frame_{number:02d}.jpg" for number in range(shapes.frames)), *shapes.fbanks}
    masks: set[str] = set()
    if shapes.task == "ave":
        wanted.add("label.npy")
    elif shapes.task == "avqa":
        wanted.add("qa.json")
    elif shapes.task == "avs":
        masks = {f"mask_{number:02d}.png" for number in range(shapes.frames)}
        # For training any of them will do: as published it is the first one.
        wanted |= ({"mask_00.png"} if not found & masks else set()) if split == "train" else masks
    for name in sorted(wanted - found):
        yield f"lacks {name}"
    for name in sorted(found - wanted - masks):
        yield f"has {name}, which does not belong to task {shapes.task}"


def _array_faults(contents: dict[str, bytes], shapes: Shapes) -> Iterator[str]:
    import numpy as np

    for name in sorted(contents):
        if not name.endswith(".npy"):
            continue
        try:
            array: Any = np.load(io.BytesIO(contents[name]), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            yield f"has {name}, which is not an array: {error}"
            continue
        if name in shapes.fbanks:
            bins, most = shapes.fbanks[name]
            fits = array.ndim == 3 and array.shape[::2] == (shapes.windows, bins)
            if array.dtype != np.float16 or not fits or not 0 < array.shape[1] <= most:
                wanted = f"float16 [{shapes.windows}, 1 to {most}, {bins}]"
                yield f"has {name} as {array.dtype} {list(array.shape)}, expected {wanted}"
        elif name == "label.npy":
            in_range = array.size > 0 and array.min() >= 0 and array.max() < shapes.classes
            if array.dtype != np.int16 or array.ndim != 1 or not in_range:
                wanted = f"int16 [seconds] from 0 to {shapes.classes - 1}"
                yield f"has {name} as {array.dtype} {list(array.shape)}, expected {wanted}"
