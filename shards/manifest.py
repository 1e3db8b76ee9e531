"""The files beside the shards: `dataset.json` and the tables of written, failed and planned clips."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any, get_args, get_type_hints

from ..bounded import parse_object
from ..errors import InputError
from .parquet_bounds import MOST_FOOTER_BYTES, TableError, check_table
from .schema import (
    CONTENT_HASH,
    DATASET_FILE,
    MANIFEST_FILE,
    MOST_CLIP_BYTES,
    PLANNED_FILE,
    QUARANTINE_FILE,
    ClipRecord,
    DatasetInfo,
    PlannedRecord,
    QuarantineRecord,
    content_sha256,
    is_shard_name,
)
from .storage import Location, Store, open_store

MOST_TABLE_BYTES = 1 << 30
# Larger tables are written in groups of rows.
ROWS_PER_GROUP = 1 << 18
_ROWS_AT_ONCE = 10_000
# Encoded, a hash of 64 hexadecimal digits takes at least 32 bytes, a key a few.
_LEAST_ROW_BYTES = {MANIFEST_FILE: 32, QUARANTINE_FILE: 4, PLANNED_FILE: 2, "clips.parquet": 32}
_SOURCES = ("source_files", "source_bytes", "source_sha256")
_NUMBERS = tuple(name for name, kind in get_type_hints(ClipRecord).items() if kind in (float, float | None))


def write_manifest(folder: Location, records: Collection[ClipRecord]) -> str:
    """Write `manifest.parquet`, a row per written clip in the order of the shards. Returns its SHA-256."""
    return write_table(open_store(folder), MANIFEST_FILE, records, ClipRecord)


def write_quarantine(folder: Location, records: Collection[QuarantineRecord]) -> str:
    """Write `quarantine.parquet`, a row per clip that was not written. Returns its SHA-256."""
    return write_table(open_store(folder), QUARANTINE_FILE, records, QuarantineRecord)


def write_planned(folder: Location, records: Collection[PlannedRecord]) -> str:
    """Write `planned.parquet`, a row per planned clip in the order of the additions. Returns its SHA-256."""
    return write_table(open_store(folder), PLANNED_FILE, records, PlannedRecord)


def write_dataset(folder: Location, info: DatasetInfo) -> None:
    """Write `dataset.json`. It comes last: a folder that has it is complete."""
    open_store(folder).publish(DATASET_FILE, dataset_bytes(info.to_json()))


def dataset_bytes(content: dict[str, Any]) -> bytes:
    """Return the bytes of `dataset.json` for `content`."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def matches_own_hash(fields: dict[str, Any]) -> bool | None:
    """Compare the fields of `dataset.json` with the hash among them; None for directories without a hash."""
    recorded = fields.get(CONTENT_HASH)
    return None if recorded is None else recorded == content_sha256(fields)


def is_as_written(content: bytes, fields: dict[str, Any]) -> bool | None:
    """Compare the bytes `content` of `dataset.json`, parsed as `fields`, with its hash and with its form.

    Return None for directories without a hash, which earlier versions wrote.
    """
    intact = matches_own_hash(fields)
    return intact and content == dataset_bytes(fields)


def read_dataset(folder: Location) -> DatasetInfo:
    """Read `dataset.json`. Raises InputError when `folder` is not a finished shard directory."""
    store = open_store(folder)
    try:
        text = store.read(DATASET_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{store} is not a finished shard directory: it has no {DATASET_FILE}; "
            "make one with `stgcma preprocess`"
        ) from None
    where = store.where(DATASET_FILE)
    return DatasetInfo.from_json(parse_object(text, where=where), where=where)


def read_manifest(folder: Location, *, split: str | None = None) -> list[ClipRecord]:
    """Read the manifest's rows, those of one `split` or all. Raises InputError when it is damaged."""
    columns = read_table(open_store(folder), MANIFEST_FILE, ClipRecord)
    records = map(ClipRecord._make, zip(*columns.values(), strict=True))
    return [record for record in records if split in (None, record.split)]


def read_columns(folder: Location, names: Sequence[str], *, split: str | None = None) -> list[list[Any]]:
    """Return the columns `names` of the manifest's rows, of one `split` or all.

    For many clips it is much faster than `read_manifest`. Raises InputError when the manifest is damaged.
    """
    columns = read_table(
        open_store(folder), MANIFEST_FILE, ClipRecord, tuple(dict.fromkeys((*names, "split")))
    )
    if split is None or set(columns["split"]) == {split}:
        return [columns[name] for name in names]
    kept = [each == split for each in columns["split"]]
    return [list(itertools.compress(columns[name], kept)) for name in names]


