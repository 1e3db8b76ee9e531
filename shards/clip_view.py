"""One clip of a shard directory, to view or extract (`stgcma shards show`)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .column_reader import ColumnReader
from .columns import column_names
from .files import publish
from .manifest import read_dataset, read_manifest, read_quarantine
from .members import (
    Question,
    class_name,
    member,
    named_clip,
    open_picture,
    read_array,
    read_description,
    read_events,
    read_labels,
    read_questions,
    read_tags,
)
from .places import ClipPlace
from .reader import ClipReader, clip_places
from .schema import DatasetInfo
from .storage import Location


@dataclass(frozen=True)
class MemberView:
    """A member of a clip. `content` is its type and shape, e.g. `int16 [10]` or `JPEG RGB 224×224`."""

    name: str
    bytes: int
    content: str


@dataclass(frozen=True)
class ClipView:
    """One clip.

    Attributes:
        description: its `KEY.json`.
        members: the other members, by name.
        labels: class names by second; empty for tasks without.
        questions: the records of `KEY.qa.json`; empty for tasks without.
        tags: class names of the clip; empty for tasks without.
        audible, visible: class names of the events in each second; empty for clips without.
    """

    description: dict[str, Any]
    members: tuple[MemberView, ...]
    labels: tuple[str, ...]
    questions: tuple[Question, ...]
    tags: tuple[str, ...] = ()
    audible: tuple[tuple[str, ...], ...] = ()
    visible: tuple[tuple[str, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the clip as JSON values."""
        members = [{"name": each.name, "bytes": each.bytes, "content": each.content} for each in self.members]
        return {
            "description": self.description,
            "members": members,
            "labels": list(self.labels),
            "questions": list(self.questions),
            "tags": list(self.tags),
            "audible": [list(names) for names in self.audible],
            "visible": [list(names) for names in self.visible],
        }


def read_clip(location: Location, key: str) -> dict[str, bytes]:
    """Return the members of the clip `key`, suffix to bytes, after comparing them with their hashes.

    Those of columns are among them.

    Raises InputError when there is no such clip (and why, if it is in quarantine), StgcmaError when it is
    damaged.
    """
    records = read_manifest(location)
    for place in clip_places(records):
        if place.key == key:
            reader = ClipReader(location)
            try:
                return reader.read(place, check=True) | _column_members(location, place)
            finally:
                reader.close()
    for record in read_quarantine(location):
        if record.key == key:
            raise InputError(f"{key} is in the quarantine of {location}: {record.reason}, {record.message}")
    keys = [record.key for record in records]
    near = difflib.get_close_matches(key, keys, n=3, cutoff=0.4) or keys[:3]
    raise InputError(f"{location} has no clip {key!r}; its keys are like {', '.join(near)}")


def _column_members(location: Location, place: ClipPlace) -> dict[str, bytes]:
    """Return the members that the complete columns have of a clip."""
    members: dict[str, bytes] = {}
    for name in column_names(location):
        with closing(ColumnReader(location, name)) as column:
            if column.is_current(place) and column.has([place])[0]:
                members |= column.read(place.key, check=True)
    return members


def view_clip(location: Location, key: str) -> ClipView:
    """Return the content of the clip `key` for display. Raises as `read_clip` does."""
    members = read_clip(location, key)
    info = read_dataset(location)
    classes = info.classes
    with named_clip(location, key):
        labels: tuple[str, ...] = ()
        if "label.npy" in members:
            labels = tuple(class_name(classes, label) for label in read_labels(members["label.npy"]))
        tags: tuple[str, ...] = ()
        if "tags.npy" in members:
            tags = _names(classes, read_tags(members["tags.npy"], classes=len(classes)))
        audible, visible = _events(info, members)
        return ClipView(
            description=read_description(member(members, "json")),
            members=tuple(
                MemberView(name, len(content), _describe(name, content))
                for name, content in sorted(members.items())
                if name != "json"
            ),
            labels=labels,
            questions=tuple(read_questions(members["qa.json"])) if "qa.json" in members else (),
            tags=tags,
            audible=audible,
            visible=visible,
        )


_SecondsNames = tuple[tuple[str, ...], ...]


def _events(info: DatasetInfo, members: dict[str, bytes]) -> tuple[_SecondsNames, _SecondsNames]:
    """Return the names of the audible and of the visible events of each second."""
    if "events.npy" not in members:
        return (), ()
    frames = info.features["sampling"]["frames"]
    audible, visible = read_events(members["events.npy"], seconds=frames, classes=len(info.classes))
    return tuple(_names(info.classes, s) for s in audible), tuple(_names(info.classes, s) for s in visible)


def _names(classes: tuple[str, ...], flags: Iterable[int]) -> tuple[str, ...]:
    return tuple(name for name, flag in zip(classes, flags, strict=True) if flag)


def extract_clip(location: Location, key: str, folder: Path) -> list[Path]:
    """Write the members of the clip `key` into `folder` as `KEY.suffix`; return their paths.

    Raises as `read_clip` does, and InputError when one of the files exists.
    """
    paths = {folder / f"{key}.{suffix}": content for suffix, content in read_clip(location, key).items()}
    for path in paths:
        if path.exists():
            raise InputError(f"{path} is there already; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in paths.items():
        publish(path, content)
    return sorted(paths)


def _describe(name: str, content: bytes) -> str:
    kind = name.rpartition(".")[2]
    if kind == "npy":
        array = read_array(content, name)
        return f"{array.dtype} {list(array.shape)}"
    if kind in ("jpg", "png"):
        image = open_picture(content, name)
        return f"{image.format} {image.mode} {image.width}×{image.height}"
    if kind == "json":
        return f"{len(read_questions(content, name))} records"
    return ""
