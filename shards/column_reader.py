"""Reader of a column by the keys of clips."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from .cache import cache_folder
from .columns import (
    COLUMN_TABLE,
    ColumnInfo,
    add_command,
    column_folder,
    column_store,
    read_column,
    read_column_quarantine,
    read_column_records,
)
from .places import ClipPlace, places_of
from .reader import ClipReader
from .storage import Location


class ColumnReader:
    """The members of a column, by key.

    Args:
        location: the shard directory, a path or a URL.
        member: name of the column.
        fingerprint: of the directory's data, for the cache of shards behind a URL.
        command: that adds the column, for messages; by default that of an fbank.
        cache: as `data.cache`; `ahead_bytes`, when given, reads without a cache, as ClipReader.

    Attributes:
        info: the content of `column.json`.

    Raises InputError when the directory has no complete column of that name, naming the command that adds it.
    """

    def __init__(
        self,
        location: Location,
        member: str,
        *,
        fingerprint: str = "",
        cache: str | None = None,
        cache_bytes: int | None = None,
        ahead_bytes: int = 0,
        command: str | None = None,
    ) -> None:
        self.location, self.member = location, member
        self._command = command or add_command(location, member)
        info = read_column(location, member)
        if info is None:
            raise InputError(f"{location} has no column {member}; add it with {self._command}")
        self.info: ColumnInfo = info
        store = column_store(location, member)
        rows = read_column_records(store)
        places = places_of(
            *([getattr(row, name) for row in rows] for name in ("key", "shard", "bytes", "sha256"))
        )
        self._places = {place.key: place for place in places}
        self._made_of = {row.key: row.clip_sha256 for row in rows}
        self._failed = {row.key for row in read_column_quarantine(store)}
        folder = None
        if not ahead_bytes:
            made_of = f"{fingerprint} {info.files[COLUMN_TABLE]}"
            folder = cache_folder(location, made_of, root=cache, most_bytes=cache_bytes)
        self._reader = ClipReader(
            location, cache=folder, ahead_bytes=ahead_bytes, shards=column_folder(member)
        )

    def has(self, places: Sequence[ClipPlace]) -> list[bool]:
        """Tell of each clip whether the column has it; False for clips that it could not be made of.

        Raises InputError for clips that were added, or made again, after the column, naming the command that
        completes it.
        """
        old = [place for place in places if not self.is_current(place)]
        if old:
            shards = list(dict.fromkeys(place.shard for place in old))
            named = shards[0] if len(shards) == 1 else f"{shards[0]} and {len(shards) - 1} more"
            raise InputError(
                f"{self.location}: the column {self.member} lacks {len(old)} clips, of {named}, "
                f"which were made later; complete it with {self._command}"
            )
        return [place.key in self._places for place in places]

    def is_current(self, place: ClipPlace) -> bool:
        """Tell whether the column was made of the clip as it is now, or could not be made of it."""
        return place.key in self._failed or self._made_of.get(place.key) == place.sha256

    def read(self, key: str, *, check: bool = False) -> dict[str, bytes]:
        """Return the members of a clip: suffix to bytes. Raises as `ClipReader.read`."""
        return self._reader.read(self._places[key], check=check)

    def read_end(self, key: str, suffix: str, span: tuple[int, int]) -> bytes:
        """Return the bytes `[begin, end)` of a member, counted back from its end; no hash is compared.

        Raises as `ClipReader.read_member`.
        """
        return self._reader.read_member(self._places[key], suffix, span)

    def close(self) -> None:
        """Close the open shard."""
        self._reader.close()
