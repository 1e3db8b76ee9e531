"""Writer of one shard of a column."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping

from ..errors import InputError
from .additions import Sums
from .columns import ColumnRecord
from .schema import MOST_CLIP_BYTES, ClipRecord
from .storage import Location, open_store
from .writer import end_of_archive, tar_members

ColumnClip = tuple[ClipRecord, Mapping[str, bytes], Sums]
"""A clip of the directory, its members in the column, and the sum, the sum of squares and the number of their
values; zeros where these are not needed."""


def write_column_shard(folder: Location, name: str, clips: Iterable[ColumnClip]) -> list[ColumnRecord]:
    """Write the shard `name` of a column into its `folder`; return its rows.

    The shard appears under its name once the last clip is written; without clips there is no file. Its bytes
    depend on the clips alone. Raises InputError for a clip that takes more than `MOST_CLIP_BYTES`.
    """
    clips = iter(clips)
    first = next(clips, None)
    if first is None:
        return []
    rows = []
    with open_store(folder).published(name) as stream:
        for clip, members, sums in itertools.chain([first], clips):
            extent = tar_members(clip.key, dict(members))
            if len(extent) > MOST_CLIP_BYTES:
                raise InputError(f"{clip.key} takes {len(extent)} bytes, at most {MOST_CLIP_BYTES} are read")
            stream.write(extent)
            digest = hashlib.sha256(extent).hexdigest()
            rows.append(ColumnRecord(clip.key, clip.split, name, len(extent), digest, clip.sha256, *sums))
        stream.write(end_of_archive(sum(row.bytes for row in rows)))
    return rows
