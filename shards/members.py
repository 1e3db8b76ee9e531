"""A clip's members as pictures, arrays and records, each checked before it is unpacked.

Members can come from an untrusted source: headers of pictures and arrays can claim any size. Every read of a
member goes through this file. All functions raise StgcmaError naming the member.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ..bounded import parse_json, parse_object
from ..errors import StgcmaError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Frames and masks are 224×224; somewhat larger ones are accepted.
MOST_PICTURE_SIDE = 512
MASK_PIXELS = 224
MOST_FRAMES = 128
"""The most frames, and the most audio windows, of a clip."""

_KINDS = {"jpg": "JPEG", "png": "PNG"}
_MODES = {"JPEG": ("RGB",), "PNG": ("L", "1")}
# The header as NumPy writes it. NumPy's reader would evaluate the text as Python.
_ARRAY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>|][fiub][1248])', 'fortran_order': (False|True), "
    rb"'shape': \(((?:[0-9]{1,10}, ?)*[0-9]{0,10})\), \} *\n",
    re.DOTALL,
)
_MOST_HEADER_BYTES = 256
_EXPONENT_BITS = 0x7C00  # of float16; all are 1 in infinities and NaN
_MOST_QUESTIONS = 10_000
_MOST_SECONDS = 100_000


class Question(TypedDict):
    """A record of `qa.json`."""

    question_id: int | str
    type: list[str]
    template: str
    words: list[str]
    answer: str


@contextmanager
def named_clip(location: object, key: str) -> Iterator[None]:
    """Prefix the message of a StgcmaError with the clip's name."""
    try:
        yield
    except StgcmaError as error:
        raise StgcmaError(f"{location}: clip {key}: {error}") from None


def member(members: dict[str, bytes], name: str) -> bytes:
    """Return the content of the member `name`. Raises StgcmaError when the clip lacks it."""
    if name not in members:
        raise StgcmaError(f"{name} is missing")
    return members[name]


def class_name(classes: Sequence[str], label: int) -> str:
    """Return the name of the class `label`. Raises StgcmaError for an unknown class."""
    if not 0 <= label < len(classes):
        raise StgcmaError(f"label.npy has the class {label}, expected 0 to {len(classes) - 1}")
    return classes[label]


def frame_name(number: int) -> str:
    """Return the name of the member with frame `number`, counted from 0."""
    return f"frame_{number:02d}.jpg"


def frame_names(members: dict[str, bytes]) -> list[str]:
    """Return the names of the frames among a clip's members, in order.

    Raises StgcmaError when there are none, or more than a clip has.
    """
    names = sorted(name for name in members if name.startswith("frame_"))
    if not 0 < len(names) <= MOST_FRAMES:
        raise StgcmaError(f"it has {len(names)} frames, expected 1 to {MOST_FRAMES}")
    return names


def open_frames(members: dict[str, bytes]) -> list[Any]:
    """Return the frames among a clip's members as Pillow images, in order."""
    return [decode_picture(members[name], name) for name in frame_names(members)]


def open_picture(content: bytes, name: str) -> Any:
    """Return the picture member `name` (`*.jpg`, `*.png`) as a Pillow image; decoded when it is used.

    Raises StgcmaError when it is of another format, larger than `MOST_PICTURE_SIDE` a side, or in a mode that
    frames and masks do not have. Pillow's reader of the one format is used: `Image.open` tries all formats,
    some of which run programs.
    """
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    kind = _KINDS.get(name.rpartition(".")[2], "")
    if not kind:
        raise StgcmaError(f"{name} is no picture; pictures are *.jpg and *.png")
    reader = JpegImageFile if kind == "JPEG" else PngImageFile
    try:
        image = reader(io.BytesIO(content))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise StgcmaError(f"{name} is not a {kind} picture: {_line(error)}") from None
    if max(image.size) > MOST_PICTURE_SIDE:
        width, height = image.size
        raise StgcmaError(f"{name} is {width}×{height}, larger than {MOST_PICTURE_SIDE} pixels a side")
    if image.mode not in _MODES[kind]:
        raise StgcmaError(f"{name} is {kind} {image.mode}, expected {kind} {' or '.join(_MODES[kind])}")
    return image


def decode_picture(content: bytes, name: str) -> Any:
    """Return the picture member `name` as a decoded Pillow image. Raises as `open_picture`, or on damage."""
    image = open_picture(content, name)
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise StgcmaError(f"{name} is damaged: {_line(error)}") from None
    return image


