"""Check of one clip in a shard against the contract for its task."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from ..errors import StgcmaError
from .jpeg_headers import is_up_to_scan
from .members import (
    all_finite,
    annotated_of,
    decode_picture,
    flags_fault,
    lengths_of,
    open_picture,
    read_array,
    read_description,
    read_questions,
)
from .schema import ClipRecord, ClipStatistics, DatasetInfo, question_types
from .tar_members import TarMemberError, extent_members
from .task_members import TASK_MEMBERS

# Columns of the manifest that are not in KEY.json: those on the clip's bytes and sources, and its statistics.
_NOT_DESCRIBED = frozenset(
    {"bytes", "sha256", "source_files", "source_bytes", "source_sha256", *ClipStatistics._fields}
)
_START_OF_SCAN = b"\xff\xda"  # the marker that ends the headers of a JPEG picture
_SCALE = 8  # the largest at which libjpeg decodes
_SMALL_BYTES = 4096
_MOST_KNOWN = 4096


@dataclass(frozen=True)
class Shapes:
    """Required content of every clip of a data set.

    Attributes:
        task: a key of `TASK_MEMBERS`, or another.
        frames: number of `frame_NN.jpg`.
        fbanks: member name to its number of mel bins and the most analysis frames it may have.
        windows: audio windows K.
        classes: number of classes, background included.
        pixels: the side of every frame and mask; None where it is not recorded.
        types: names of the types of questions.
        annotated: numbers of the frames with masks, where the clip's description names them.
    """

    task: str
    frames: int
    fbanks: dict[str, tuple[int, int]]
    windows: int
    classes: int
    pixels: int | None = None
    types: tuple[str, ...] = ()
    annotated: tuple[int, ...] | None = None


def expected_shapes(info: DatasetInfo) -> Shapes:
    """Return the content that `dataset.json` requires of a clip."""
    sampling = info.features["sampling"]
    kinds = info.features["fbanks"].values()
    return Shapes(
        task=info.task,
        frames=sampling["frames"],
        fbanks={f"fbank_{kind['mel_bins']}.npy": (kind["mel_bins"], kind["target_frames"]) for kind in kinds},
        windows=sampling["windows"],
        classes=len(info.classes),
        pixels=info.features.get("frame_pixels"),
        types=question_types(info.vocabulary),
    )


class Checked:
    """Contents of one data set that have no fault, so that equal bytes are not checked again.

    Labels are equal in many clips, and so are the headers of the frames, which settle size and mode: of the
    frames with a known header the rest is decoded.
    """

    def __init__(self) -> None:
        self._members: set[tuple[Any, ...]] = set()
        self._names: dict[tuple[Any, ...], tuple[tuple[str, ...], frozenset[str]]] = {}
        self._headers: dict[bytes, tuple[Any, ...]] = {}

    def names(
        self, found: dict[str, bytes], split: str, shapes: Shapes
    ) -> tuple[Sequence[str], AbstractSet[str]]:
        """Return the members that a clip lacks, sorted, and those that it may have."""
        key = (split, shapes.frames, shapes.annotated, *found)
        if key not in self._names:
            if len(self._names) == _MOST_KNOWN:
                self._names.clear()
            wanted, allowed = _member_names(set(found), split, shapes)
            self._names[key] = (tuple(sorted(wanted - found.keys())), frozenset(allowed))
        return self._names[key]

    def content_faults(self, name: str, content: bytes, shapes: Shapes) -> Iterator[str]:
        """Yield the faults of a member's content, which is decoded unless it is known."""
        if name.endswith(".jpg"):
            header = content[: content.find(_START_OF_SCAN)]
            if header in self._headers and _decodes(content, *self._headers[header]):
                return
        elif len(content) <= _SMALL_BYTES:
            key = (name, content, shapes.frames, shapes.windows)
            if key in self._members:
                return
        faults = list(_content_faults(name, content, shapes))
        yield from faults
        if faults:
            return
        if name.endswith(".jpg"):
            if len(self._headers) < _MOST_KNOWN and is_up_to_scan(header):
                self._headers[header] = _decoding(content, name)
        elif len(content) <= _SMALL_BYTES and len(self._members) < _MOST_KNOWN:
            self._members.add(key)


def _decoding(content: bytes, name: str) -> tuple[Any, ...]:
    """Return mode, size and decoder arguments of a JPEG picture."""
    picture = open_picture(content, name)
    return picture.mode, picture.size, picture.tile[0][3]


