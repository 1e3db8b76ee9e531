"""The AVE collection: 10 s clips with one audio-visual event each, labelled by the second.

Layout: `Annotations.txt` (`Category&VideoID&Quality&StartTime&EndTime`, with or without that header line),
`trainSet.txt`, `valSet.txt`, `testSet.txt` (rows of the same form), `AVE/VideoID.mp4`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError
from ...shards.schema import SPLITS, is_valid_key
from ..specification import ClipSpecification, Collection, Sampling

SECONDS = 10
BACKGROUND = "Background"
SAMPLING = Sampling(frames=10, frame_times="evenly", resize="crop", windows=10, window_seconds=1.0)

_FIELDS = ("category", "video id", "quality", "start second", "end second")


class Annotation(NamedTuple):
    """One row: the event fills the seconds `[start, end)`."""

    category: str
    video: str
    quality: str
    start: int
    end: int


def read(raw: Path) -> Collection:
    """Reads the annotations and splits under `raw`. Raises InputError naming the file and line at fault."""
    annotations = read_rows(raw / "Annotations.txt")
    if not annotations:
        raise InputError(f"{raw / 'Annotations.txt'} holds no annotation rows")
    classes = tuple(dict.fromkeys(row.category for row in annotations))
    keys = _unique_keys(annotations)
    clips: list[ClipSpecification] = []
    for split in SPLITS:
        for row, key in _split_rows(raw / f"{split}Set.txt", annotations, keys):
            clips.append(_specify(row, key, split, classes))
    return Collection(
        name="ave",
        task="ave",
        sampling=SAMPLING,
        classes=(*classes, BACKGROUND),
        clips=tuple(clips),
        findings=tuple(_findings(raw, annotations, clips)),
    )


def read_rows(path: Path) -> list[Annotation]:
    """The rows of an annotation or split file, the header line left out."""
    if not path.is_file():
        raise InputError(
            f"{path} is missing; RAW must be the AVE folder, with {path.name} and AVE/*.mp4 in it"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = line.strip().split("&")
        if len(parts) != len(_FIELDS):
            raise InputError(
                f"{path}:{number}: {len(parts)} fields in {line.strip()!r}, "
                f"expected {len(_FIELDS)}: {', '.join(_FIELDS)}"
            )
        if number == 1 and parts[0].casefold() == "category" and not parts[3].isdecimal():
            continue
        rows.append(_parse(parts, f"{path}:{number}"))
    return rows


def _parse(parts: list[str], where: str) -> Annotation:
    category, video, quality, start, end = parts
    if not (re.fullmatch(r"\d+", start) and re.fullmatch(r"\d+", end)):
        raise InputError(f"{where}: start {start!r} and end {end!r} must be whole seconds")
    if int(start) > int(end) or int(end) > SECONDS:
        raise InputError(f"{where}: seconds {start} to {end} must lie in order within 0 to {SECONDS}")
    return Annotation(category, video, quality, int(start), int(end))


def _unique_keys(annotations: Iterable[Annotation]) -> dict[Annotation, str]:
    """A key for every distinct row: the video id, and `ID_eventN` from a video's second row on."""
    seen: Counter[str] = Counter()
    keys: dict[Annotation, str] = {}
    for row in annotations:
        if row not in keys:
            seen[row.video] += 1
            keys[row] = row.video if seen[row.video] == 1 else f"{row.video}_event{seen[row.video]}"
    return keys


def _split_rows(
    path: Path, annotations: list[Annotation], keys: dict[Annotation, str]
) -> list[tuple[Annotation, str]]:
    rows = read_rows(path)
    by_event = {(row.video, row.category, row.start, row.end): row for row in reversed(annotations)}
    found = []
    for row in rows:
        match = by_event.get((row.video, row.category, row.start, row.end))
        if match is None:
            raise InputError(f"{path}: {'&'.join(map(str, row))} is not a row of Annotations.txt")
        found.append((match, keys[match]))
    return found


def _specify(row: Annotation, key: str, split: str, classes: tuple[str, ...]) -> ClipSpecification:
    background = len(classes)
    event = classes.index(row.category)
    problem = None
    if not is_valid_key(key):
        problem = ("unsafe-path", f"video id {row.video!r} has characters outside A-Z a-z 0-9 _ -")
    return ClipSpecification(
        key=key,
        split=split,
        source=f"AVE/{row.video}.mp4",
        labels=tuple(event if row.start <= second < row.end else background for second in range(SECONDS)),
        fields={"category": row.category, "start_seconds": row.start, "end_seconds": row.end},
        problem=problem,
    )


def _findings(raw: Path, annotations: list[Annotation], clips: list[ClipSpecification]) -> list[str]:
    findings = []
    rows = Counter(row.video for row in annotations)
    if repeated := sum(count > 1 for count in rows.values()):
        findings.append(f"{repeated} videos carry more than one annotation row")
    if empty := sum(row.start == row.end for row in annotations):
        findings.append(f"{empty} events have zero length: their clips are background throughout")
    sources = {split: {clip.source for clip in clips if clip.split == split} for split in SPLITS}
    if leaks := sources["train"] & sources["test"]:
        findings.append(f"{len(leaks)} videos are in train and in test")
    wanted = {Path(clip.source).name for clip in clips}
    if unused := sum(path.name not in wanted for path in (raw / "AVE").glob("*.mp4")):
        findings.append(f"{unused} videos in AVE/ belong to no split")
    return findings
