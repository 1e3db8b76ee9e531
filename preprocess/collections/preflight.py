"""Check of a collection before anything is decoded: the annotations against the files on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...shards.published import ALL
from ...shards.schema import SPLITS
from ...shards.statistics import in_two_splits
from .paths import count_suffixes, folder_names, is_video_name
from .specification import ClipSpecification, Collection

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """Counts of one split, or of all.

    Attributes:
        rows: annotation rows (of MUSIC-AVQA: questions).
        clips: clips to be made of them.
        found: those whose video, or folder of pictures, is there.
        missing: those whose video is not there.
        unusable: those with a problem in the annotations, such as an unsafe id.
        duplicate_keys: clips whose key an earlier clip has.
        expected_rows, expected_clips: counts of the publication; None where it has none.
    """

    rows: int
    clips: int
    found: int
    missing: int
    unusable: int
    duplicate_keys: int
    expected_rows: int | None
    expected_clips: int | None


@dataclass(frozen=True, slots=True)
class Preflight:
    """Result of the check.

    Attributes:
        collection: its name.
        unit: what an annotation row is.
        splits: split, and `all`, to its counts.
        classes, expected_classes: how many there are, and should be; None where that is not known.
        split_classes: split to the number of classes that its clips are of; empty for tasks without.
        untrained: classes of val or test clips that no training clip has, each with its splits.
        unreferenced: videos on disk that no clip uses.
        other_files: suffixes of the files beside them that are no videos, as text; empty when there are none.
        leaks: pairs such as `train and test` to the number of videos that are in both.
        findings: notes of the collection's reader, one line each.
    """

    collection: str
    unit: str
    splits: dict[str, SplitCounts]
    classes: int
    expected_classes: int | None
    split_classes: dict[str, int]
    untrained: dict[str, str]
    unreferenced: int
    other_files: str
    leaks: dict[str, int]
    findings: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield a small table and the findings as text."""
        titles = ("", self.unit, "clips", "published", "found", "missing", "unusable", "duplicate ids")
        table = [titles, *(self._cells(name, row) for name, row in self.splits.items())]
        widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
        yield f"{self.collection}: before decoding"
        for row in table:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            yield "  " + "  ".join(cells)
        leaks = ", ".join(f"{count} in {pair}" for pair, count in self.leaks.items()) or "none"
        if self.classes:
            published = "" if self.expected_classes is None else f" (published: {self.expected_classes})"
            yield f"  classes: {self.classes}{published}"
        if self.split_classes:
            counts = ", ".join(f"{split} {count}" for split, count in self.split_classes.items())
            yield f"  classes by split: {counts}"
        if self.untrained:
            named = [f"{name!r} ({splits})" for name, splits in self.untrained.items()]
            more = ", …" if len(named) > _MOST_NAMED else ""
            yield f"  classes without a training clip: {len(named)}: {', '.join(named[:_MOST_NAMED])}{more}"
        yield f"  videos that no clip uses: {self.unreferenced}; videos in two splits: {leaks}"
        if self.other_files:
            yield f"  files beside the videos that are left out: {self.other_files}"
        for finding in self.findings:
            yield f"  {finding}"

    @staticmethod
    def _cells(name: str, row: SplitCounts) -> tuple[str, ...]:
        published = "–" if row.expected_clips is None else f"{row.expected_clips:,}"
        if row.expected_rows is not None:
            published += f" ({row.expected_rows:,})"
        counts = (row.found, row.missing, row.unusable, row.duplicate_keys)
        return name, f"{row.rows:,}", f"{row.clips:,}", published, *(f"{count:,}" for count in counts)


