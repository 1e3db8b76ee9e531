"""The LLP collection: 10 s clips with audible and visible events, several at once.

Layout of the tables (YapengTian/AVVP-ECCV20, `data/`), in RAW or in `data/`: `AVVP_train.csv`,
`AVVP_val_pd.csv`, `AVVP_test_pd.csv` (columns `filename`, `event_labels`: the classes of a clip, separated by
commas), and for the clips of val and test `AVVP_eval_audio.csv` and `AVVP_eval_visual.csv` (`filename`,
`onset`, `offset`, `event_labels`: one class and its whole seconds, the offset exclusive).

A file name is an 11-character id and two times, `ID_START_END`; the id may hold `_`, so it is cut by
position. Videos are `NAME.mp4` or `ID.mp4`, in one of `VIDEO_FOLDERS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...shards.published import Published
from .arrays import npy_bytes
from .dense_events import DenseRows, read_dense
from .llp_files import hash_findings
from .paths import annotation_file, printable, unsafe_name, videos_by_name
from .specification import ClipSpecification, Collection, CollectionEntry, Sampling
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
_HINT = "RAW must hold the tables of LLP, such as AVVP_train.csv, and video/*.mp4"


@dataclass(frozen=True)
class Listed:
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
    listed = [row for split, name in LISTS.items() for row in _read_list(files[name], split, repeated)]
    scored = {row.name for row in listed if row.split != "train"}
    dense = {
        modality: read_dense(files[name], CLASSES, names=scored, seconds=SECONDS, hint=_HINT)
        for modality, name in DENSE.items()
    }
    videos, folders = _find_videos(raw, allow_links=allow_links)
    return Collection(
        name="llp",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=CLASSES,
        clips=tuple(_specify(row, dense, videos, folders) for row in listed),
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
    count = 0
    for row in table:
        count += 1
        name = printable(escaped(row["filename"]))
        labels = [label.strip() for label in check_utf8(row["event_labels"], row.where, "label").split(",")]
        if unknown := [label for label in labels if label not in CLASSES]:
            raise InputError(f"{row.where}: {printable(unknown[0])!r} is no class of LLP")
        if len(set(labels)) < len(labels):
            repeated.append(name)
        yield Listed(name, split, tuple(sorted({CLASSES.index(label) for label in labels})))
    if not count:
        raise InputError(f"{path} holds no rows below its header")


def _find_videos(raw: Path, *, allow_links: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the videos by name without suffix, and the folders that hold any; earlier folders win."""
    videos: dict[str, str] = {}
    folders = []
    for folder in VIDEO_FOLDERS:
        found = videos_by_name(raw, folder, allow_links=allow_links)
        folders += [folder] if found else []
        for stem, name in found.items():
            videos.setdefault(stem, f"{folder}/{name}")
    return videos, tuple(folders or VIDEO_FOLDERS[:1])


def _specify(
    row: Listed, dense: Mapping[str, DenseRows], videos: dict[str, str], folders: tuple[str, ...]
) -> ClipSpecification:
    tags = np.zeros(len(CLASSES), np.uint8)
    tags[list(row.tags)] = 1
    members = [("tags.npy", npy_bytes(tags))]
    if row.split != "train":
        events = np.stack([dense[modality].marked(row.name) for modality in DENSE])
        members.append(("events.npy", npy_bytes(events.astype(np.uint8))))
    source = videos.get(row.name) or videos.get(row.name[:_ID_CHARACTERS]) or f"{folders[0]}/{row.name}.mp4"
    key, match = clip_key(row.name), _NAME.fullmatch(row.name)
    problem = unsafe_name(key, "file name")
    if problem is None and match is None:
        message = f"file name {row.name!r} is not ID_START_END with an id of 11 characters"
        problem = ("bad-annotation", message)
    fields: dict[str, str | float] = {"filename": row.name}
    if match is not None:
        fields |= {"video_id": match[1], "start_seconds": float(match[2])}
    return ClipSpecification(
        key=key,
        split=row.split,
        source=source,
        annotated_seconds=SECONDS,
        fields=fields,
        members=tuple(members),
        problem=problem,
    )


def _findings(listed: list[Listed], dense: Mapping[str, DenseRows], repeated: list[str]) -> Iterator[str]:
    if repeated:
        yield f"{len(repeated)} clips name a class twice, which counts once, such as {repeated[0]}"
    for split in ("val", "test"):
        rows = [row for row in listed if row.split == split]
        marked = {row.name: [dense[modality].marked(row.name) for modality in DENSE] for row in rows}
        empty = {
            modality: sum(not marked[row.name][place].any() for row in rows)
            for place, modality in enumerate(DENSE)
        }
        without = sum(not (audible & visible).any() for audible, visible in marked.values())
        yield (
            f"{split}: {empty['audible']} clips without audible, {empty['visible']} without visible, "
            f"{without} without audio-visual events"
        )
        unions = ((audible | visible).any(0) for audible, visible in (marked[row.name] for row in rows))
        differ = sum(
            set(np.flatnonzero(union)) != set(row.tags) for row, union in zip(rows, unions, strict=True)
        )
        if differ:
            yield f"{split}: the classes of {differ} clips are not those of their events; both are kept"
