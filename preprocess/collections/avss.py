"""The AVSS collection (AVSBench-semantic): clips of 5 or 10 s, and masks with the class of what sounds.

Layout: `metadata.csv` (columns `vid`, `uid`, `s_min`, `s_sec`, `a_obj`, `split`, `label`), `label2idx.json`
with the classes, and a folder for each clip, `SUBSET/UID/`, where the subset is its `label`. It holds
`frames/0.jpg` …, one picture a second, `audio.wav`, and `labels_rgb/0.png` …, masks in the colours of the
classes; where there is no such folder, `labels_semantic/0.png` … with classes as pixel values.

Clips of `v1s` and `v1m` have 5 frames, of `v2` 10. All frames have a mask, but of the training clips of `v1s`
only the first one; further ones are used where they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ...bounded import MOST_JSON_BYTES, parse_object, read_file
from ...errors import InputError
from ...shards.published import Published
from .avss_classes import BACKGROUND, CLASSES
from .avss_leaks import ClipSpan, leak_findings, span_of
from .clip_list import values_by_split
from .names import read_split
from .packed import PackedRows
from .path_series import Series
from .paths import Folders, annotation_file, printable, unsafe_name
from .specification import (
    MOST_MASK_CLASSES,
    Collection,
    CollectionEntry,
    Sampling,
    clip_values,
)
from .tables import Table, TableRow, read_table
from .text_files import escaped

SECONDS = 10
SAMPLING = Sampling(
    frames=SECONDS, frame_times="masks", resize="squash", windows=SECONDS, window_seconds=1.95
)
ANNOTATIONS = "metadata.csv"
CLASS_FILE = "label2idx.json"
FRAMES = {"v1s": 5, "v1m": 5, "v2": 10}
"""Frames of a clip by subset."""

# Names of a clip's pictures and masks, by their number.
_PICTURES, _MASKS = (
    tuple(tuple(f"{number}{suffix}" for number in range(count)) for count in range(SECONDS + 1))
    for suffix in (".jpg", ".png")
)
_MOST_KNOWN = 4096  # different rows but for the id
_COLUMNS = {name: (name,) for name in ("uid", "a_obj", "split", "label")}
_MOST_NAMED = 5


class Row(NamedTuple):
    """A clip of the annotation file; `objects` are the parts of its `a_obj`, as written."""

    uid: str
    split: str
    subset: str
    objects: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The clip's folder, relative to RAW."""
        return f"{self.subset}/{self.uid}"

    @property
    def masks(self) -> int:
        """Number of masks as published, from the first frame on."""
        return 1 if (self.subset, self.split) == ("v1s", "train") else FRAMES[self.subset]


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the annotations under `raw`. Raises InputError naming the file and line at fault."""
    path = annotation_file(raw, raw / ANNOTATIONS, allow_links=allow_links)
    rows = read_rows(path)
    classes = read_classes(annotation_file(raw, raw / CLASS_FILE, allow_links=allow_links))
    disk = _Disk(raw, allow_links, classes)
    clips = values_by_split(map(disk.specify, rows))
    return Collection(
        name="avss",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=classes,
        clips=clips,
        findings=(*disk.findings(), *_class_findings(rows, classes), *leak_findings(_Spans(rows))),
        published=COLLECTION.published,
    )


# Counted from the published metadata.csv. Its README and the paper say 12,356 clips.
COLLECTION = CollectionEntry(
    read=read,
    task="avss",
    summary="RAW/metadata.csv, RAW/label2idx.json, RAW/v1s, v1m and v2/UID/frames, labels_rgb, audio.wav",
    published=Published(clips={"train": 8498, "val": 1304, "test": 1554}, classes=len(CLASSES)),
)


def read_rows(path: Path) -> PackedRows[Row]:
    """Read the rows of `metadata.csv`. Raises InputError naming the line at fault."""
    table = read_table(
        path, columns=_COLUMNS, hint=f"RAW must be the AVSBench-semantic folder, with {ANNOTATIONS} in it"
    )
    rows = PackedRows(_parsed(table), make=Row._make)
    if not rows:
        raise InputError(f"{path} holds no rows below its header")
    return rows


def _parsed(table: Table) -> Iterator[Row]:
    known: dict[tuple[str, ...], tuple[str, str, tuple[str, ...]]] = {}  # of the cells but the id
    for line, (uid, *said) in table.cells():
        cells = tuple(said)
        if cells not in known:
            if len(known) == _MOST_KNOWN:
                known.clear()
            known[cells] = _parse(table.row(line, (uid, *said)))
        split, subset, objects = known[cells]
        yield Row(escaped(uid), split, subset, objects)


def _parse(row: TableRow) -> tuple[str, str, tuple[str, ...]]:
    """Return split, subset and objects of a row."""
    split, subset = read_split(row["split"], row.where), row["label"]
    if subset not in FRAMES:
        raise InputError(f"{row.where}: label is {printable(subset)!r}, must be one of {', '.join(FRAMES)}")
    objects = tuple(printable(escaped(name.strip())) for name in row["a_obj"].split("_"))
    return split, subset, tuple(filter(None, objects))


def read_classes(path: Path) -> tuple[str, ...]:
    """Read the classes of `label2idx.json`, in the order of their numbers, from 0 or 1 on.

    Without the file they are the published ones. Raises InputError when the numbers have gaps, `background`
    is not the first class, or the published classes are in another order than the colours of the masks.
    """
    if not path.is_file():
        return CLASSES
    content = parse_object(read_file(path, most_bytes=MOST_JSON_BYTES), where=str(path))
    if not all(type(number) is int for number in content.values()):
        raise InputError(f"{path}: its values must be whole numbers, one for each class")
    names = sorted(content, key=lambda name: content[name])
    first = content[names[0]] if names else 0
    if first not in (0, 1) or [content[name] for name in names] != list(range(first, first + len(names))):
        raise InputError(f"{path}: the numbers of its classes are not consecutive from 0 or 1")
    if not 2 <= len(names) <= MOST_MASK_CLASSES or names[0] != BACKGROUND:
        raise InputError(
            f"{path}: the first class is {printable(names[0]) if names else 'missing'!r} of {len(names)}, "
            f"expected {BACKGROUND!r} and 1 to {MOST_MASK_CLASSES - 1} others"
        )
    if set(names) == set(CLASSES) and names != list(CLASSES):
        wrong = next(index for index, name in enumerate(names) if name != CLASSES[index])
        raise InputError(
            f"{path}: class {wrong} is {names[wrong]!r}, but the masks have {CLASSES[wrong]!r} in its colour"
        )
    return tuple(names)


class _Spans(Iterable[ClipSpan]):
    """The spans of the clips, made anew each time: packing them takes longer."""

    def __init__(self, rows: PackedRows[Row]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[ClipSpan]:
        rows = self._rows.values()
        return (span_of(uid, split, multiple=subset == "v1m") for uid, split, subset, _ in rows)


@dataclass
class _Disk:
    """Folders of the clips.

    Attributes:
        raw: the raw folder.
        allow_links: whether folders may be links that lead out of `raw`.
        classes: names of the classes.
    """

    raw: Path
    allow_links: bool
    classes: tuple[str, ...]
    _fields: dict[tuple[str, tuple[str, ...]], dict[str, object]] = field(default_factory=dict)
    _indexed: int = 0
    _more: int = 0
    _silent: int = 0

    def __post_init__(self) -> None:
        self._folders = Folders(self.raw, allow_links=self.allow_links)

    def specify(self, row: Row) -> tuple[Any, ...]:
        """Return the clip of a row, as its fields."""
        uid, split, subset, objects = row
        fields = self._fields.get((subset, objects))
        if fields is None:
            known = [name for name in dict.fromkeys(objects) if name in self.classes]
            fields = self._fields[subset, objects] = {"subset": subset, "objects": known}
        folder = f"{subset}/{uid}"
        problem = unsafe_name(uid, "uid")
        if problem is not None:
            return clip_values(printable(uid), split, printable(folder), fields=fields, problem=problem)
        frames = FRAMES[subset]
        files, folders = self._folders.names(folder)
        kind: Literal["colours", "indices"] = "colours"
        if "labels_rgb" not in folders and "labels_semantic" in folders:
            kind = "indices"
            self._indexed += 1
        masks = self._masks(row, "labels_rgb" if kind == "colours" else "labels_semantic")
        self._more += len(masks[1]) > row.masks
        self._silent += "audio.wav" not in files
        return clip_values(
            key=uid,
            split=split,
            source=folder,
            fields=fields,
            masks=masks,
            pictures=(f"{folder}/frames/", _PICTURES[frames]),
            sound=f"{folder}/audio.wav" if "audio.wav" in files else None,
            annotated_seconds=frames,
            frames=0 if frames == SAMPLING.frames else frames,
            windows=0 if frames == SAMPLING.windows else frames,
            mask_kind=kind,
            mask_classes=len(self.classes),
        )

    def findings(self) -> Iterator[str]:
        """Yield notes on clips with masks of another kind or number, and without sound."""
        if self._indexed:
            yield f"{self._indexed} clips have no labels_rgb: their masks are taken from labels_semantic"
        if self._more:
            yield (
                f"{self._more} training clips of v1s have masks beyond the first, which are used as well: "
                "as published, training sees one mask of such a clip"
            )
        if self._silent:
            yield f"{self._silent} clips have no audio.wav"

    def _masks(self, row: Row, kind: str) -> Series:
        """Return the masks by frame, empty for a frame without: those published, and others that exist."""
        folder = f"{row.folder}/{kind}"
        published = _MASKS[row.masks]
        if row.masks == FRAMES[row.subset]:
            return f"{folder}/", published
        there, _ = self._folders.names(folder)
        found = [name if name in there else "" for name in _MASKS[FRAMES[row.subset]]]
        if any(found[row.masks :]):
            return f"{folder}/", tuple(found[: 1 + max(n for n, name in enumerate(found) if name)])
        return f"{folder}/", published


def _class_findings(rows: PackedRows[Row], classes: tuple[str, ...]) -> Iterator[str]:
    """Yield notes on objects that are no classes, and on classes that a split has no clip of."""
    objects = Counter((split, names) for _, split, _, names in rows.values())
    odd: Counter[str] = Counter()
    for (_, names), count in objects.items():
        for name in names:
            if name not in classes:
                odd[name] += count
    if odd:
        named = [f"{name!r} ({count})" for name, count in odd.most_common(_MOST_NAMED)]
        more = ", …" if len(odd) > _MOST_NAMED else ""
        yield f"objects in a_obj that are no classes, by clips: {', '.join(named)}{more}; masks decide alone"
    for split in ("val", "test"):
        seen = {name for part, names in objects if part == split for name in names}
        missing = [name for name in classes[1:] if name not in seen]
        if seen and missing:
            named = missing[:_MOST_NAMED]
            more = ", …" if len(missing) > _MOST_NAMED else ""
            yield (
                f"classes without a {split} clip by a_obj: {len(missing)}: {', '.join(named)}{more}; the "
                "official mIoU counts a class that never occurs as 0"
            )
