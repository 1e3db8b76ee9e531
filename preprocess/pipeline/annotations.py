"""Search for the clips whose annotations differ from those that are written."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from ...errors import StgcmaError
from ...shards.members import read_description
from ...shards.places import ClipPlace
from ...shards.reader import ClipReader, clip_places
from ...shards.schema import canonical_json
from ..collections.arrays import npy_bytes
from ..collections.specification import ClipSpecification
from .former import Former

_MOST_NAMED = 100


def changed_annotations(former: Former, clips: Sequence[ClipSpecification], *, labels: bool) -> list[str]:
    """Return the keys of written clips that `clips` has with another source, up to a hundred.

    When there is none, and with `labels`, the shards are read for clips that have other fields or labels.
    """
    listed: dict[str, ClipSpecification] = {}
    for clip in clips:
        listed.setdefault(clip.key, clip)
    manifest = former.trusted_manifest
    changed = [row.key for row in manifest if row.key in listed and row.source != listed[row.key].source]
    if changed or not labels:
        return changed[:_MOST_NAMED]
    reader = ClipReader(former.store.location)
    try:
        for place in clip_places(manifest):
            if place.key in listed and _differs(reader, place, listed[place.key]):
                changed.append(place.key)
            if len(changed) == _MOST_NAMED:
                break
    except StgcmaError:
        pass  # a damaged shard; that the list is another one is the error to report
    finally:
        reader.close()
    return changed


def _differs(reader: ClipReader, place: ClipPlace, clip: ClipSpecification) -> bool:
    description = read_description(reader.read_member(place, "json"))
    fields = json.loads(canonical_json(dict(clip.fields) | clip.lengths))
    if any(description.get(name) != value for name, value in fields.items()):
        return True
    members = dict(clip.members)
    if clip.labels:
        members["label.npy"] = npy_bytes(np.array(clip.labels, dtype=np.int16))
    return any(reader.read_member(place, name) != content for name, content in members.items())
