"""The three files beside the shards: `dataset.json`, `manifest.parquet`, `quarantine.parquet`."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import publish
from .schema import (
    DATASET_FILE,
    MANIFEST_FILE,
    QUARANTINE_FILE,
    ClipRecord,
    DatasetInfo,
    QuarantineRecord,
)


def write_manifest(folder: Path, records: Sequence[ClipRecord]) -> None:
    """Writes `manifest.parquet`, a row per written clip in the order of the shards."""
    _write_table(folder / MANIFEST_FILE, records, ClipRecord)


def write_quarantine(folder: Path, records: Sequence[QuarantineRecord]) -> None:
    """Writes `quarantine.parquet`, a row per clip that was not written."""
    _write_table(folder / QUARANTINE_FILE, records, QuarantineRecord)


def write_dataset(folder: Path, info: DatasetInfo) -> None:
    """Writes `dataset.json`. It comes last: a folder that has it is complete."""
    text = json.dumps(info.to_json(), indent=2, sort_keys=True, ensure_ascii=False)
    publish(folder / DATASET_FILE, text.encode() + b"\n")


def read_dataset(folder: Path) -> DatasetInfo:
    """Reads `dataset.json`. Raises InputError when `folder` is not a finished shard directory."""
    path = folder / DATASET_FILE
    if not path.is_file():
        raise InputError(
            f"{folder} is not a finished shard directory: it has no {DATASET_FILE}; "
            "make one with `stgcma preprocess`"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, expected an object")
    return DatasetInfo.from_json(content, where=str(path))


def read_manifest(folder: Path, *, split: str | None = None) -> list[ClipRecord]:
    """Reads the manifest's rows, those of one `split` or all."""
    rows = _read_table(folder / MANIFEST_FILE, ClipRecord)
    records = [ClipRecord(**{**row, "warnings": tuple(row["warnings"])}) for row in rows]
    return records if split is None else [record for record in records if record.split == split]


def read_quarantine(folder: Path) -> list[QuarantineRecord]:
    """Reads the quarantine's rows."""
    return [QuarantineRecord(**row) for row in _read_table(folder / QUARANTINE_FILE, QuarantineRecord)]


def _arrow_schema(kind: type) -> Any:
    import pyarrow

    types = {
        "str": pyarrow.string(),
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "tuple[str, ...]": pyarrow.list_(pyarrow.string()),
    }
    return pyarrow.schema(
        [
            pyarrow.field(field.name, types[str(field.type)], nullable=False)
            for field in dataclasses.fields(kind)
        ]
    )


def _write_table(path: Path, records: Sequence[Any], kind: type) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = {
        field.name: [getattr(record, field.name) for record in records] for field in dataclasses.fields(kind)
    }
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns, schema=_arrow_schema(kind)), buffer)
    publish(path, buffer.getvalue())


def _read_table(path: Path, kind: type) -> list[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    if not path.is_file():
        raise InputError(f"{path} is missing; make the directory again with `stgcma preprocess`")
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    names = [field.name for field in dataclasses.fields(kind)]
    if missing := sorted(set(names) - set(table.column_names)):
        raise InputError(f"{path} lacks the columns {', '.join(missing)}")
    rows: list[dict[str, Any]] = table.select(names).to_pylist()
    return rows