def read_quarantine(folder: Location) -> list[QuarantineRecord]:
    """Read the quarantine's rows. Raises InputError when it is damaged."""
    columns = read_table(open_store(folder), QUARANTINE_FILE, QuarantineRecord)
    return list(map(QuarantineRecord._make, zip(*columns.values(), strict=True)))


def read_planned(folder: Location) -> list[PlannedRecord]:
    """Read the planned clips of a directory of several additions. Raises InputError when it is damaged."""
    columns = read_table(open_store(folder), PLANNED_FILE, PlannedRecord)
    return list(map(PlannedRecord._make, zip(*columns.values(), strict=True)))


def _arrow_schema(kind: type) -> Any:
    import pyarrow

    types: dict[Any, Any] = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
        float | None: pyarrow.float64(),
        bool | None: pyarrow.bool_(),
        tuple[str, ...]: pyarrow.list_(pyarrow.string()),
        tuple[int, ...]: pyarrow.list_(pyarrow.int64()),
    }
    hints = get_type_hints(kind)
    return pyarrow.schema(
        [pyarrow.field(name, types[each], nullable=_is_optional(each)) for name, each in hints.items()]
    )


def _is_optional(kind: Any) -> bool:
    """Tell whether values of the type `kind` may be None."""
    return type(None) in get_args(kind)


def write_table(store: Store, name: str, records: Collection[Any], kind: Any) -> str:
    """Write records of one kind as the table `name`. Returns its SHA-256.

    `records` are iterated over twice. A table of many rows is made group by group, so that only a group of
    them is in memory.
    """
    import pyarrow
    from pyarrow import parquet

    empty = _empty_columns(records, kind)
    schema = pyarrow.schema([field for field in _arrow_schema(kind) if field.name not in empty])
    buffer = io.BytesIO()
    remaining = iter(records)
    with parquet.ParquetWriter(buffer, schema, write_page_checksum=True) as writer:
        rows = _next_table(remaining, schema, kind)
        writer.write_table(rows)
        while rows.num_rows == ROWS_PER_GROUP and (rows := _next_table(remaining, schema, kind)).num_rows:
            writer.write_table(rows)
    content = buffer.getvalue()
    # A repair that changes nothing in a table leaves its file alone.
    if store.size_bytes(name) != len(content) or store.read(name, most_bytes=len(content)) != content:
        store.publish(name, content)
    return hashlib.sha256(content).hexdigest()


def _empty_columns(records: Collection[Any], kind: Any) -> set[str]:
    """Return the optional columns without any value, which are left out.

    So tables of clips that an earlier version made stay as they are.
    """
    hints = get_type_hints(kind)
    empty = {each for each in hints if _is_optional(hints[each])}
    for record in records:
        if not empty:
            break
        empty -= {each for each in empty if getattr(record, each) is not None}
    return empty


def _next_table(records: Iterator[Any], schema: Any, kind: Any) -> Any:
    """Return the next rows, at most ROWS_PER_GROUP, as one chunk: the bytes of a table depend on chunks."""
    import pyarrow

    places = [kind._fields.index(name) for name in schema.names]
    parts = [schema.empty_table()]
    count = 0
    while count < ROWS_PER_GROUP:
        rows = list(itertools.islice(records, min(_ROWS_AT_ONCE, ROWS_PER_GROUP - count)))
        if not rows:
            break
        columns = list(zip(*rows, strict=True))
        parts.append(pyarrow.table([list(columns[place]) for place in places], schema=schema))
        count += len(rows)
    return pyarrow.concat_tables(parts).combine_chunks()


