"""The three files beside the shards: `dataset.json`, `manifest.parquet`, `quarantine.parquet`."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, get_type_hints

from ..errors import InputError
from .schema import (
    DATASET_FILE,
    MANIFEST_FILE,
    QUARANTINE_FILE,
    ClipRecord,
    DatasetInfo,
    QuarantineRecord,
)
from .storage import Location, Store, open_store

_LISTS = ("warnings", "source_files", "source_bytes", "source_sha256")


def write_manifest(folder: Location, records: Sequence[ClipRecord]) -> str:
    """Writes `manifest.parquet`, a row per written clip in the order of the shards. Returns its SHA-256."""
    return _write_table(open_store(folder), MANIFEST_FILE, records, ClipRecord)


def write_quarantine(folder: Location, records: Sequence[QuarantineRecord]) -> str:
    """Writes `quarantine.parquet`, a row per clip that was not written. Returns its SHA-256."""
    return _write_table(open_store(folder), QUARANTINE_FILE, records, QuarantineRecord)


def write_dataset(folder: Location, info: DatasetInfo) -> None:
    """Writes `dataset.json`. It comes last: a folder that has it is complete."""
    open_store(folder).publish(DATASET_FILE, dataset_bytes(info.to_json()))


def dataset_bytes(content: dict[str, Any]) -> bytes:
    """The one way in which `content` is written as `dataset.json`."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def read_dataset(folder: Location) -> DatasetInfo:
    """Reads `dataset.json`. Raises InputError when `folder` is not a finished shard directory."""
    store = open_store(folder)
    try:
        text = store.read(DATASET_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{store} is not a finished shard directory: it has no {DATASET_FILE}; "
            "make one with `stgcma preprocess`"
        ) from None
    where = store.where(DATASET_FILE)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{where} holds a {type(content).__name__}, expected an object")
    return DatasetInfo.from_json(content, where=where)


def read_manifest(folder: Location, *, split: str | None = None) -> list[ClipRecord]:
    """Reads the manifest's rows, those of one `split` or all. Raises InputError when it is damaged."""
    columns = _read_table(open_store(folder), MANIFEST_FILE, ClipRecord)
    for name in _LISTS:
        columns[name] = map(tuple, columns[name])
    records = map(ClipRecord._make, zip(*columns.values(), strict=True))
    return [record for record in records if split in (None, record.split)]


def read_columns(folder: Location, names: Sequence[str], *, split: str | None = None) -> list[list[Any]]:
    """The columns `names` of the manifest's rows, those of one `split` or all.

    Raises InputError when it is damaged.

    Of a hundred thousand clips this takes a fraction of what `read_manifest` takes.
    """
    columns = _read_table(open_store(folder), MANIFEST_FILE, ClipRecord, (*names, "split"))
    if split is None:
        return [list(columns[name]) for name in names]
    kept = [each == split for each in columns["split"]]
    return [list(itertools.compress(columns[name], kept)) for name in names]


def read_quarantine(folder: Location) -> list[QuarantineRecord]:
    """Reads the quarantine's rows. Raises InputError when it is damaged."""
    columns = _read_table(open_store(folder), QUARANTINE_FILE, QuarantineRecord)
    return list(map(QuarantineRecord._make, zip(*columns.values(), strict=True)))


def _arrow_schema(kind: type) -> Any:
    import pyarrow

    types = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
        tuple[str, ...]: pyarrow.list_(pyarrow.string()),
        tuple[int, ...]: pyarrow.list_(pyarrow.int64()),
    }
    return pyarrow.schema(
        [pyarrow.field(name, types[each], nullable=False) for name, each in get_type_hints(kind).items()]
    )


def _write_table(store: Store, name: str, records: Sequence[Any], kind: type) -> str:
    import pyarrow
    from pyarrow import parquet

    columns = {name: [getattr(record, name) for record in records] for name in get_type_hints(kind)}
    buffer = io.BytesIO()
    table = pyarrow.table(columns, schema=_arrow_schema(kind))
    parquet.write_table(table, buffer, write_page_checksum=True)
    content = buffer.getvalue()
    # A repair that changes nothing in a table leaves its file alone.
    if store.size_bytes(name) != len(content) or store.read(name) != content:
        store.publish(name, content)
    return hashlib.sha256(content).hexdigest()


def _read_table(
    store: Store, name: str, kind: Any, wanted: Sequence[str] | None = None
) -> dict[str, Iterable[Any]]:
    """The columns of a table, those that are `wanted` or all.

    All are in the order of the fields of `kind`: records are made of them at once.
    """
    import pyarrow
    from pyarrow import parquet

    where = store.where(name)
    try:
        content = store.read(name)
    except FileNotFoundError:
        raise InputError(f"{where} is missing; make the directory again with `stgcma preprocess`") from None
    names = list(get_type_hints(kind))
    try:
        # A checksum of its pages does not cover its footer: `stgcma shards verify` compares the whole file.
        # No threads: one of Arrow's that still holds `content` as the interpreter ends aborts the process.
        file = parquet.ParquetFile(
            pyarrow.BufferReader(content), page_checksum_verification=True, pre_buffer=False
        )
        # A column that has a default was added later: earlier versions wrote tables without it.
        absent = set(names) - set(file.schema_arrow.names)
        if missing := sorted(absent - kind._field_defaults.keys()):
            raise InputError(f"{where} lacks the columns {', '.join(missing)}")
        names = names if wanted is None else list(wanted)
        table = file.read(columns=[each for each in names if each not in absent], use_threads=False)
        columns: dict[str, Iterable[Any]] = {
            each: itertools.repeat(kind._field_defaults[each], table.num_rows)
            if each in absent
            else table.column(each).to_pylist()
            for each in names
        }
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where} cannot be read: {str(error).splitlines()[0]}") from None
    return columns
