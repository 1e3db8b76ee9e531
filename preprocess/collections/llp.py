"""The LLP collection: 10 s clips with audible and visible events, several at once.

Layout of the tables (YapengTian/AVVP-ECCV20, `data/`), in RAW or in `data/`: `AVVP_train.csv`,
`AVVP_val_pd.csv`, `AVVP_test_pd.csv` (columns `filename`, `event_labels`: the classes of a clip, separated by
commas), and for the clips of val and test `AVVP_eval_audio.csv` and `AVVP_eval_visual.csv` (`filename`,
`onset`, `offset`, `event_labels`: one class and its whole seconds, the offset exclusive).

A file name is an 11-character id and two times, `ID_START_END`; the id may hold `_`, so it is cut by
position. Videos are `NAME.mp4` or `ID.mp4`, in one of `VIDEO_FOLDERS`.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from ...shards.published import Published
from .arrays import npy_bytes
from .clip_list import ClipList
from .dense_events import DenseRows, Span, read_dense
from .llp_files import hash_findings
from .packed import PackedRows
from .paths import VideoNames, annotation_file, printable, unsafe_name, videos_by_name
from .specification import Collection, CollectionEntry, Sampling, clip_values
from .tables import read_table
from .text_files import check_utf8, escaped

SECONDS = 10
SAMPLING = Sampling(frames=SECONDS, frame_times="middle", resize="crop", windows=SECONDS, window_seconds=1.0)
LISTS = {"train": "AVVP_train.csv", "val": "AVVP_val_pd.csv", "test": "AVVP_test_pd.csv"}
DENSE = {"audible": "AVVP_eval_audio.csv", "visible": "AVVP_eval_visual.csv"}
VIDEO_FOLDERS = tuple(
    f"{parent}{name}"
    for parent in ("", "LLP_dataset/", "data/", "data/LLP_dataset/")
    for name in ("video", "videos", "raw_video", "raw_videos")
)
# In the order of the release (`dataloader.py`).
CLASSES = (
    "Speech", "Car", "Cheering", "Dog", "Cat", "Frying_(food)", "Basketball_bounce", "Fire_alarm", "Chainsaw",
    "Cello", "Banjo", "Singing", "Chicken_rooster", "Violin_fiddle", "Vacuum_cleaner", "Baby_laughter",
    "Accordion", "Lawn_mower", "Motorcycle", "Helicopter", "Acoustic_guitar", "Telephone_bell_ringing",
    "Baby_cry_infant_cry", "Blender", "Clapping",
)  # fmt: skip

_ID_CHARACTERS = 11
_TIME = r"([0-9]{1,6}(?:\.[0-9]{1,6})?)"
_NAME = re.compile(rf"([A-Za-z0-9_-]{{{_ID_CHARACTERS}}})_{_TIME}_{_TIME}")
_MOST_REMEMBERED = 10_000  # members of different events
_HINT = "RAW must hold the tables of LLP, such as AVVP_train.csv, and video/*.mp4"


class Listed(NamedTuple):
    """A clip of a table of a split: its name, and its classes by index."""

    name: str
    split: str
    tags: tuple[int, ...]


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the tables under `raw`. Raises InputError naming the file and line at fault."""
    files = {
        name: annotation_file(raw, _table(raw, name), allow_links=allow_links)
        for name in (*LISTS.values(), *DENSE.values())
    }
    repeated: list[str] = []
    listed = PackedRows(
        (row for split, name in LISTS.items() for row in _read_list(files[name], split, repeated)),
        make=Listed._make,
    )
    scored = {name for name, split, _ in listed.values() if split != "train"}
    dense = {
        modality: read_dense(files[name], CLASSES, names=scored, seconds=SECONDS, hint=_HINT)
        for modality, name in DENSE.items()
    }
    videos, folders = _find_videos(raw, allow_links=allow_links)
    planner = _Planner(dense, videos, folders)
    return Collection(
        name="llp",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=CLASSES,
        clips=ClipList.of_values(itertools.starmap(planner.specify, listed.values())),
        findings=(
            *hash_findings(files.values()),
            *(f"{modality}: {finding}" for modality, rows in dense.items() for finding in rows.findings()),
            *_findings(listed, dense, repeated),
        ),
        media_folders=folders,
        published=COLLECTION.published,
    )


# Counted in the tables of the release.
COLLECTION = CollectionEntry(
    read=read,
    task="avvp",
    summary="RAW/AVVP_*.csv, RAW/video/*.mp4",
    published=Published(clips={"train": 10_000, "val": 649, "test": 1_200}, classes=len(CLASSES)),
)


def clip_key(name: str) -> str:
    """Return the key of a clip: its name; `-` stands for the points of times with fractions."""
    return name[:_ID_CHARACTERS] + name[_ID_CHARACTERS:].replace(".", "-")


def _table(raw: Path, name: str) -> Path:
    places = [raw / name, raw / "data" / name]
    return next((path for path in places if path.is_file()), places[0])