def inspect(collection: Collection, raw: Path, *, allow_links: bool = False) -> Preflight:
    """Compare the clips with the files under `raw`. Every folder is listed once; no file is opened.

    Links out of `raw` are followed only with `allow_links`.
    """
    disk = _Disk(raw, allow_links=allow_links)
    clips: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    sources: dict[str, set[str]] = {split: set() for split in SPLITS}
    keys: set[str] = set()
    classes: dict[str, dict[str, None]] = {split: {} for split in SPLITS}
    for clip in collection.clips:
        classes[clip.split] |= dict.fromkeys(_categories(clip))
        count = clips[clip.split]
        count["clips"] += 1
        count["duplicate_keys"] += clip.key in keys
        keys.add(clip.key)
        if clip.problem is not None:
            count["unusable"] += 1
            continue
        count["found" if disk.has(clip) else "missing"] += 1
        sources[clip.split].add(clip.source)
    for split, count in clips.items():
        count["rows"] = collection.rows.get(split, count["clips"])
    total = sum(clips.values(), Counter())
    used = set().union(*sources.values())
    published = collection.published
    return Preflight(
        collection=collection.name,
        unit=published.unit if published else "rows",
        splits={name: _counts(collection, name, count) for name, count in [*clips.items(), (ALL, total)]},
        classes=len(collection.classes),
        expected_classes=published.classes if published else None,
        split_classes={split: len(names) for split, names in classes.items() if any(classes.values())},
        untrained=_untrained(classes),
        unreferenced=sum(video not in used for video in disk.videos(collection.media_folders)),
        other_files=disk.other_suffixes(collection.media_folders, set(collection.annotation_files)),
        leaks={f"{one} and {other}": len(both) for (one, other), both in in_two_splits(sources).items()},
        findings=collection.findings,
    )


def _categories(clip: ClipSpecification) -> list[str]:
    """Return the classes of a clip: its `category`, or its `categories` where it may have several."""
    several: list[str] | None = clip.fields.get("categories")
    if several is not None:
        return several
    category = clip.fields.get("category")
    return [category] if category else []


def _untrained(classes: dict[str, dict[str, None]]) -> dict[str, str]:
    """Return the classes of val or test clips that no training clip has, each with these splits as text."""
    splits: dict[str, list[str]] = {}
    for split, names in classes.items():
        for name in names:
            splits.setdefault(name, []).append(split)
    return {name: " and ".join(found) for name, found in splits.items() if "train" not in found}


def _counts(collection: Collection, name: str, count: Counter[str]) -> SplitCounts:
    published = collection.published
    return SplitCounts(
        rows=count["rows"],
        clips=count["clips"],
        found=count["found"],
        missing=count["missing"],
        unusable=count["unusable"],
        duplicate_keys=count["duplicate_keys"],
        expected_rows=published.rows_of(name) if published else None,
        expected_clips=published.clips_of(name) if published else None,
    )


class _Disk:
    """Names in folders, each listed at most once."""

    def __init__(self, raw: Path, *, allow_links: bool) -> None:
        self._raw = raw
        self._allow_links = allow_links
        self._listed: dict[tuple[str, bool], set[str]] = {}

    def has(self, clip: ClipSpecification) -> bool:
        """Tell whether the clip's video, or its folder of pictures, exists."""
        folder, _, name = clip.source.rpartition("/")
        return name in self._names(folder, folders=bool(clip.pictures))

    def videos(self, folders: tuple[str, ...]) -> Iterator[str]:
        """Yield the paths of all videos in `folders`, relative to the raw folder."""
        for folder in folders:
            for name in self._names(folder, folders=False):
                if is_video_name(name):
                    yield f"{folder}/{name}" if folder else name

    def other_suffixes(self, folders: tuple[str, ...], used: set[str]) -> str:
        """Return the counted suffixes of files in `folders`, but RAW, that are no videos nor `used`."""
        names = (
            name
            for folder in folders
            if folder
            for name in self._names(folder, folders=False)
            if f"{folder}/{name}" not in used
        )
        return count_suffixes([name for name in names if not is_video_name(name) and name[0] != "."])

    def _names(self, folder: str, *, folders: bool) -> set[str]:
        if (folder, folders) not in self._listed:
            self._listed[folder, folders] = folder_names(
                self._raw, folder, folders=folders, allow_links=self._allow_links, linked=False
            )
        return self._listed[folder, folders]
