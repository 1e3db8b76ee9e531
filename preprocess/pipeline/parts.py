"""Parts of a directory, made by processes that do not know each other, on any machine and at any time.

Part I of N makes every N-th shard. Each part holds a lock of its own in `OUT/.parts/`; a run of the whole
directory, which may write its tables, excludes all parts.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...shards.additions import ShardRange
from ...shards.files import named_errors
from ...shards.locking import Lock, exclusive
from ...shards.object_lock import LOCK_NAME, first_held
from ...shards.schema import SPLITS
from ...shards.storage import LocalStore, ObjectStore, Store
from .shard_plan import ShardTask

PARTS_FOLDER = ".parts"
_BEGINNING = "beginning"
_NAME = re.compile(rf"{re.escape(PARTS_FOLDER)}/(\d+)-of-(\d+)/{LOCK_NAME.pattern}")
OURS = re.compile(rf"(?:(?:\d+-of-\d+|{_BEGINNING})/(?:{LOCK_NAME.pattern})?)?")
"""Names below `.parts/`."""
_PATIENCE_SECONDS = 0.05
_TRIES = 20


@dataclass(frozen=True)
class Part:
    """Part `number`, from 1, `of` as many.

    Raises InputError for a number outside 1 to `of`.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise InputError(f"part is {self}, must be I/N with 1 ≤ I ≤ N")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def folder(self) -> str:
        """The folder of its lock."""
        return f"{PARTS_FOLDER}/{self.number:05d}-of-{self.of:05d}"

    def has(self, split: str, index: int, ends: Mapping[str, int]) -> bool:
        """Tell whether a shard is one of the part's; see `part_number`."""
        return part_number(split, index, ends, self.of) == self.number

    def share(self, tasks: Sequence[ShardTask], ends: Mapping[str, int]) -> tuple[ShardTask, ...]:
        """Return those of `tasks` that the part makes."""
        return tuple(task for task in tasks if self.has(task.split, task.index, ends))


def part_number(split: str, index: int, ends: Mapping[str, int], of: int) -> int:
    """Return the number of the part, from 1, that makes a shard.

    `ends` has the number of planned shards of each split: the shards of all splits are dealt out in turn.
    """
    before = sum(ends.get(each, 0) for each in SPLITS[: SPLITS.index(split)])
    return (before + index) % of + 1


def shard_ends(ranges: Sequence[Mapping[str, ShardRange]]) -> dict[str, int]:
    """Return the first index behind the planned shards of each split, of all additions."""
    return {split: max((each[split].end for each in ranges if split in each), default=0) for split in SPLITS}


@contextmanager
def locked_part(store: Store, part: Part) -> Iterator[Lock]:
    """Hold the lock of a part. Raises InputError when another process makes the same part."""
    for _ in range(_TRIES):  # another process may be testing whether the part is being made
        try:
            with _locked(store, part.folder) as lock:
                yield lock
                return
        except _BusyError:
            time.sleep(_PATIENCE_SECONDS)
    raise InputError(f"part {part} of {store} is being made by another process; wait for it")


@contextmanager
def beginning(store: Store, part: Part) -> Iterator[None]:
    """Wait until no other part begins its work, and check that only parts of as many work on the directory.

    Raises InputError when a run of the whole directory or a part of another number of parts is at work.
    """
    while True:
        try:
            with _locked(store, f"{PARTS_FOLDER}/{_BEGINNING}"):
                with exclusive(store):
                    pass
                if other := _live(store, other_than=part.of):
                    raise InputError(
                        f"part {other} of {store} is being made, and this is part {part}: the shares of "
                        "different divisions overlap; wait for it"
                    )
                yield
                return
        except _BusyError:
            time.sleep(_PATIENCE_SECONDS)


def check_no_parts(store: Store) -> None:
    """Raise InputError when a part is being made."""
    if live := _live(store):
        raise InputError(f"part {live} of {store} is being made by another process; wait for it")


class _BusyError(InputError):
    """A lock is held by another process."""


@contextmanager
def _locked(store: Store, folder: str) -> Iterator[Lock]:
    """Hold the lock in `folder`. Raises _BusyError when another process has it."""
    inner = store.folder(folder)
    with ExitStack() as held:
        try:
            if isinstance(inner, LocalStore):
                with named_errors(inner.path):
                    inner.path.mkdir(parents=True, exist_ok=True)
                held.callback(_remove_empty, inner.path)
            lock = held.enter_context(exclusive(inner))
        except (InputError, FileNotFoundError):  # or the former owner removes its folder
            raise _BusyError(str(inner)) from None
        yield lock


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a lock, and `.parts/`, unless there is another lock in them."""
    with contextlib.suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()


def _live(store: Store, *, other_than: int = 0) -> Part | None:
    """Return a part that is being made, except those of the number of parts `other_than`; None without any.

    The locks of parts that were killed are removed.
    """
    found = filter(None, map(_NAME.fullmatch, store.names()))
    parts = dict.fromkeys(Part(int(match[1]), int(match[2])) for match in found)
    others = [part for part in parts if part.of != other_than]
    if isinstance(store, ObjectStore):
        folders = {part: store.folder(part.folder) for part in others}
        held = first_held(folders.values())
        return next((part for part in others if folders[part] is held), None)
    for part in others:
        try:
            with _locked(store, part.folder):
                pass
        except _BusyError:
            return part
    return None
