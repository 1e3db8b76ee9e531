"""RAW behind a URL: planned with a local image of it, then fetched clip by clip.

The image has the annotation files and an empty file for every other file, so that a collection's reader finds
all names. A clip is copied to a temporary folder while it is decoded.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ...console import message
from ...errors import InputError, StgcmaError
from ...shards.schema import Sample
from ...shards.storage import LocalStore, Location, ObjectStore, open_store
from ..collections.paths import MAX_NAME_BYTES
from ..collections.specification import ClipSpecification
from ..media.child_process import crash
from ..media.reasons import ClipError
from ..samples.sources import clip_files

# Files that a collection's reader may open. All others are read when they are decoded.
ANNOTATION_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".json", ".jsonl", ".h5", ".hdf5"})


@dataclass(frozen=True)
class ClipMaker:
    """Maker of samples that fetches clips first when RAW is behind a URL. Picklable.

    Its messages name files relative to RAW, so that they do not depend on the location of RAW.

    Attributes:
        make: a dataclass that makes a sample of a clip under its `raw`; that is replaced for a fetched clip.
        url: location of the collection, when that is not `make.raw`.
        scratch: folder for temporary copies; on a machine without it, the default one.
    """

    make: Any
    url: str | None = None
    scratch: Path | None = None

    def __call__(self, clip: ClipSpecification) -> Sample:
        """Decode `clip`. Raises as `make` does, and StgcmaError when the storage or a module fails."""
        if self.url is None:
            return _make(self.make, clip)
        store = open_store(self.url)
        if not isinstance(store, ObjectStore):
            raise TypeError(f"url is {self.url}, must be one that fsspec knows")
        parent = self.scratch if self.scratch is not None and self.scratch.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="stgcma-clip-", dir=parent) as folder:
            for name in clip_files(clip):
                _fetch(store, name, Path(folder))
            return _make(dataclasses.replace(self.make, raw=Path(folder)), clip)


def _make(make: Any, clip: ClipSpecification) -> Sample:
    try:
        sample: Sample = make(clip)
    except (StgcmaError, MemoryError):
        raise
    except ImportError as error:  # of this installation, not of the clip
        raise StgcmaError(
            f"a module does not load: {error}; `stgcma doctor` tests this installation"
        ) from error
    except Exception as error:
        failure = error if isinstance(error, ClipError) else crash(error)
        raise ClipError(failure.reason, _relative(failure.message, make.raw)) from error
    return sample


def _relative(text: str, raw: Path) -> str:
    for folder in (str(raw.absolute()), str(raw)):
        text = text.replace(f"{folder}/", "") if folder != "." else text
    return text


@contextmanager
def opened_raw(raw: Location, collection: str) -> Iterator[tuple[Path, str | None]]:
    """Return a local folder with the collection, and RAW's URL when that folder is an image of it.

    Raises InputError when RAW is not a folder, or holds nothing.
    """
    store = open_store(raw)
    wrong = f"RAW {store} is not a folder; give the folder of the {collection} collection"
    if isinstance(store, LocalStore):
        if not store.path.is_dir():
            raise InputError(wrong)
        yield store.path, None
        return
    if not isinstance(store, ObjectStore) or store.location.startswith("memory:"):
        raise InputError(f"RAW {store} is in this process alone, clips are decoded in others; give a folder")
    names = store.names()
    if not names:
        raise InputError(wrong)
    with tempfile.TemporaryDirectory(prefix="stgcma-raw-") as folder:
        image = Path(folder) / "raw"
        _make_image(store, names, image)
        yield image, store.location


def _make_image(store: ObjectStore, names: list[str], image: Path) -> None:
    image.mkdir()
    files = _files(names)
    for name in files:
        path = image / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in ANNOTATION_SUFFIXES:
            store.fetch(name, path)
        elif not name.endswith("/"):
            path.touch()
    if unsafe := len(names) - len(files):
        message(f"{unsafe} objects under {store} have names that no file can have; they are left out")


def _files(names: list[str]) -> list[str]:
    """Return the object names that files in one folder can have: a store may hold both `x` and `x/y`."""
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    return [name for name in names if _is_safe(name) and name not in folders]


def _is_safe(name: str) -> bool:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        return False
    return max(len(os.fsencode(part)) for part in parts) <= MAX_NAME_BYTES


def _fetch(store: ObjectStore, name: str, folder: Path) -> None:
    """Copy the object `name`, or all that is below it. Missing and unsafe names are left to the reader."""
    if not _is_safe(name):
        return
    found = [name] if store.exists(name) else [f"{name}/{below}" for below in store.folder(name).names()]
    for each in _files(found):
        target = folder / each
        target.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(each, target)
