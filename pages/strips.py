"""A clip from left to right: its frames, its spectrogram, its masks, and what is said of every second."""

from __future__ import annotations

import base64
import io
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import StgcmaError
from ..figures import class_hue, join_frames, spectrogram
from ..shards.members import member, open_frames, read_description, read_energies, read_mask
from ..shards.schema import DatasetInfo

_FBANK = re.compile(r"(fbank_([0-9]{1,6}))\.npy")


@dataclass(frozen=True)
class Segment:
    """Seconds in a row with the same class.

    Attributes:
        hue: a colour in degrees; None for background, which has none.
        wrong: whether it is a prediction that is not true.
    """

    name: str
    seconds: int
    hue: int | None
    wrong: bool = False


@dataclass(frozen=True)
class Row:
    """One row of a strip: a picture over its whole width, or segments, or a cell for every column."""

    heading: str
    image: str = ""
    alt: str = ""
    segments: tuple[Segment, ...] = ()
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Strip:
    """A clip's rows over its columns, which are the frames; `timed` when each stands for a second."""

    columns: int
    timed: bool
    rows: tuple[Row, ...]


def clip_strip(members: dict[str, bytes], info: DatasetInfo, rows: Sequence[Row]) -> Strip:
    """The rows of a clip. Frames that are spread over it are its seconds only if it has as many."""
    columns = count_frames(members)
    a_second_each = info.features["sampling"].get("frame_times") == "masks"
    timed = a_second_each or _seconds(members) == columns
    return Strip(columns, timed, tuple(rows))


def _seconds(members: dict[str, bytes]) -> int | None:
    """The clip's whole seconds; None when its description has none."""
    seconds = read_description(member(members, "json")).get("seconds")
    return round(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else None


def frames_row(key: str, members: dict[str, bytes]) -> Row:
    """What is seen."""
    return Row(
        "seen", _data_url(join_frames(open_frames(members))), f"{count_frames(members)} frames of {key}"
    )


def sound_row(key: str, members: dict[str, bytes], fbank: str | None = None) -> Row:
    """What is heard; of several fbanks the one that is named, else the one with the most bins."""
    fbanks = [match for name in members if (match := _FBANK.fullmatch(name))]
    if fbank is None and not fbanks:
        raise StgcmaError("fbank_*.npy is missing")
    name = fbank or max(fbanks, key=lambda match: int(match[2]))[1]
    return Row("heard", _data_url(spectrogram(read_energies(members, name))), f"Log-mel spectrogram of {key}")


def masks_row(
    heading: str, members: dict[str, bytes], masks: Iterable[npt.NDArray[np.bool_] | None], alt: str
) -> Row:
    """The frames with the pixels of their masks coloured; a frame whose mask is None is left as it is."""
    return Row(heading, _data_url(join_frames(open_frames(members), masks)), alt)


def true_masks(members: dict[str, bytes]) -> list[npt.NDArray[np.bool_] | None]:
    """The masks among the members, one a frame, None where there is none."""
    names = [f"mask_{number:02d}.png" for number in range(count_frames(members))]
    return [read_mask(members[name], name) if name in members else None for name in names]


def classes_row(
    heading: str, classes: Sequence[int], names: Sequence[str], *, true: Sequence[int] | None = None
) -> Row:
    """The class of every second, equal neighbours joined; with `true`, what differs from it is marked."""
    wrong = (
        [False] * len(classes)
        if true is None
        else [own != is_ for own, is_ in zip(classes, true, strict=True)]
    )
    segments = []
    for (index, is_wrong), run in itertools.groupby(zip(classes, wrong, strict=True)):
        segments.append(Segment(names[index], len(list(run)), _hue(index, len(names)), is_wrong))
    return Row(heading, segments=tuple(segments))


def count_frames(members: dict[str, bytes]) -> int:
    """How many frames a clip has."""
    return sum(name.startswith("frame_") for name in members)


def _hue(index: int, classes: int) -> int | None:
    hue = class_hue(index, classes)
    return None if hue is None else round(hue)


def _data_url(image: Any) -> str:
    """Return a Pillow image as a `data:` URL, so that the page needs no other file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
