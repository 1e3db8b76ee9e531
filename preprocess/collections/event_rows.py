"""Annotated events, as tables and label tracks give them, and the faults of their rows."""

from __future__ import annotations

import operator
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, NoReturn, overload

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from .names import class_key, class_name
from .paths import printable
from .text_files import check_utf8

AUDIBLE, VISIBLE = "audible", "visible"
MODALITIES = {
    AUDIBLE: (AUDIBLE,),
    VISIBLE: (VISIBLE,),
    "both": (AUDIBLE, VISIBLE),
}
"""Value of the column `modality` to the modalities that it names."""
_SYNONYMS = {
    AUDIBLE: ("audible", "audio", "a", "sound", "heard"),
    VISIBLE: ("visible", "visual", "v", "video", "seen"),
    "both": ("", "both", "av", "va", "a+v", "audio-visual", "audiovisual", "audio+visual", "audible+visible"),
}
_MODALITY_OF = {spelling: name for name, spellings in _SYNONYMS.items() for spelling in spellings}
# `dog [visible]`: the modality of an event in a label track, which has no column for it.
_TAGGED = re.compile(r"(.*?)\s*\[([^\[\]]*)\]")
_CLOCK = re.compile(r"(?:(\d{1,3}):)?([0-5]?\d):([0-5]?\d(?:[.,]\d*)?)")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d{1,3})?")
_MOST_NAMED = 8
_MOST_SECONDS = 1_000_000_000
_MOST_PLAIN = 9  # characters of a time that is surely below it


class EventRow(NamedTuple):
    """One annotated event.

    Attributes:
        where: `FILE:LINE`, for messages.
        onset, offset: in seconds from the beginning of the recording; equal for a point in time.
        label: its class.
        modality: a key of `MODALITIES`.
    """

    where: str
    onset: float
    offset: float
    label: str
    modality: str = "both"

    @property
    def is_point(self) -> bool:
        """True for an event without a length."""
        return self.onset == self.offset