def _read_list(path: Path, split: str, repeated: list[str]) -> Iterator[Listed]:
    """Yield the clips of a split; names of clips that repeat a class are added to `repeated`."""
    table = read_table(
        path, columns={"filename": ("filename",), "event_labels": ("event_labels",)}, hint=_HINT
    )
    known: dict[str, tuple[tuple[int, ...], int]] = {}
    count = 0
    for line, (name, text) in table.cells():
        count += 1
        if text not in known:
            where = f"{path}:{line}"
            labels = [label.strip() for label in check_utf8(text, where, "label").split(",")]
            if unknown := [label for label in labels if label not in CLASSES]:
                raise InputError(f"{where}: {printable(unknown[0])!r} is no class of LLP")
            known[text] = (tuple(sorted({CLASSES.index(label) for label in labels})), len(labels))
        tags, given = known[text]
        name = printable(escaped(name))
        if len(tags) < given:
            repeated.append(name)
        yield Listed(name, split, tags)
    if not count:
        raise InputError(f"{path} holds no rows below its header")


def _find_videos(raw: Path, *, allow_links: bool) -> tuple[dict[str, VideoNames], tuple[str, ...]]:
    """Return the videos of each folder that holds any, and these folders."""
    listed = {folder: videos_by_name(raw, folder, allow_links=allow_links) for folder in VIDEO_FOLDERS}
    videos = {folder: names for folder, names in listed.items() if names}
    return videos, tuple(videos) or VIDEO_FOLDERS[:1]


@dataclass
class _Planner:
    """Makes clips of listed rows. Members are made once for clips with the same labels."""

    dense: Mapping[str, DenseRows]
    videos: Mapping[str, VideoNames]
    folders: tuple[str, ...]
    _tags: dict[tuple[int, ...], tuple[str, bytes]] = field(default_factory=dict)
    _events: dict[tuple[tuple[Span, ...], ...], tuple[str, bytes]] = field(default_factory=dict)

    def specify(self, name: str, split: str, tags: tuple[int, ...]) -> tuple[Any, ...]:
        """Return the clip of a row, as its fields."""
        members: tuple[tuple[str, bytes], ...] = (self._tags_of(tags),)
        if split != "train":
            members = (*members, self._events_of(name))
        source = self._find(name) or self._find(name[:_ID_CHARACTERS]) or f"{self.folders[0]}/{name}.mp4"
        key, match = clip_key(name), _NAME.fullmatch(name)
        problem = unsafe_name(key, "file name")
        if problem is None and match is None:
            message = f"file name {name!r} is not ID_START_END with an id of 11 characters"
            problem = ("bad-annotation", message)
        fields: dict[str, str | float] = {"filename": name}
        if match is not None:
            fields["video_id"], fields["start_seconds"] = match[1], float(match[2])
        return clip_values(
            key=key,
            split=split,
            source=source,
            annotated_seconds=SECONDS,
            fields=fields,
            members=members,
            problem=problem,
        )

    def _find(self, stem: str) -> str | None:
        """Return the path of a video; earlier folders win."""
        for folder, names in self.videos.items():
            if (name := names.get(stem)) is not None:
                return f"{folder}/{name}"
        return None

    def _tags_of(self, tags: tuple[int, ...]) -> tuple[str, bytes]:
        if tags not in self._tags:
            marked = np.zeros(len(CLASSES), np.uint8)
            marked[list(tags)] = 1
            self._tags[tags] = ("tags.npy", npy_bytes(marked))
        return self._tags[tags]

    def _events_of(self, name: str) -> tuple[str, bytes]:
        spans = tuple([self.dense[modality].spans(name) for modality in DENSE])
        if spans not in self._events:
            if len(self._events) == _MOST_REMEMBERED:
                self._events.clear()
            events = np.stack([self.dense[modality].marked(name) for modality in DENSE]).astype(np.uint8)
            self._events[spans] = ("events.npy", npy_bytes(events))
        return self._events[spans]


def _findings(
    listed: PackedRows[Listed], dense: Mapping[str, DenseRows], repeated: list[str]
) -> Iterator[str]:
    if repeated:
        yield f"{len(repeated)} clips name a class twice, which counts once, such as {repeated[0]}"
    marks: dict[tuple[tuple[Span, ...], ...], _Marks] = {}
    for split in ("val", "test"):
        counts: Counter[str] = Counter()
        names: set[str] = set()
        for name, part, tags in listed.values():
            if part != split:
                continue
            spans = tuple([dense[modality].spans(name) for modality in DENSE])
            if spans not in marks:
                if len(marks) == _MOST_REMEMBERED:
                    marks.clear()
                marks[spans] = _marks_of(*(dense[modality].marked(name) for modality in DENSE))
            silent, unseen, apart, classes = marks[spans]
            counts["silent"] += silent
            counts["unseen"] += unseen
            counts["differ"] += classes != tags
            if name not in names:
                names.add(name)
                counts["apart"] += apart
        yield (
            f"{split}: {counts['silent']} clips without audible, {counts['unseen']} without visible, "
            f"{counts['apart']} without audio-visual events"
        )
        if differ := counts["differ"]:
            yield f"{split}: the classes of {differ} clips are not those of their events; both are kept"


class _Marks(NamedTuple):
    """Facts of a clip's events: no audible ones, no visible ones, none that is both, and the classes."""

    silent: bool
    unseen: bool
    apart: bool
    classes: tuple[int, ...]


def _marks_of(audible: npt.NDArray[np.bool_], visible: npt.NDArray[np.bool_]) -> _Marks:
    classes = tuple(np.flatnonzero((audible | visible).any(0)).tolist())
    return _Marks(not audible.any(), not visible.any(), not (audible & visible).any(), classes)