def read_table(
    store: Store, name: str, kind: Any, wanted: Sequence[str] | None = None
) -> dict[str, list[Any]]:
    """Return the `wanted` columns of a table, or all in the order of the fields of `kind`."""
    import pyarrow
    from pyarrow import parquet

    where = store.where(name)
    try:
        content = store.read(name, most_bytes=MOST_TABLE_BYTES)
    except FileNotFoundError:
        raise InputError(f"{where} is missing; make the directory again with `stgcma preprocess`") from None
    names = list(get_type_hints(kind))
    try:
        paths = check_table(content, names, bytes_a_row=_LEAST_ROW_BYTES[name])
        # A checksum of its pages does not cover its footer: `stgcma shards verify` compares the whole file.
        # No threads: an Arrow thread that holds `content` when the interpreter ends aborts the process.
        # Texts stay encoded as a dictionary: a few bytes can repeat a long text in every row.
        file = parquet.ParquetFile(
            pyarrow.BufferReader(content),
            page_checksum_verification=True,
            pre_buffer=False,
            read_dictionary=[path for path in _text_columns(kind) if path in paths],
            thrift_string_size_limit=MOST_FOOTER_BYTES,
            thrift_container_size_limit=10_000,
        )
        # A column that has a default was added later: earlier versions wrote tables without it.
        absent = set(names) - set(file.schema_arrow.names)
        if missing := sorted(absent - kind._field_defaults.keys()):
            raise InputError(f"{where} lacks the columns {', '.join(missing)}")
        names = names if wanted is None else list(wanted)
        there = [each for each in names if each not in absent]
        _check_types(file.schema_arrow, there, kind)
        rows = file.metadata.num_rows
        columns: dict[str, list[Any]] = {each: [] for each in there}
        # Group by group: Arrow cannot read lists of texts as several chunks. An empty table has no pages.
        hints = get_type_hints(kind)
        for group in range(file.metadata.num_row_groups if rows else 0):
            table = file.read_row_group(group, columns=there, use_threads=False)
            table.validate(full=True)
            for each in there:
                columns[each] += _values(table.column(each), optional=_is_optional(hints[each]))
        columns = {each: columns.get(each, [kind._field_defaults.get(each)] * rows) for each in names}
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, KeyError, TableError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise InputError(f"{where} cannot be read: {reason}") from None
    if name == MANIFEST_FILE:
        _check_rows(columns, where)
    return columns


def _text_columns(kind: Any) -> list[str]:
    """Return Parquet's names of the columns of texts."""
    paths = {str: "{}", tuple[str, ...]: "{}.list.element"}
    return [paths[each].format(name) for name, each in get_type_hints(kind).items() if each in paths]


def _check_types(found: Any, names: Sequence[str], kind: Any) -> None:
    """Raise TableError when a column has another type than the writer's."""
    import pyarrow

    words = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    read_as = {pyarrow.string(): words, pyarrow.list_(pyarrow.string()): pyarrow.list_(words)}
    for name in names:
        written = _arrow_schema(kind).field(name).type
        actual = found.field(name).type
        if actual != read_as.get(written, written):
            raise TableError(f"column {name} is {str(actual)[:100]}, expected {written}")


def _values(column: Any, *, optional: bool) -> list[Any]:
    """Return a column's values as Python objects; equal texts are one object."""
    import pyarrow

    values: list[Any] = []
    for chunk in column.chunks:
        if chunk.null_count and not optional:
            raise TableError("it has rows without a value")
        if pyarrow.types.is_list(chunk.type):
            items = _values(pyarrow.chunked_array([chunk.values]), optional=False)
            values += [
                tuple(items[begin:end]) for begin, end in itertools.pairwise(chunk.offsets.to_pylist())
            ]
        elif pyarrow.types.is_dictionary(chunk.type):
            words = chunk.dictionary.to_pylist()
            values += map(words.__getitem__, chunk.indices.to_pylist())
        else:
            values += chunk.to_pylist()
    return values


def _check_rows(columns: dict[str, list[Any]], where: str) -> None:
    """Raise InputError when a row of the manifest has an invalid shard name, size or number."""
    for name in set(columns.get("shard", ())):
        if not is_shard_name(name):
            raise InputError(f"{where} names the shard {name[:100]!r}, expected a name like train-000000.tar")
    sizes = columns.get("bytes", ())
    for size in (min(sizes, default=1), max(sizes, default=1)):
        if not 0 < size <= MOST_CLIP_BYTES:
            raise InputError(f"{where} has a clip of {size} bytes, expected 1 to {MOST_CLIP_BYTES}")
    lists = [columns[name] for name in _SOURCES if name in columns]
    for row in zip(*lists, strict=True):
        if len(set(map(len, row))) > 1:
            raise InputError(f"{where} has a clip whose {', '.join(_SOURCES)} differ in length")
    for name in _NUMBERS:
        if not all(map(math.isfinite, filter(None, columns.get(name, ())))):
            raise InputError(f"{where} has {name} that is not a finite number")