def read_mask(content: bytes, name: str) -> npt.NDArray[np.bool_]:
    """Return the mask member `name`: bool `[224, 224]`, true for sounding pixels."""
    import numpy as np

    mask = decode_picture(content, name)
    if mask.size != (MASK_PIXELS, MASK_PIXELS):
        raise StgcmaError(f"{name} is {mask.width}×{mask.height}, expected {MASK_PIXELS}×{MASK_PIXELS}")
    pixels: npt.NDArray[np.bool_] = np.asarray(mask.convert("L")) > 127
    return pixels


def read_class_map(content: bytes, name: str, classes: int) -> npt.NDArray[np.uint8]:
    """Return the mask member `name` of class indices: uint8 `[224, 224]`, each below `classes`."""
    import numpy as np

    mask = decode_picture(content, name)
    if mask.size != (MASK_PIXELS, MASK_PIXELS) or mask.mode != "L":
        wanted = f"L {MASK_PIXELS}×{MASK_PIXELS}"
        raise StgcmaError(f"{name} is {mask.mode} {mask.width}×{mask.height}, expected {wanted}")
    indices: npt.NDArray[np.uint8] = np.array(mask)
    if indices.max() >= classes:
        raise StgcmaError(f"{name} has the class {indices.max()}, expected 0 to {classes - 1}")
    return indices


