"""Result of making one shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...shards.additions import Sums
from ...shards.schema import ClipRecord, QuarantineRecord, shard_name
from ...shards.writer import end_of_archive
from ..collections.packed import PackedRows


@dataclass(frozen=True)
class ShardResult:
    """Rows of the two tables for the clips of one shard.

    Attributes:
        split, index: of the shard.
        written: rows of the manifest.
        quarantined: rows of the quarantine.
        sums: fbank name to (sum, sum of squares, count) over the values of the written clips.
    """

    split: str
    index: int
    written: Sequence[ClipRecord]
    quarantined: tuple[QuarantineRecord, ...]
    sums: dict[str, Sums]

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.split, self.index)

    def packed(self) -> ShardResult:
        """Return the same with rows that take little memory, for a million of them."""
        if isinstance(self.written, PackedRows):
            return self
        rows = PackedRows(self.written, make=ClipRecord._make)
        rows.close()
        return replace(self, written=rows)

    @property
    def bytes(self) -> int | None:
        """Size of the shard's file; None when all clips failed and there is no file."""
        size = sum(record.bytes for record in self.written)
        return size + len(end_of_archive(size)) if self.written else None

    def to_json(self) -> dict[str, Any]:
        """Return the content of the shard's progress file: the manifest's rows in columns."""
        columns = zip(*self.written, strict=True) if self.written else ([] for _ in ClipRecord._fields)
        return {
            "split": self.split,
            "index": self.index,
            "columns": dict(zip(ClipRecord._fields, columns, strict=True)),
            "quarantined": [record._asdict() for record in self.quarantined],
            "sums": self.sums,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ShardResult:
        """Read the output of `to_json`, of earlier versions too, which wrote the rows one by one."""
        rows = content.get("written")
        return cls(
            split=content["split"],
            index=content["index"],
            written=_of_columns(content["columns"]) if rows is None else tuple(map(clip_record, rows)),
            quarantined=tuple(QuarantineRecord(**row) for row in content["quarantined"]),
            sums={name: (sums[0], sums[1], sums[2]) for name, sums in content["sums"].items()},
        )


def _of_columns(columns: dict[str, list[Any]]) -> tuple[ClipRecord, ...]:
    """Return the rows of the manifest from its columns as JSON has them."""
    values = (columns[name] for name in ClipRecord._fields)
    lists = (map(tuple, each) if each and isinstance(each[0], list) else each for each in values)
    return tuple(map(ClipRecord._make, zip(*lists, strict=True)))


def clip_record(row: dict[str, Any]) -> ClipRecord:
    """Return a row of the manifest from its fields as JSON has them."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
    }
    return ClipRecord(**fields)
