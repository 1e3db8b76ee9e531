"""One's own clips with a table of their labels: RAW/labels.csv (or labels.tsv), videos anywhere under RAW.

The column `file` names a video, relative to RAW. Then there is either a column `label`, one class for every
clip, or a column `labels`, any number of classes for a clip: in one cell, or in several rows of one file. A
column `split` is optional: without it clips are divided by a hash of their paths, and so are the training
clips of each class when no row is for val.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from ...shards.schema import SPLITS
from .ave import SAMPLING
from .clip_labels import LabelSets
from .clip_list import ClipList
from .divisions import divided, path_key, val_share, without_clips
from .named_videos import NamedVideos
from .names import check_twins, class_key, class_name, read_split
from .paths import annotation_file, printable
from .specification import Collection, CollectionEntry, clip_values
from .tables import Table, TableRow, read_table
from .text_files import check_utf8

ANNOTATIONS = ("labels.csv", "labels.tsv")
SEPARATORS = "|;,"
"""Between the labels of a cell: the first of these that any cell of the table holds."""

_COLUMNS = {
    "file": ("file", "filename", "file_name", "fname", "path", "video"),
    "label": ("label", "class", "category"),
    "labels": ("labels", "tags", "classes", "categories"),
    "split": ("split",),
}
_HINT = "write a table with the columns file and label, one row for each clip"
# Every clip stores a byte for each class.
_MOST_CLASSES = 10_000
_MOST_KNOWN = 4096  # different labels and splits of rows


class _Entry(NamedTuple):
    """A row, or several rows of one file: the first row's line, the labels, and the split or ""."""

    line: int
    labels: tuple[str, ...]
    split: str


