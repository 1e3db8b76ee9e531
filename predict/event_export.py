"""Predicted events in the formats that the collection `events` reads, to be corrected and trained on.

`NAME.events.csv` has the columns of DCASE and the confidence; `NAME.labels.txt` is a label track of Audacity.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..preprocess.collections.event_rows import tagged

_BOTH = "both"
_DIGITS = 3


@dataclass(frozen=True)
class ExportedEvent:
    """An event for the files; times in seconds. `modality` is `audible`, `visible` or `both`."""

    start: float
    end: float
    name: str
    confidence: float
    modality: str = _BOTH


def write_events(events: Iterable[ExportedEvent], folder: Path, *, name: str, filename: str) -> None:
    """Write `NAME.events.csv` and `NAME.labels.txt` into `folder`; the table has `filename` in every row."""
    joined = join_modalities(events)
    (folder / f"{name}.events.csv").write_text(event_table(joined, filename), encoding="utf-8")
    (folder / f"{name}.labels.txt").write_text(label_track(joined), encoding="utf-8")


def join_modalities(events: Iterable[ExportedEvent]) -> list[ExportedEvent]:
    """Return the events in order of time; an audible and a visible one with equal times and name are one."""
    found: dict[tuple[float, float, str], ExportedEvent] = {}
    for event in events:
        place = (event.start, event.end, event.name)
        other = found.get(place)
        if other is not None:
            mean = (event.confidence + other.confidence) / 2
            event = ExportedEvent(*place, confidence=mean)
        found[place] = event
    return [found[place] for place in sorted(found)]


def event_table(events: Sequence[ExportedEvent], filename: str) -> str:
    """Return a CSV table; the column `modality` is there where an event has only one.

    Without events it has a row with the file's name alone.
    """
    with_modality = any(event.modality != _BOTH for event in events)
    columns = ["filename", "onset", "offset", "event_label", "confidence"]
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow([*columns, "modality"] if with_modality else columns)
    for event in events:
        times = (f"{event.start:.{_DIGITS}f}", f"{event.end:.{_DIGITS}f}")
        row = [filename, *times, event.name, f"{event.confidence:.{_DIGITS}f}"]
        table.writerow([*row, event.modality] if with_modality else row)
    if not events:
        table.writerow([filename, "", "", "", ""])
    return stream.getvalue()


def label_track(events: Sequence[ExportedEvent]) -> str:
    """Return a label track of Audacity: start, end and label, separated by tabs, a line each."""
    return "".join(
        f"{event.start:.6f}\t{event.end:.6f}\t{tagged(event.name, event.modality)}\n" for event in events
    )