class EventList(Sequence[EventRow]):
    """The events of a recording, in the order of their rows: in columns, since there may be a million."""

    __slots__ = ("_files", "_labels", "_lines", "_modalities", "_times")

    def __init__(self) -> None:
        self._files: list[str] = []
        self._lines = array("L")
        self._times = array("d")
        self._labels: list[str] = []
        self._modalities: list[str] = []

    def append(self, row: EventRow) -> None:
        """Add an event at the end."""
        where, onset, offset, label, modality = row
        file, _, line = where.rpartition(":")
        self.add(sys.intern(file), int(line), onset, offset, label, modality)

    def add(self, file: str, line: int, onset: float, offset: float, label: str, modality: str) -> None:
        """Add an event at the end; `file` and `line` are the parts of its `where`."""
        self._files.append(file)
        self._lines.append(line)
        self._times.append(onset)
        self._times.append(offset)
        self._labels.append(sys.intern(label))
        self._modalities.append(modality)

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[EventRow]:
        where = (f"{file}:{line}" for file, line in zip(self._files, self._lines, strict=True))
        times = self._times
        return map(EventRow, where, times[::2], times[1::2], self._labels, self._modalities)

    @overload
    def __getitem__(self, index: int) -> EventRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[EventRow]: ...
    def __getitem__(self, index: int | slice) -> EventRow | Sequence[EventRow]:
        return list(self)[index]

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Onset and offset of each event, in seconds: `[events, 2]`."""
        return np.array(self._times, dtype=np.float64).reshape(-1, 2)

    @property
    def labels(self) -> Sequence[str]:
        """The class of each event."""
        return self._labels

    @property
    def modalities(self) -> Sequence[str]:
        """The modality of each event."""
        return self._modalities

    @property
    def latest(self) -> float:
        """The latest onset or offset; 0 without events."""
        return max(self._times, default=0.0)

    @property
    def has_modality(self) -> bool:
        """True when an event is of one modality alone."""
        return any(each != "both" for each in self._modalities)

    @property
    def points(self) -> int:
        """Number of events without a length."""
        return sum(map(operator.eq, self._times[::2], self._times[1::2]))


@dataclass
class Faults:
    """The rows that cannot be used, one message each, which begins with `FILE:LINE`."""

    messages: list[str] = field(default_factory=list)

    def add(self, where: str, fault: str) -> None:
        """Note the fault of the row at `where`."""
        self.messages.append(f"{where}: {fault}")

    def check(self) -> None:
        """Raise InputError with the first fault, and the lines of the others, when there are any."""
        if not self.messages:
            return
        first, *others = self.messages
        if not others:
            raise InputError(first)
        lines = [message.partition(": ")[0] for message in others[:_MOST_NAMED]]
        more = ", …" if len(others) > _MOST_NAMED else ""
        raise InputError(f"{first}; {len(others)} more rows are at fault: {', '.join(lines)}{more}")


def read_seconds(text: str, what: str) -> float:
    """Return a time as seconds: `83.5`, `83,5`, `1:23.5` or `0:01:23.5`.

    Raises InputError for other text, for a time below 0 and for one of 30 years.
    """
    text = text.strip()
    if text.replace(".", "", 1).isdecimal() and len(text) <= _MOST_PLAIN:
        return float(text)
    if ":" in text and (clock := _CLOCK.fullmatch(text)):
        hours, minutes, seconds = clock.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
    if not _NUMBER.fullmatch(text):
        raise InputError(f"{what} is {printable(text)!r}, expected seconds such as 83.5, or 1:23.5")
    value = float(text.replace(",", "."))
    if value < 0:
        raise InputError(f"{what} is {printable(text)!r}, it must be 0 or later")
    if value >= _MOST_SECONDS:
        raise InputError(f"{what} is {printable(text)!r}, it must be below {_MOST_SECONDS:,} seconds")
    return value


@lru_cache(maxsize=1024)
def read_modality(text: str) -> str:
    """Return the key of `MODALITIES` that `text` names. Raises InputError for another text."""
    found = _MODALITY_OF.get(re.sub(r"\s", "", text.casefold()).replace("&", "+").replace("/", "+"))
    if found is None:
        raise InputError(f"modality is {printable(text)!r}, must be one of {', '.join(MODALITIES)}")
    return found


def read_label(text: str, where: str) -> str:
    """Return the name of a class in one form. Raises InputError for an empty one and for another encoding."""
    if not text.strip().strip('"'):
        raise InputError("the label is empty; name the class, or delete the row")
    return printable(class_name(check_utf8(text, where, "label")))


def split_tag(text: str) -> tuple[str, str]:
    """Return a label without `[audible]`, `[visible]` or `[both]` at its end, and the modality.

    Other brackets belong to the label.
    """
    if (tagged := _TAGGED.fullmatch(text)) and tagged[2].strip():
        try:
            return tagged[1], read_modality(tagged[2])
        except InputError:
            pass
    return text, "both"


def tagged(label: str, modality: str) -> str:
    """Return the label as a label track has it, so that `split_tag` returns both."""
    return label if modality == "both" else f"{label} [{modality}]"


def check_times(onset: float, offset: float) -> None:
    """Raise InputError when an event ends before it begins."""
    if offset < onset:
        raise InputError(f"offset {offset:g} is before onset {onset:g}")


def check_labels(recordings: Iterable[EventList], background: str) -> tuple[str, ...]:
    """Return the names of all classes in the events of `recordings`, sorted.

    Raises InputError naming both rows when two names differ only in case, blanks or Unicode form, or when one
    is that of `background`.
    """
    first: dict[str, EventRow] = {}
    known: set[str] = set()
    for row in (row for rows in recordings if not known.issuperset(rows.labels) for row in rows):
        if row.label in known:
            continue
        known.add(row.label)
        key = class_key(row.label)
        if key == class_key(background):
            _refuse(
                row,
                f"the label {row.label!r} is the name for seconds without an event; delete or rename it",
            )
        twin = first.setdefault(key, row)
        if twin.label != row.label:
            _refuse(
                row,
                f"the label {row.label!r} and {twin.label!r} ({twin.where}) differ only in case, blanks or "
                "Unicode form; give them one name",
            )
    return tuple(sorted(known))


def _refuse(row: EventRow, fault: str) -> NoReturn:
    raise InputError(f"{row.where}: {fault}")