@dataclass
class _Entries:
    """Entries by source, in columns: a million entries as objects take 200 MB more."""

    lines: array[int] = field(default_factory=lambda: array("L"))
    labels: list[tuple[str, ...]] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def get(self, source: str) -> _Entry | None:
        """Return the entry of a source."""
        place = self.places.get(source)
        return None if place is None else _Entry(self.lines[place], self.labels[place], self.splits[place])

    def add(self, source: str, entry: _Entry) -> None:
        """Add the entry of a source that has none."""
        self.places[source] = len(self.labels)
        self.lines.append(entry.line)
        self.labels.append(entry.labels)
        self.splits.append(entry.split)

    def replace(self, source: str, labels: tuple[str, ...]) -> None:
        """Replace the labels of a source."""
        self.labels[self.places[source]] = labels

    def __len__(self) -> int:
        return len(self.labels)


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the table under `raw`. Raises InputError naming the file and line at fault."""
    path = annotation_file(raw, _annotation_file(raw), allow_links=allow_links)
    table = read_table(path, columns=_COLUMNS, optional=("label", "labels", "split"), hint=_HINT)
    several = _is_several(table)
    reader = _Reader(table, several, NamedVideos(raw, allow_links=allow_links))
    entries = reader.read()
    if not entries:
        raise InputError(f"{path} holds no rows below its header")
    splits, findings = _splits(entries, path, several=several)
    if not reader.classes:
        raise InputError(f"{path}: no row has a label")
    classes = tuple(sorted(reader.classes))
    sets = LabelSets(classes)
    folders = {source.rpartition("/")[0] for source in entries.places}
    findings = [*reader.findings(entries), *findings]
    del reader, table  # the text and the names of all files
    clips = ClipList.of_values(_specify(entries, splits, sets, several=several))
    return Collection(
        name="labels",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=classes,
        clips=clips,
        findings=(*findings, *without_clips("clip", splits)),
        media_folders=tuple(sorted(folders)),
        features={"labels_per_clip": "several" if several else "one"},
    )


def _specify(
    entries: _Entries, splits: Sequence[str], sets: LabelSets, *, several: bool
) -> Iterator[tuple[Any, ...]]:
    """Yield the clips, as their fields, in the order of split and source."""
    places = entries.places
    for split in SPLITS:
        for source in sorted(source for source, place in places.items() if splits[place] == split):
            labels = entries.labels[places[source]]
            yield clip_values(
                key=path_key(source),
                split=split,
                source=source,
                fields=sets.fields(labels, several=several),
                members=sets.members(labels),
            )


COLLECTION = CollectionEntry(
    read=read,
    task="avc",
    summary="RAW/labels.csv with the columns file and label (or labels), and the videos",
)


def _annotation_file(raw: Path) -> Path:
    found = [raw / name for name in ANNOTATIONS if (raw / name).is_file()]
    if len(found) > 1:
        raise InputError(f"{raw} holds {' and '.join(ANNOTATIONS)}; keep one of them")
    return found[0] if found else raw / ANNOTATIONS[0]


def _is_several(table: Table) -> bool:
    """Return whether the table has the column `labels`. Raises InputError unless it has one of the two."""
    found = [column for column in ("label", "labels") if table.has(column)]
    if len(found) != 1:
        said = "both the columns label and labels" if found else "neither a column label nor a column labels"
        raise InputError(
            f"{table.path}: the header has {said}; give one label per clip in label, or any number in labels"
        )
    return found == ["labels"]


@dataclass
class _Reader:
    """Reads the rows of a table.

    Attributes:
        several: a clip has any number of labels.
        separator: between the labels of a cell.
        classes: name to the row that has it first.
    """

    table: Table
    several: bool
    videos: NamedVideos
    separator: str = ""
    classes: dict[str, str] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    _alone: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self) -> _Entries:
        """Return the labels and the split of every file, in the order of the first rows."""
        if self.several:
            self.separator = _separator(self.table)
        entries = _Entries()
        known: dict[tuple[str, ...], tuple[tuple[str, ...], str]] = {}  # of the cells but the first
        for line, cells in self.table.cells():
            row = self.table.row(line, cells)
            if cells[1:] not in known:
                if len(known) == _MOST_KNOWN:
                    known.clear()
                known[cells[1:]] = self._labels(row), _split(row)
            labels, split = known[cells[1:]]
            source = self.videos.known(cells[0]) or self.videos.find(cells[0], row.where)
            if source is None:
                continue
            before = entries.get(source)
            if before is None:
                entries.add(source, _Entry(line, labels, split))
            else:
                entries.replace(source, self._joined(source, row, labels, split, before))
        self.videos.check_all_found()
        return entries

    def _labels(self, row: TableRow) -> tuple[str, ...]:
        if not self.several:
            text = row["label"]
            if not text:
                raise InputError(f"{row.where}: the label is empty")
            if odd := next((sign for sign in "|;" if sign in text), None):
                raise InputError(
                    f"{row.where}: label {printable(text)!r} holds {odd!r}; call the column labels "
                    "if clips have several, and otherwise give the class another name"
                )
            name = self._class(text, row)
            return self._alone.setdefault(name, (name,))
        if not row["labels"]:
            return ()
        cell = row["labels"].removesuffix(self.separator)  # as some write lists
        names = [self._class(text.strip(), row) for text in cell.split(self.separator)]
        _check_repeated(names, row)
        return tuple(names)

    def _class(self, text: str, row: TableRow) -> str:
        name = sys.intern(printable(class_name(check_utf8(text, row.where, "label"))))
        if not name:
            raise InputError(f"{row.where}: labels {printable(row['labels'])!r} hold an empty one")
        if name not in self.classes:
            twin = self._keys.setdefault(class_key(name), name)
            check_twins((twin, name), row.where)
            self.classes[name] = row.where
            if len(self.classes) > _MOST_CLASSES:
                raise InputError(
                    f"{row.where}: over {_MOST_CLASSES:,} different labels; is this the column of classes?"
                )
        return name

    def _joined(
        self, source: str, row: TableRow, labels: tuple[str, ...], split: str, before: _Entry
    ) -> tuple[str, ...]:
        """Return the labels of a file that an earlier row names as well."""
        if not self.several:
            raise InputError(
                f"{row.where}: {source} is in line {before.line} already; "
                "call the column labels if clips have several"
            )
        if split != before.split:
            raise InputError(f"{row.where}: {source} is in another split in line {before.line}")
        if not labels or not before.labels:
            raise InputError(f"{row.where}: {source} is in line {before.line} already, and one has no label")
        together = (*before.labels, *labels)
        _check_repeated(together, row)
        return together

    def findings(self, entries: _Entries) -> Iterator[str]:
        """Yield notes for the user."""
        if self.table.unused:
            yield f"columns that are not used: {', '.join(self.table.unused)}"
        if self.several:
            counts = Counter(map(len, entries.labels))
            said = ", ".join(f"{count:,} with {number}" for number, count in sorted(counts.items()))
            yield f"labels are separated by {self.separator!r}; clips by their number of labels: {said}"


def _separator(table: Table) -> str:
    """Return the separator of labels. Raises InputError for a table with `|` and with `;`."""
    first: dict[str, str] = {}
    for row in table:
        for sign in SEPARATORS:
            if sign not in first and sign in row["labels"]:
                first[sign] = row.where
    if "|" in first and ";" in first:
        raise InputError(
            f"{first[';']}: labels are separated by ';', but by '|' in {first['|']}; use one of them"
        )
    return next((sign for sign in SEPARATORS if sign in first), SEPARATORS[-1])


def _check_repeated(names: Sequence[str], row: TableRow) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{row.where}: the label {repeated[0]!r} is given twice for {row['file']}")


def _split(row: TableRow) -> str:
    return read_split(row["split"], row.where) if row["split"] else ""


def _splits(entries: _Entries, path: Path, *, several: bool) -> tuple[list[str], list[str]]:
    """Return the split of every file, in the order of the entries, and notes for the user."""
    named = set(entries.splits)
    if "" in named and len(named) > 1:
        line = entries.lines[entries.splits.index("")]
        raise InputError(f"{path}:{line}: split is empty, but other rows have one; give it to all or none")
    if "val" in named:
        return entries.splits, []
    splits = list(entries.splits)
    groups: dict[tuple[str, ...], list[str]] = {}
    for source, place in entries.places.items():
        if splits[place] in ("", "train"):
            groups.setdefault(() if several else entries.labels[place], []).append(source)
    if named == {""}:
        for labels in sorted(groups):
            for source, split in divided(groups[labels]):
                splits[entries.places[source]] = split
        return splits, []
    moved = val_share([groups[labels] for labels in sorted(groups)])
    for source in moved:
        splits[entries.places[source]] = "val"
    return splits, [f"no row has the split val: {len(moved):,} training clips are used as val"]
