"""Columns: members that were added to the clips of a finished directory, in files of their own.

`OUT/columns/MEMBER/` holds a shard for each shard of the directory, with the same keys in the same order,
`clips.parquet` and `quarantine.parquet`, and `column.json`, which is written last. `OUT/columns/index.json`
names the columns for readers that cannot list folders. It is written before a column is added and after one
is removed, so it never lacks a complete column, but may name one that is not complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from ..bounded import parse_object
from ..errors import InputError
from .files import PARTIAL_SUFFIX
from .info_checks import fbank_fault
from .manifest import read_table
from .schema import (
    CONTENT_HASH,
    MOST_CLIP_BYTES,
    QUARANTINE_FILE,
    AudioStatistics,
    ClipRecord,
    QuarantineRecord,
    canonical_json,
    content_sha256,
    is_shard_name,
)
from .storage import Location, Store, open_store

COLUMN_FOLDER = "columns"
COLUMN_FILE = "column.json"
COLUMN_TABLE = "clips.parquet"
COLUMN_VERSION = 1
INDEX_FILE = "index.json"
# While a column is being added.
PROGRESS_FOLDER = ".progress"
PLAN_FILE = "plan.json"
_MEMBER = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TABLES = (COLUMN_TABLE, QUARANTINE_FILE)


class ColumnVersionError(InputError):
    """A column of another version of this package, which is not damaged."""


class ColumnRecord(NamedTuple):
    """A row of `clips.parquet`: the members of one clip in a column.

    `bytes` and `sha256` are of its part of the column's shard, as in the manifest; `clip_sha256` is the hash
    of the clip that they were made of. `total`, `squares` and `values` are the sum, the sum of squares and
    the number of an fbank's values, from which `column.json` has mean and standard deviation.
    """

    key: str
    split: str
    shard: str
    bytes: int
    sha256: str
    clip_sha256: str
    total: float = 0.0
    squares: float = 0.0
    values: int = 0


@dataclass(frozen=True, kw_only=True)
class ColumnInfo:
    """Content of `column.json`.

    Attributes:
        member: name of the column.
        settings: everything that decides its bytes but the clips and the tools.
        versions: tool name to version.
        counts: number of `written` and `quarantined` clips.
        audio: statistics of an fbank over the training clips.
        files: SHA-256 of the two tables.
    """

    member: str
    settings: dict[str, Any]
    versions: dict[str, str]
    counts: dict[str, int]
    audio: AudioStatistics | None
    files: dict[str, str]
    column_version: int = COLUMN_VERSION

    @property
    def sha256(self) -> str:
        """Hash of the content, and so of all that the column holds."""
        return content_sha256(dataclasses.asdict(self))

    def to_bytes(self) -> bytes:
        """Return the content of `column.json`."""
        content = dataclasses.asdict(self) | {CONTENT_HASH: self.sha256}
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_bytes(cls, text: bytes, *, where: str) -> Self:
        """Read the output of `to_bytes`.

        Raises InputError naming `where` for anything else, ColumnVersionError for another version.
        """
        content = parse_object(text, where=where)
        version = content.get("column_version")
        if type(version) is int and version != COLUMN_VERSION:
            raise ColumnVersionError(
                f"{where}: column_version is {version}, this stgcma reads {COLUMN_VERSION}; use the version "
                "of stgcma that added the column, or drop it with `stgcma shards drop-column`"
            )
        fault = _fault(content)
        if fault is None and content.pop(CONTENT_HASH, None) != content_sha256(content):
            fault = f"its content is not what {CONTENT_HASH} says"
        if fault is not None:
            raise InputError(f"{where} is damaged: {fault}; add the column anew")
        audio = content["audio"]
        return cls(**content | {"audio": None if audio is None else AudioStatistics(**audio)})


def _fault(content: Mapping[str, Any]) -> str | None:
    known = {field.name for field in dataclasses.fields(ColumnInfo)} | {CONTENT_HASH}
    if content.keys() != known:
        return f"it has the fields {', '.join(sorted(content))[:200]}"
    if content["column_version"] != COLUMN_VERSION:
        return f"column_version is {str(content['column_version'])[:40]!r}"
    if not isinstance(content["member"], str) or not is_member(content["member"]):
        return f"member is {str(content['member'])[:40]!r}"
    for name, kind in (("settings", object), ("versions", str), ("counts", int), ("files", str)):
        values = content[name]
        if not isinstance(values, dict) or not all(isinstance(value, kind) for value in values.values()):
            return f"{name} is {str(values)[:40]!r}"
    for name, wanted in (("counts", {"written", "quarantined"}), ("files", set(_TABLES))):
        if content[name].keys() != wanted:
            return f"{name} is of {', '.join(content[name])[:80] or 'nothing'}"
    settings = content["settings"]
    if settings.get("kind") == "fbank" and (wrong := fbank_fault("settings.fbank", settings.get("fbank"))):
        return wrong
    audio = content["audio"]
    if audio is None:
        return None
    numbers = isinstance(audio, dict) and audio.keys() == {"mean", "std"}
    if not numbers or not all(type(value) is float for value in audio.values()):
        return f"audio is {str(audio)[:40]!r}"
    return None


def is_member(name: str) -> bool:
    """Tell whether `name` can be a column's."""
    return _MEMBER.fullmatch(name) is not None


