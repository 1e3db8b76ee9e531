"""The collections that can be preprocessed: each module that assigns `COLLECTION` is one.

To add a collection, write `preprocess/collections/NAME.py` with a function that reads the annotations into a
`Collection`, and an entry for it:

    COLLECTION = CollectionEntry(read=read, task="ave", summary="RAW/clips/*.mp4 and RAW/labels.csv")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import Registry

if TYPE_CHECKING:
    from ...shards.published import Published
    from .specification import CollectionEntry

COLLECTIONS: Registry[CollectionEntry] = Registry(
    __name__, Path(__file__).parent, attribute="COLLECTION", noun="collection"
)


def published(name: str) -> Published | None:
    """Return the published numbers of the collection `name`; None for an unknown name or where none exist."""
    return COLLECTIONS[name].published if name in COLLECTIONS else None
