"""The collection that was read, stored while a directory is made, so that a repeated command starts at once.

It is used only while nothing that reading it depends on differs: the state of RAW (`raw_state`), the options,
the versions of tools and the code of this program. In any other case, and when the file is damaged, the
collection is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ...bounded import parse_object
from ...errors import InputError
from ...shards.local_store import LocalStore
from ...shards.schema import canonical_json, fingerprint
from ...shards.storage import Location, open_store
from ...versions import package_versions
from ..collections import COLLECTIONS
from ..collections.clip_list import ClipList, packed
from ..collections.specification import Collection, Sampling
from ..media.tools import tool_versions
from .former import PROGRESS_FOLDER
from .raw_state import RawState, raw_state

STORED_PLAN_FILE = f"{PROGRESS_FOLDER}/collection"

_FORMAT = 1
_MOST_BYTES = 1 << 30
_PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stored:
    """A collection, and the lines of its check against the files."""

    collection: Collection
    preflight: tuple[str, ...]


class StoredPlan:
    """The stored collection of an output folder."""

    def __init__(self, out: Location, raw: Path, request: Mapping[str, Any], *, every_file: bool) -> None:
        """Prepare to read and write the collection of `out`.

        Args:
            out: the output folder; a URL has no stored collection.
            raw: the raw folder.
            request: the name of the collection and the options with which it is read.
            every_file: whether reading it opens files that are no annotations.
        """
        store = open_store(out)
        self._store = store if isinstance(store, LocalStore) else None
        self._raw, self._every_file = raw, every_file
        self._request = fingerprint({"format": _FORMAT, "request": request, "versions": _versions()})
        self._state: RawState | None = None

    def load(self) -> Stored | None:
        """Return the stored collection; None when it has to be read."""
        if self._store is None or not self._store.exists(STORED_PLAN_FILE):
            return None
        try:
            return self._parse(self._store.read(STORED_PLAN_FILE, most_bytes=_MOST_BYTES))
        except (InputError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            return None

    def begin(self) -> None:
        """Note the state of RAW before the collection is read."""
        if self._store is not None:
            now = time.time_ns()
            state = raw_state(self._raw, every_file=self._every_file)
            # Of a file that changed just now, another change might have the same time.
            self._state = state if state is not None and state.is_settled(now) else None

    def keep(self, collection: Collection, preflight: Sequence[str]) -> None:
        """Store the collection, which was read after `begin`."""
        if self._store is None or self._state is None:
            return
        if collection.published not in (None, COLLECTIONS[collection.name].published):
            return
        try:
            clips, blocks = packed(collection.clips).to_stored()
        except ValueError:
            return
        state = self._state
        described = {
            "collection": _described(collection),
            "preflight": list(preflight),
            "clips": clips,
            "sizes": [len(each) for each in (state.paths, *blocks)],
            "state": {"sha256": state.sha256, "newest_ns": state.newest_ns},
        }
        line = json.dumps(described).encode()
        try:
            read = parse_object(line, where=STORED_PLAN_FILE)
        except InputError:
            return  # it could not be read again
        if _collection(read["collection"], ClipList()) != replace(collection, clips=ClipList()):
            return  # it holds values that JSON does not keep
        parts = (line, b"\n", state.paths, *blocks)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        with self._store.published(STORED_PLAN_FILE) as stream:
            stream.write(canonical_json({"request": self._request, "sha256": digest.hexdigest()}) + b"\n")
            stream.writelines(parts)

    def _parse(self, content: bytes) -> Stored | None:
        first, _, body = content.partition(b"\n")
        head = parse_object(first, where=STORED_PLAN_FILE)
        if head["request"] != self._request or head["sha256"] != hashlib.sha256(body).hexdigest():
            return None
        line, _, rest = body.partition(b"\n")
        described = parse_object(line, where=STORED_PLAN_FILE)
        parts, at = [], 0
        for size in described["sizes"]:
            parts.append(rest[at : at + size])
            at += size
        paths, *blocks = parts
        state = RawState(paths, described["state"]["sha256"], described["state"]["newest_ns"])
        if not state.holds(self._raw):
            return None
        self._state = state
        clips = ClipList.of_stored(described["clips"], blocks)
        return Stored(_collection(described["collection"], clips), tuple(described["preflight"]))


def _described(collection: Collection) -> dict[str, Any]:
    fields = {name: value for name, value in vars(collection).items() if name not in ("clips", "published")}
    return fields | {
        "sampling": asdict(collection.sampling),
        "rows": dict(collection.rows),
        "features": dict(collection.features),
        "published": collection.published is not None,
    }


def _collection(content: dict[str, Any], clips: ClipList) -> Collection:
    tuples = {
        name: tuple(content[name]) for name in ("classes", "findings", "media_folders", "annotation_files")
    }
    published = COLLECTIONS[content["name"]].published if content["published"] else None
    return Collection(
        **content | tuples | {"sampling": Sampling(**content["sampling"]), "published": published},
        clips=clips,
    )


@cache
def _versions() -> dict[str, Any]:
    """Return everything but RAW and the options that decides how a collection is read."""
    return {
        "python": sys.version,
        "file names": sys.getfilesystemencoding(),
        "packages": package_versions() | tool_versions(),
        "code": _code_sha256(),
    }


def _code_sha256() -> str:
    """Return the hash of the code that reads collections."""
    digest = hashlib.sha256()
    for folder in ("preprocess", "shards", "."):
        paths = (_PACKAGE / folder).rglob("*.py") if folder != "." else _PACKAGE.glob("*.py")
        for path in sorted(paths):
            digest.update(os.fsencode(path.relative_to(_PACKAGE)) + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
