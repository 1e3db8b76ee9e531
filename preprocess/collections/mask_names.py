"""Names of mask files: the frame or the time that a mask belongs to.

A number of at least four digits is that of a frame, from 0 (`00015.png`); so is any number after `frame`. A
number with a decimal point or comma is a time in seconds (`3.5.png`, `3,5.png`). Other numbers could be both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...errors import InputError
from .paths import printable

_FRAME = re.compile(r"(?:[0-9]{4,9}|frame[_-]?[0-9]{1,9})", re.IGNORECASE)
_SECONDS = re.compile(r"([0-9]{1,6})[.,]([0-9]{1,9})")
_PLAIN = re.compile(r"[0-9]{1,3}")
_SUFFIX = ".png"


@dataclass(frozen=True, slots=True)
class MaskName:
    """One mask file of a video.

    Attributes:
        file: the name of the file.
        number: the number of its frame, from 0; None where the name is a time.
        seconds: the time of its frame; where the name is a number, as the frame rate says.
    """

    file: str
    number: int | None
    seconds: float


def read_names(names: Iterable[str], *, frame_rate: float, where: str) -> tuple[list[MaskName], list[str]]:
    """Return the masks of a video in their order, and the names of files that are not PNG.

    Args:
        names: of the files in the folder of the video.
        frame_rate: frames a second, which turns numbers into times.
        where: the folder, for messages.

    Raises InputError naming the file whose name could be a frame or a time, is neither, or means the same as
    another; and when some names are frames and others times.
    """
    masks, others = [], []
    for name in sorted(names):
        if not name.casefold().endswith(_SUFFIX):
            others.append(name)
            continue
        masks.append(_read(name, frame_rate, where))
    _check_one_kind(masks, where)
    masks.sort(key=lambda mask: (mask.seconds, mask.file))
    for one, other in pairwise(masks):
        if (one.number, one.seconds) == (other.number, other.seconds):
            raise InputError(f"{where}: {one.file} and {other.file} are masks of the same frame; keep one")
    return masks, others


def time_name(seconds: float) -> str:
    """Return the name of the mask of the frame at `seconds`; names sort like times."""
    return f"{seconds:011.4f}{_SUFFIX}"


def _read(name: str, frame_rate: float, where: str) -> MaskName:
    stem = name[: -len(_SUFFIX)]
    if _FRAME.fullmatch(stem):
        number = int(re.sub(r"[^0-9]", "", stem))
        return MaskName(name, number, number / frame_rate)
    if time := _SECONDS.fullmatch(stem):
        return MaskName(name, None, float(f"{time[1]}.{time[2]}"))
    if _PLAIN.fullmatch(stem):
        raise InputError(
            f"{where}/{name} could be frame {int(stem)} or second {int(stem)}: call it {int(stem):05d}.png "
            f"for the frame, {int(stem)}.0.png for the time"
        )
    raise InputError(
        f"{where}/{printable(name)} must be called by the number of its frame, such as 00015.png, or by its "
        "time in seconds, such as 0.5.png"
    )


def _check_one_kind(masks: Sequence[MaskName], where: str) -> None:
    numbered = [mask.file for mask in masks if mask.number is not None]
    timed = [mask.file for mask in masks if mask.number is None]
    if numbered and timed:
        raise InputError(
            f"{where}: {numbered[0]} is called by its frame, {timed[0]} by its time; use one kind"
        )
