"""The collections that can be preprocessed, one file each."""

from __future__ import annotations

from ...errors import InputError
from . import ave, avs_s4, folder, music_avqa
from .specification import CollectionReader

READERS: dict[str, CollectionReader] = {
    "ave": ave.read,
    "avs-s4": avs_s4.read,
    "music-avqa": music_avqa.read,
    "folder": folder.read,
}


def reader(name: str) -> CollectionReader:
    """The reader of the collection `name`. Raises InputError listing the known ones."""
    if name not in READERS:
        raise InputError(f"collection {name!r} is not known; choose from {', '.join(sorted(READERS))}")
    return READERS[name]
