"""Rows of a clip in a page: frames, spectrogram, masks, and classes or numbers of every second."""

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
from ..shards.frame_times import FRAME_OFFSETS_SECONDS
from ..shards.members import member, open_frames, read_class_map, read_description, read_energies, read_mask
from ..shards.schema import DatasetInfo

_FBANK = re.compile(r"(fbank_([0-9]{1,6}))\.npy")


@dataclass(frozen=True)
class Segment:
    """Successive seconds of one class.

    Attributes:
        name: of the class.
        seconds: their number.
        hue: the colour of the class in degrees; None for the background.
        wrong: the class is predicted, and another one is true.
    """

    name: str
    seconds: int
    hue: int | None
    wrong: bool = False


@dataclass(frozen=True)
class Row:
    """One row of a strip: a picture over its whole width, or segments, or a cell for every column.

    `image` is a `data:` URL, `alt` its text.
    """

    heading: str
    image: str = ""
    alt: str = ""
    segments: tuple[Segment, ...] = ()
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Strip:
    """The rows of a clip. Each frame has a column; `timed` when each column is a second."""

    columns: int
    timed: bool
    rows: tuple[Row, ...]


def clip_strip(members: dict[str, bytes], info: DatasetInfo, rows: Sequence[Row]) -> Strip:
    """Return the strip of a clip.

    Its columns are seconds when there is a frame for every second, or are as many as the clip has seconds.
    """
    columns = count_frames(members)
    by_second = info.features["sampling"].get("frame_times") in FRAME_OFFSETS_SECONDS
    return Strip(columns, by_second or _seconds(members) == columns, tuple(rows))


def _seconds(members: dict[str, bytes]) -> int | None:
    """Return the clip's length in whole seconds; None when its description has none."""
    seconds = read_description(member(members, "json")).get("seconds")
    return round(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else None


def frames_row(key: str, members: dict[str, bytes]) -> Row:
    """Return the frames as one picture."""
    return Row(
        "seen", _data_url(join_frames(open_frames(members))), f"{count_frames(members)} frames of {key}"
    )


def sound_row(key: str, members: dict[str, bytes], fbank: str | None = None) -> Row:
    """Return the spectrogram of the fbank named `fbank`; None is the one with the most bins.

    Raises StgcmaError when the clip has no fbank.
    """
    fbanks = [match for name in members if (match := _FBANK.fullmatch(name))]
    if fbank is None and not fbanks:
        raise StgcmaError("fbank_*.npy is missing")
    name = fbank or max(fbanks, key=lambda match: int(match[2]))[1]
    return Row("heard", _data_url(spectrogram(read_energies(members, name))), f"Log-mel spectrogram of {key}")


def masks_row(
    heading: str, members: dict[str, bytes], masks: Iterable[npt.NDArray[Any] | None], alt: str
) -> Row:
    """Return the frames with their masks, as `join_frames` draws them.

    Args:
        heading: of the row.
        members: of the clip.
        masks: bool `[H, W]`, or classes of pixels, or None, for each frame.
        alt: text of the picture.
    """
    return Row(heading, _data_url(join_frames(open_frames(members), masks)), alt)


def true_masks(members: dict[str, bytes]) -> list[npt.NDArray[np.bool_] | None]:
    """Return the ground-truth mask of each frame, bool `[H, W]`; None for a frame without one."""
    names = [f"mask_{number:02d}.png" for number in range(count_frames(members))]
    return [read_mask(members[name], name) if name in members else None for name in names]


def true_class_maps(members: dict[str, bytes], classes: int) -> list[npt.NDArray[np.uint8] | None]:
    """Return the true class of every pixel of each frame, uint8 `[H, W]`; None for a frame without a mask."""
    names = [f"mask_{number:02d}.png" for number in range(count_frames(members))]
    return [read_class_map(members[name], name, classes) if name in members else None for name in names]


def class_cells_row(
    heading: str, maps: Sequence[npt.NDArray[Any] | None], names: Sequence[str], *, nothing: str = "nothing"
) -> Row:
    """Return the names of the classes in each frame; `nothing` for the background alone, "" for None."""
    cells = []
    for one in maps:
        found = [] if one is None else [names[index] for index in np.unique(one) if index]
        cells.append("" if one is None else ", ".join(found) or nothing)
    return Row(heading, cells=tuple(cells))


def classes_row(
    heading: str, classes: Sequence[int], names: Sequence[str], *, true: Sequence[int] | None = None
) -> Row:
    """Return the class of every second, with equal neighbours joined.

    Args:
        heading: of the row.
        classes: the class index of every second.
        names: of the classes, the background last.
        true: the true classes, if `classes` are predicted; seconds that differ are marked as wrong.
    """
    wrong = [shown != right for shown, right in zip(classes, classes if true is None else true, strict=True)]
    segments = (
        Segment(names[index], len(list(group)), _hue(index, len(names)), is_wrong)
        for (index, is_wrong), group in itertools.groupby(zip(classes, wrong, strict=True))
    )
    return Row(heading, segments=tuple(segments))


def flags_row(
    heading: str,
    flags: npt.NDArray[np.bool_],
    names: Sequence[str],
    *,
    true: npt.NDArray[np.bool_] | None = None,
) -> Row:
    """Return the classes of every second, of which there may be several, with equal neighbours joined.

    Args:
        heading: of the row.
        flags: bool `[T, C]`.
        names: of the classes, without a background.
        true: the true flags, if `flags` are predicted; seconds that differ are marked as wrong.
    """
    wrong = (flags != (flags if true is None else true)).any(1)
    found = [tuple(np.flatnonzero(second).tolist()) for second in flags]
    segments = []
    for (shown, bad), group in itertools.groupby(zip(found, wrong.tolist(), strict=True)):
        name = " + ".join(names[index] for index in shown) or "–"
        hue = _hue(shown[0], len(names) + 1) if shown else None
        segments.append(Segment(name, len(list(group)), hue, bad))
    return Row(heading, segments=tuple(segments))


def count_frames(members: dict[str, bytes]) -> int:
    """Return the number of a clip's frames."""
    return sum(name.startswith("frame_") for name in members)


def _hue(index: int, classes: int) -> int | None:
    hue = class_hue(index, classes)
    return None if hue is None else round(hue)


def _data_url(image: Any) -> str:
    """Return a Pillow image as a `data:` URL, so that the page needs no other file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