def _decodes(content: bytes, mode: str, size: tuple[int, int], arguments: tuple[Any, ...]) -> bool:
    """Tell whether a JPEG picture of known mode and size can be decoded.

    All coefficients are decoded, to pixels of 8×8: the same damage is found in two thirds of the time.
    """
    from PIL import Image

    small = (-(-size[0] // _SCALE), -(-size[1] // _SCALE))
    try:
        Image.frombytes(mode, small, content, "jpeg", *arguments, _SCALE, 0)
    except (OSError, ValueError):
        return False
    return True


def clip_faults(
    extent: bytes, record: ClipRecord, shapes: Shapes | None, checked: Checked | None = None
) -> Iterator[str]:
    """Yield the faults of a clip; without `shapes`, only tar structure and description are checked.

    `checked` saves time where many clips have the same `shapes`.
    """
    checked = Checked() if checked is None else checked
    contents: dict[str, bytes] = {}
    try:
        for name, content in extent_members(extent):
            key, _, suffix = name.partition(".")
            if key != record.key:
                yield f"has the member {name}, which is not its own"
            elif suffix in contents:
                yield f"has the member {name} twice"
            contents[suffix] = content
    except TarMemberError as fault:
        yield f"is not a readable part of a tar: {fault}"
        return
    description, unreadable = _description(contents.get("json"))
    if unreadable:
        yield unreadable
    else:
        yield from _description_faults(description, record)
    if shapes is not None:
        shapes, description_fault = _clip_shapes(description, unreadable, shapes)
        if description_fault:
            yield description_fault
        lacking, allowed = checked.names(contents, record.split, shapes)
        for name in lacking:
            yield f"lacks {name}"
        for name in sorted(contents):
            if name in allowed:
                yield from checked.content_faults(name, contents[name], shapes)
            else:
                yield f"has {name}, which does not belong to task {shapes.task}"


def _description(content: bytes | None) -> tuple[dict[str, Any], str]:
    """Return the content of `KEY.json`, and the fault for which it cannot be read or ""."""
    if content is None:
        return {}, "has no description, KEY.json"
    try:
        return read_description(content), ""
    except StgcmaError as error:
        return {}, f"has a description that cannot be read: {error}"


def _clip_shapes(description: dict[str, Any], unreadable: str, shapes: Shapes) -> tuple[Shapes, str]:
    """Return the shapes with what one clip's description says of it, and the fault in that or ""."""
    members = TASK_MEMBERS.get(shapes.task)
    if members is None or unreadable:
        return shapes, ""
    try:
        if members.lengths:
            lengths = lengths_of(description, {"frames": shapes.frames, "windows": shapes.windows})
            shapes = replace(shapes, frames=lengths["frames"], windows=lengths["windows"])
        if members.masks:
            shapes = replace(shapes, annotated=annotated_of(description, shapes.frames))
    except StgcmaError as error:
        return shapes, f"has a description that cannot be read: {error}"
    return shapes, ""


def first_key(extent: bytes) -> str:
    """Return the key in a tar's first header."""
    return extent[:100].split(b"\0")[0].split(b".")[0].decode(errors="replace")


def _description_faults(described: dict[str, Any], record: ClipRecord) -> Iterator[str]:
    for name, given in zip(ClipRecord._fields, record, strict=True):
        value = list(given) if isinstance(given, tuple) else given
        if name not in _NOT_DESCRIBED and described.get(name) != value:
            yield f"has {name} {described.get(name)!r} in its description, {value!r} in the manifest"


def _member_names(found: set[str], split: str, shapes: Shapes) -> tuple[set[str], set[str]]:
    """Return the members that a clip must have, and those that it may have.

    A clip of a task that is not known here may have any members; their content is checked by their names.
    """
    wanted = {"json", *(f"frame_{number:02d}.jpg" for number in range(shapes.frames)), *shapes.fbanks}
    if shapes.task not in TASK_MEMBERS:
        return wanted, wanted | found
    members = TASK_MEMBERS[shapes.task]
    wanted.update(members.required)
    masks = {f"mask_{number:02d}.png" for number in range(shapes.frames if members.masks else 0)}
    if masks and shapes.annotated is not None:
        masks = {f"mask_{number:02d}.png" for number in shapes.annotated}
        wanted |= masks
    if split != "train":
        wanted |= {*masks, *members.scored}
    elif masks and not found & masks:
        wanted.add("mask_00.png")  # for training any one is enough; as published it is the first
    return wanted, wanted | masks | set(members.scored)


def _content_faults(name: str, content: bytes, shapes: Shapes) -> Iterator[str]:
    """Yield the faults of a member's content, which is decoded."""
    try:
        if name.endswith(".npy"):
            yield from _array_faults(name, read_array(content, name), shapes)
        elif name.endswith((".jpg", ".png")):
            yield from _picture_faults(name, decode_picture(content, name), shapes)
        elif name == "qa.json":
            read_questions(content, name, types=shapes.types)
    except StgcmaError as error:
        yield f"has a damaged member: {error}"


def _array_faults(name: str, array: Any, shapes: Shapes) -> Iterator[str]:
    import numpy as np

    if name in shapes.fbanks:
        bins, most = shapes.fbanks[name]
        fits = array.ndim == 3 and array.shape[::2] == (shapes.windows, bins)
        if array.dtype != np.float16 or not fits or not 0 < array.shape[1] <= most:
            wanted = f"float16 [{shapes.windows}, 1 to {most}, {bins}]"
            yield f"has {name} as {array.dtype} {list(array.shape)}, expected {wanted}"
        elif not all_finite(array):
            yield f"has {name} with values that are not finite"
    elif name == "label.npy":
        in_range = array.size > 0 and array.min() >= 0 and array.max() < shapes.classes
        if array.dtype != np.int16 or array.ndim != 1 or not in_range:
            wanted = f"int16 [seconds] from 0 to {shapes.classes - 1}"
            yield f"has {name} as {array.dtype} {list(array.shape)}, expected {wanted}"
    elif name in ("tags.npy", "events.npy"):
        whole = (shapes.classes,) if name == "tags.npy" else (2, shapes.frames, shapes.classes)
        if fault := flags_fault(array, whole):
            yield f"has {name}, which {fault}"


def _picture_faults(name: str, picture: Any, shapes: Shapes) -> Iterator[str]:
    side = shapes.pixels
    if side is not None and picture.size != (side, side):
        width, height = picture.size
        yield f"has {name} of {width}×{height} pixels, expected {side}×{side}"
    if name.startswith("mask_"):
        of_classes = shapes.task in TASK_MEMBERS and TASK_MEMBERS[shapes.task].class_masks
        allowed: Collection[int] = range(shapes.classes) if of_classes else (0, 255)
        wanted = f"0 to {shapes.classes - 1}" if of_classes else "0 and 255 only"
        used = [value for value, count in enumerate(picture.convert("L").histogram()) if count]
        if odd := [value for value in used if value not in allowed]:
            yield f"has {name} with the value {odd[0]}, expected {wanted}"
