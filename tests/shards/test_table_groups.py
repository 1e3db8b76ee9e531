"""Tables that are written group by group: the rows, and for small ones the bytes, are those of one write."""

import hashlib
import io

import pyarrow
import pytest
from pyarrow import parquet
from stgcma.shards import manifest
from stgcma.shards.manifest import read_manifest, write_manifest
from stgcma.shards.schema import ClipRecord


def records(count):
    return [
        ClipRecord(
            key=f"k{number}",
            split="train",
            shard=f"train-{number // 100:06d}.tar",
            bytes=1000 + number % 7,
            sha256=hashlib.sha256(str(number).encode()).hexdigest(),
            source=f"{number}.mp4",
            seconds=10.0,
            fps=25.0,
            has_audio=True,
            decoder="pyav",
            warnings=("a warning",) if number % 5 == 0 else (),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 10_000, 25_000])
def test_small_tables_have_the_bytes_of_one_write(tmp_path, count):
    rows = records(count)
    write_manifest(tmp_path, rows)
    content = (tmp_path / "manifest.parquet").read_bytes()
    there = set(parquet.ParquetFile(io.BytesIO(content)).schema_arrow.names)
    schema = pyarrow.schema([field for field in manifest._arrow_schema(ClipRecord) if field.name in there])
    table = pyarrow.table(
        {name: [getattr(row, name) for row in rows] for name in schema.names}, schema=schema
    )
    expected = io.BytesIO()
    parquet.write_table(table, expected, write_page_checksum=True)
    assert content == expected.getvalue()
    assert read_manifest(tmp_path) == rows


@pytest.mark.parametrize("count", [99, 100, 101, 250])
def test_larger_tables_are_written_in_groups(tmp_path, monkeypatch, count):
    monkeypatch.setattr(manifest, "ROWS_PER_GROUP", 100)
    monkeypatch.setattr(manifest, "_ROWS_AT_ONCE", 30)
    rows = records(count)
    assert write_manifest(tmp_path, rows) == write_manifest(tmp_path, tuple(rows))
    file = parquet.ParquetFile(tmp_path / "manifest.parquet")
    assert file.metadata.num_row_groups == -(-count // 100)
    assert read_manifest(tmp_path) == rows