def read_lengths(description: bytes, most: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers that the member `KEY.json` states, such as `frames`, else those of `most`.

    Raises StgcmaError for one that is no integer from 1 to that of `most`.
    """
    return lengths_of(read_description(description), most)


def lengths_of(content: Mapping[str, Any], most: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers in the content of `KEY.json`, as `read_lengths`."""
    lengths = {}
    for field, limit in most.items():
        count = content.get(field, limit)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= limit:
            raise StgcmaError(f"json has {field} {str(count)[:40]!r}, expected 1 to {limit}")
        lengths[field] = count
    return lengths


def read_annotated(description: bytes, frames: int) -> tuple[int, ...] | None:
    """Return the numbers of the frames with masks that the member `KEY.json` states; None when it does not.

    Raises StgcmaError unless they are ascending integers from 0 to below `frames`, at least one.
    """
    return annotated_of(read_description(description), frames)


def annotated_of(content: Mapping[str, Any], frames: int) -> tuple[int, ...] | None:
    """Return the numbers in the content of `KEY.json`, as `read_annotated`."""
    numbers = content.get("annotated")
    if numbers is None:
        return None
    whole = isinstance(numbers, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
    if (
        not whole
        or not numbers
        or sorted(set(numbers)) != numbers
        or not 0 <= numbers[0] <= numbers[-1] < frames
    ):
        raise StgcmaError(f"json has annotated {str(numbers)[:40]!r}, expected frames from 0 to {frames - 1}")
    return tuple(numbers)


def read_array(content: bytes, name: str) -> npt.NDArray[Any]:
    """Return the array member `name` (`*.npy`), of numbers or booleans.

    Raises StgcmaError when its header is not as NumPy writes it, or its shape is not that of its bytes.
    """
    import numpy as np

    header = _ARRAY.match(content[:_MOST_HEADER_BYTES])
    if header is None or int.from_bytes(content[8:10], "little") != header.end() - 10:
        raise StgcmaError(f"{name} is not an array of numbers as NumPy writes it")
    try:
        dtype = np.dtype(header[1].decode())
    except TypeError:
        raise StgcmaError(
            f"{name} is an array of {header[1].decode()}, which is no type of numbers"
        ) from None
    shape = tuple(int(size) for size in header[3].replace(b" ", b"").split(b",") if size)
    claimed, there = math.prod(shape) * dtype.itemsize, len(content) - header.end()
    if len(shape) > 4 or claimed != there:
        raise StgcmaError(f"{name} claims to be {dtype} {list(shape)}, it holds {there} bytes of data")
    data = bytearray(content)
    if header[2] == b"True":
        return np.ndarray(shape, dtype, data, header.end(), order="F")
    return np.ndarray(shape, dtype, data, header.end())


def all_finite(array: npt.NDArray[np.float16]) -> bool:
    """Tell whether all values are finite, by their exponents: NumPy takes 20 times as long."""
    import numpy as np

    exponents: npt.NDArray[np.uint16] = array.view(np.uint16) & np.uint16(_EXPONENT_BITS)
    return not array.size or int(exponents.max()) < _EXPONENT_BITS


def read_energies(members: dict[str, bytes], fbank: str) -> npt.NDArray[np.float16]:
    """Return the member `fbank` (`fbank_128`): log-mel energies `[K, frames, mel bins]`.

    Raises StgcmaError when it is missing or no float16 array of that shape.
    """
    import numpy as np

    name = f"{fbank}.npy"
    energies = read_array(member(members, name), name)
    bins = int(fbank.rpartition("_")[2])
    whole = energies.ndim == 3 and energies.shape[2] == bins and energies.size
    if energies.dtype != np.float16 or not whole or energies.shape[0] > MOST_FRAMES:
        wanted = f"float16 [1 to {MOST_FRAMES} windows, frames, {bins}]"
        raise StgcmaError(f"{name} is {energies.dtype} {list(energies.shape)}, expected {wanted}")
    return energies


def read_labels(content: bytes, name: str = "label.npy") -> list[int]:
    """Return the class of every second from the member `label.npy`.

    Raises StgcmaError when it is no list of integers.
    """
    labels = read_array(content, name)
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or len(labels) > _MOST_SECONDS:
        raise StgcmaError(f"{name} is {labels.dtype} {list(labels.shape)}, expected integers [seconds]")
    numbers: list[int] = labels.tolist()
    return numbers


def read_tags(content: bytes, *, classes: int, name: str = "tags.npy") -> npt.NDArray[np.uint8]:
    """Return the classes of a clip from the member `tags.npy`: uint8 `[classes]`, 1 where a class occurs.

    Raises StgcmaError for another shape or value.
    """
    return _read_flags(content, name, (classes,))


def read_events(
    content: bytes, *, seconds: int, classes: int, name: str = "events.npy"
) -> npt.NDArray[np.uint8]:
    """Return the events of every second from the member `events.npy`: uint8 `[2, seconds, classes]`.

    Index 0 are audible events, 1 visible ones; 1 where a class occurs in a second. Raises StgcmaError for
    another shape or value.
    """
    return _read_flags(content, name, (2, seconds, classes))


def _read_flags(content: bytes, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    flags = read_array(content, name)
    if fault := flags_fault(flags, shape):
        raise StgcmaError(f"{name} {fault}")
    return flags


def flags_fault(flags: npt.NDArray[Any], shape: tuple[int, ...]) -> str | None:
    """Return the fault of an array that should be uint8 of `shape` with the values 0 and 1."""
    if flags.dtype.str != "|u1" or flags.shape != shape:
        return f"is {flags.dtype} {list(flags.shape)}, expected uint8 {list(shape)}"
    if flags.size and flags.max() > 1:
        return f"has the value {flags.max()}, expected 0 and 1 only"
    return None


def read_description(content: bytes, name: str = "json") -> dict[str, Any]:
    """Return the member `KEY.json`: the clip's fields of the manifest and those of the task."""
    return parse_object(content, where=name)


def read_questions(
    content: bytes, name: str = "qa.json", *, types: Collection[str] | None = None
) -> list[Question]:
    """Return the questions about a clip from the member `qa.json`.

    Raises StgcmaError when it is no list of questions, naming the field at fault, and when `types` is given
    (see `question_types` of the schema) and lacks the type of a question.
    """
    records = parse_json(content, where=name)
    if not isinstance(records, list) or len(records) > _MOST_QUESTIONS:
        raise StgcmaError(f"{name} is not a list of at most {_MOST_QUESTIONS} questions")
    for number, record in enumerate(records):
        if fault := _question_fault(record) or _type_fault(record, types):
            raise StgcmaError(f"{name}: question {number} {fault}")
    return cast("list[Question]", records)


def _question_fault(record: Any) -> str | None:
    if not isinstance(record, dict):
        return f"is a {type(record).__name__}, expected an object"
    for field in ("template", "answer"):
        if not isinstance(record.get(field), str):
            return f"has no text as its {field}"
    for field in ("words", "type"):
        value = record.get(field)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            return f"has no list of texts as its {field}"
    if not isinstance(record.get("question_id"), int | str):
        return "has no number or text as its question_id"
    return None


def _type_fault(record: Any, types: Collection[str] | None) -> str | None:
    name = type_name(record)
    if types is None or name in types:
        return None
    return f"has the type {name[:80]!r}, which is none of the collection's"


def type_name(asked: Question) -> str:
    """Return the name of a question's type, such as `Audio-Visual Counting`."""
    return " ".join(asked["type"])


def question_text(asked: Question) -> str:
    """Return the text of a question."""
    return " ".join(asked["words"]).rstrip() + "?"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