def is_column_file(name: str) -> bool:
    """Tell whether a file below a directory, such as `columns/fbank_224/column.json`, is of a column."""
    top, member, *below = name.split("/")
    if top == COLUMN_FOLDER and not below:
        return member in ("", INDEX_FILE, f".{INDEX_FILE}{PARTIAL_SUFFIX}")
    if top != COLUMN_FOLDER or not is_member(member) or not 1 <= len(below) <= 2:
        return False
    hidden = re.fullmatch(rf"\.(.+){re.escape(PARTIAL_SUFFIX)}", below[-1])
    file = hidden[1] if hidden else below[-1]
    if len(below) == 2:
        shard = file.removesuffix(".json")
        return below[0] == PROGRESS_FOLDER and (file in ("", PLAN_FILE) or is_shard_name(shard))
    return file in ("", COLUMN_FILE, COLUMN_TABLE, QUARANTINE_FILE) or is_shard_name(file)


def column_folder(member: str) -> str:
    """Return the folder of a column in its directory. Raises InputError for what names no column."""
    if not is_member(member):
        raise InputError(f"column is {member!r}, must match {_MEMBER.pattern}")
    return f"{COLUMN_FOLDER}/{member}"


def column_store(location: Location, member: str) -> Store:
    """Return the store of the column `member` of the directory at `location`."""
    return open_store(location).folder(column_folder(member))


def column_names(location: Location) -> list[str]:
    """Return the names of the complete columns of a directory, sorted."""
    store = open_store(location)
    if not store.lists_names:
        return [name for name in read_index(store) if column_store(location, name).exists(COLUMN_FILE)]
    names = (name.split("/") for name in store.names())
    return [
        parts[1]
        for parts in names
        if len(parts) == 3 and parts[0] == COLUMN_FOLDER and parts[2] == COLUMN_FILE and is_member(parts[1])
    ]


def read_index(store: Store) -> list[str]:
    """Return the names of the columns in a directory's `columns/index.json`; none where it is missing.

    Raises InputError when it is damaged.
    """
    name = f"{COLUMN_FOLDER}/{INDEX_FILE}"
    if not store.exists(name):
        return []
    names = parse_object(store.read(name), where=store.where(name)).get("columns")
    if not isinstance(names, list) or not all(isinstance(each, str) and is_member(each) for each in names):
        raise InputError(f"{store.where(name)} is damaged: its columns are not a list of names")
    return sorted(set(names))


def update_index(store: Store, *, adding: str | None = None) -> None:
    """Write `columns/index.json` of the columns there are, complete or not, and of one that is added next.

    Without any, the file is removed.
    """
    folder = store.folder(COLUMN_FOLDER)
    there = {name.split("/")[0] for name in folder.names() if "/" in name}
    names = sorted({*filter(is_member, there), *([] if adding is None else [adding])})
    content = canonical_json({"columns": names})
    if not names:
        folder.remove(INDEX_FILE)
    elif not folder.exists(INDEX_FILE) or folder.read(INDEX_FILE) != content:
        folder.publish(INDEX_FILE, content)


