"""The output folder while it is being made: one writer, a plan it must agree with, shards finished so far.

Until `dataset.json` is there, `OUT/.progress/` holds `plan.json` and a file per finished shard. A run that is
stopped, however, is continued by the same command: finished shards are kept, the others made again.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, StgcmaError
from ..shards.files import publish, sync_folder
from ..shards.manifest import read_dataset
from ..shards.schema import (
    DATASET_FILE,
    MANIFEST_FILE,
    QUARANTINE_FILE,
    SHARD_FOLDER,
    ClipRecord,
    QuarantineRecord,
    canonical_json,
    shard_name,
)

PROGRESS_FOLDER = ".progress"
_LOCK_FILE = ".lock"
_OURS = (DATASET_FILE, MANIFEST_FILE, QUARANTINE_FILE, SHARD_FOLDER, PROGRESS_FOLDER, _LOCK_FILE)


@dataclass(frozen=True)
class ShardResult:
    """What became of the clips of one shard.

    `sums` maps an fbank's name to (sum, sum of squares, count) over the written clips.
    """

    split: str
    index: int
    written: tuple[ClipRecord, ...]
    quarantined: tuple[QuarantineRecord, ...]
    sums: dict[str, tuple[float, float, int]]

    @property
    def name(self) -> str:
        """The shard's file name."""
        return shard_name(self.split, self.index)

    def to_json(self) -> dict[str, Any]:
        """The content of the shard's progress file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ShardResult:
        """Reads what `to_json` wrote."""
        return cls(
            split=content["split"],
            index=content["index"],
            written=tuple(
                ClipRecord(**{**row, "warnings": tuple(row["warnings"])}) for row in content["written"]
            ),
            quarantined=tuple(QuarantineRecord(**row) for row in content["quarantined"]),
            sums={name: (sums[0], sums[1], sums[2]) for name, sums in content["sums"].items()},
        )


class OutputFolder:
    """A shard directory in the making; use `open_output` to get one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shards = path / SHARD_FOLDER
        self._progress = path / PROGRESS_FOLDER

    def is_complete(self) -> bool:
        """Whether the directory is finished."""
        return (self.path / DATASET_FILE).is_file()

    def begin(self, plan: dict[str, Any], *, overwrite: bool) -> None:
        """Starts or continues the run that `plan` describes.

        Raises InputError naming what differs when the folder holds the result of another plan.
        """
        if overwrite:
            self._clear()
        elif self.is_complete():
            self._check_same(_plan_of(self.path), plan)
        elif (self._progress / "plan.json").is_file():
            self._check_same(json.loads((self._progress / "plan.json").read_bytes()), plan)
        if not self.is_complete():
            self.shards.mkdir(exist_ok=True)
            self._progress.mkdir(exist_ok=True)
            publish(self._progress / "plan.json", canonical_json(plan))

    def finished(self, split: str, index: int) -> ShardResult | None:
        """What a shard came to, if it was finished before."""
        path = self._progress_file(split, index)
        return ShardResult.from_json(json.loads(path.read_bytes())) if path.is_file() else None

    def record(self, result: ShardResult) -> None:
        """Notes that a shard is finished. Its tar is in place by then."""
        publish(self._progress_file(result.split, result.index), canonical_json(result.to_json()))

    def end(self) -> None:
        """Removes the traces of the making. Does nothing where there are none."""
        for stray in self.shards.glob(".*.partial"):
            stray.unlink()
        if self._progress.exists():
            shutil.rmtree(self._progress)
            sync_folder(self.path)

    def _progress_file(self, split: str, index: int) -> Path:
        return self._progress / f"{shard_name(split, index)}.json"

    def _check_same(self, existing: dict[str, Any], plan: dict[str, Any]) -> None:
        if differences := list(_differences(existing, plan)):
            raise InputError(
                f"{self.path} holds shards of another kind: {'; '.join(differences)}; "
                "choose another OUT, or --overwrite to start anew"
            )

    def _clear(self) -> None:
        (self.path / DATASET_FILE).unlink(missing_ok=True)
        for name in (MANIFEST_FILE, QUARANTINE_FILE):
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.shards, self._progress):
            if folder.exists():
                shutil.rmtree(folder)


@contextmanager
def open_output(path: Path) -> Iterator[OutputFolder]:
    """Opens `path` for writing shards, made when missing; at most one process at a time has it open.

    Raises InputError when it is not a folder, holds foreign files, or another process works on it. A lock
    whose process is gone does not count.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"OUT {path} is a file, a folder is needed")
    foreign = (
        sorted(entry.name for entry in path.iterdir() if entry.name not in _OURS) if path.is_dir() else []
    )
    if foreign and not (path / DATASET_FILE).exists():
        raise InputError(f"OUT {path} holds other files ({foreign[0]}, …); choose an empty or new folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StgcmaError(f"OUT {path} cannot be made: {error.strerror}") from None
    lock = path / _LOCK_FILE
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"OUT {path} is being written by another process; wait for it or choose another"
            ) from None
        stream.write(str(os.getpid()))
        stream.flush()
        try:
            yield OutputFolder(path)
        finally:
            lock.unlink(missing_ok=True)


def _plan_of(path: Path) -> dict[str, Any]:
    """The plan that made a finished directory."""
    info = read_dataset(path)
    return make_plan(info.name, info.features, info.plan_sha256, info.versions)


def make_plan(
    name: str, features: dict[str, Any], plan_sha256: str, versions: dict[str, str]
) -> dict[str, Any]:
    """What must be the same for two runs to work on one folder."""
    tools = {tool: version for tool, version in versions.items() if tool != "stgcma"}
    return {"collection": name, "features": features, "clips": plan_sha256, "versions": tools}


def _differences(existing: Any, wanted: Any, where: str = "") -> Iterator[str]:
    if isinstance(existing, dict) and isinstance(wanted, dict):
        for key in sorted(existing.keys() | wanted.keys()):
            yield from _differences(existing.get(key), wanted.get(key), f"{where}.{key}" if where else key)
    elif existing != wanted:
        if where == "clips":
            yield "the list of clips or their labels changed"
        else:
            yield f"{where} is {existing!r} there, {wanted!r} here"