def unlisted_column_files(store: Store) -> list[str]:
    """Return the names of the files that belong to the columns, where they cannot be listed."""
    names, members = [f"{COLUMN_FOLDER}/{INDEX_FILE}"], []
    with contextlib.suppress(InputError):  # a damaged index is a fault for verification
        members = read_index(store)
    for member in members:
        folder = column_folder(member)
        names += [f"{folder}/{name}" for name in (COLUMN_FILE, *_TABLES)]
        with contextlib.suppress(InputError, FileNotFoundError):  # likewise
            shards = dict.fromkeys(row.shard for row in read_column_records(store.folder(folder)))
            names += [f"{folder}/{shard}" for shard in shards]
    return names


def read_column(location: Location, member: str) -> ColumnInfo | None:
    """Read `column.json`; None when the directory has no complete column of that name.

    Raises InputError when it is damaged.
    """
    store = column_store(location, member)
    if not store.exists(COLUMN_FILE):
        return None
    info = ColumnInfo.from_bytes(store.read(COLUMN_FILE), where=store.where(COLUMN_FILE))
    if info.member != member:
        raise InputError(f"{store.where(COLUMN_FILE)} is of the column {info.member}")
    return info


def column_counts(location: Location) -> dict[str, dict[str, int]]:
    """Return the numbers of written and quarantined clips of each complete column."""
    read = {name: read_column(location, name) for name in column_names(location)}
    return {name: info.counts for name, info in read.items() if info is not None}


def read_column_records(store: Store) -> list[ColumnRecord]:
    """Read the rows of a column's clips. Raises InputError when they are damaged."""
    columns = read_table(store, COLUMN_TABLE, ColumnRecord)
    records = list(map(ColumnRecord._make, zip(*columns.values(), strict=True)))
    where = store.where(COLUMN_TABLE)
    for record in records:
        if not is_shard_name(record.shard) or not 0 < record.bytes <= MOST_CLIP_BYTES:
            raise InputError(
                f"{where} has {record.key[:80]!r} with {record.bytes} bytes in {record.shard[:80]!r}"
            )
    return records


def read_column_quarantine(store: Store) -> list[QuarantineRecord]:
    """Read the rows of the clips that a column lacks. Raises InputError when they are damaged."""
    columns = read_table(store, QUARANTINE_FILE, QuarantineRecord)
    return list(map(QuarantineRecord._make, zip(*columns.values(), strict=True)))


@dataclass(frozen=True)
class ColumnShard:
    """The rows of one shard of a column: its clips, and those that could not be made."""

    shard: str
    written: tuple[ColumnRecord, ...]
    quarantined: tuple[QuarantineRecord, ...]

    def fits(self, clips: Sequence[ClipRecord]) -> bool:
        """Tell whether these are the rows of a shard with `clips`, as they are now."""
        failed = {row.key for row in self.quarantined}
        made = [(row.key, row.clip_sha256) for row in self.written]
        wanted = [(clip.key, clip.sha256) for clip in clips if clip.key not in failed]
        return made == wanted and failed <= {clip.key for clip in clips}


def column_shards(
    clips: Iterable[ClipRecord], written: Iterable[ColumnRecord], quarantined: Iterable[QuarantineRecord]
) -> dict[str, ColumnShard]:
    """Return the rows of a column by shard; a quarantined clip is in the shard of its clip."""
    shard_of = {clip.key: clip.shard for clip in clips}
    made: dict[str, list[ColumnRecord]] = {}
    failed: dict[str, list[QuarantineRecord]] = {}
    for record in written:
        made.setdefault(record.shard, []).append(record)
    for row in quarantined:
        failed.setdefault(shard_of.get(row.key, ""), []).append(row)
    return {
        shard: ColumnShard(shard, tuple(made.get(shard, ())), tuple(failed.get(shard, ())))
        for shard in dict.fromkeys((*made, *failed))
        if shard
    }


def add_command(location: Location, member: str) -> str:
    """Return the command that adds or completes the column of an fbank, for messages."""
    return f"`stgcma shards add-column {location} {member} --raw RAW`"
