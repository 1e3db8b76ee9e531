"""Long lists of rows and of clips in little memory: in blocks, each pickled and compressed.

A clip specification takes some 500 bytes, packed some 20; a million of them fit into the memory of a small
machine. Packing and unpacking a row takes a few microseconds.
"""

from __future__ import annotations

import io
import itertools
import operator
import pickle
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

Row = TypeVar("Row")
Value = TypeVar("Value")

_ROWS_PER_BLOCK = 256
_LEVEL = 1  # of compression; higher ones are slower and save little


class PackedRows(Sequence[Row], Generic[Row]):
    """A sequence of tuples that is appended to and read; `make` turns the tuple of values into a row.

    Reading in order unpacks every block once.

    Attributes:
        values_of: returns the values that are packed for a row.
    """

    # The bytes were packed by this process, unless they were stored.
    _loads: Callable[[bytes], list[tuple[Any, ...]]] = staticmethod(pickle.loads)
    values_of: Callable[[Row], tuple[Any, ...]] = staticmethod(tuple)  # type: ignore[assignment]

    def __init__(
        self,
        rows: Iterable[Row] = (),
        *,
        make: Callable[[tuple[Any, ...]], Row],
        rows_per_block: int = _ROWS_PER_BLOCK,
    ) -> None:
        self._make = make
        self._rows_per_block = rows_per_block
        self._blocks: list[bytes] = []
        self._starts: list[int] = []  # number of the first row of each block
        self._packed = 0
        self._open: list[tuple[Any, ...]] = []
        self._last: tuple[int, list[tuple[Any, ...]]] = (-1, [])
        self._remembered: dict[str, tuple[int, Any]] = {}  # each with the number of rows that it is of
        self.extend(rows)

    def append(self, row: Row) -> None:
        """Add a row at the end."""
        self.append_values(self.values_of(row))

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows at the end."""
        self.extend_values(map(self.values_of, rows))

    def append_values(self, values: tuple[Any, ...]) -> None:
        """Add a row, given as the values that are packed for it."""
        self._open.append(values)
        if len(self._open) == self._rows_per_block:
            self.close()

    def extend_values(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows, each given as the values that are packed for it."""
        remaining = iter(rows)
        # In blocks: a call for each of a million rows takes as long as packing them.
        while block := list(itertools.islice(remaining, self._rows_per_block - len(self._open))):
            self._open += block
            if len(self._open) == self._rows_per_block:
                self.close()

    def close(self) -> None:
        """Pack the rows that are not packed yet because they do not fill a block."""
        if self._open:
            self._starts.append(self._packed)
            self._blocks.append(zlib.compress(pickle.dumps(self._open, pickle.HIGHEST_PROTOCOL), _LEVEL))
            self._packed += len(self._open)
            self._open = []

    def _block(self, number: int) -> list[tuple[Any, ...]]:
        if number == len(self._blocks):
            return self._open
        at, values = self._last
        if at != number:
            values = self._loads(zlib.decompress(self._blocks[number]))
            self._last = (number, values)
        return values

    def values(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield the values of the rows `[start, stop)`."""
        stop = len(self) if stop is None else min(stop, len(self))
        while start < stop:
            number = bisect_right(self._starts, start) - 1
            if start >= self._packed:
                number = len(self._blocks)
            first = self._packed if number == len(self._blocks) else self._starts[number]
            block = self._block(number)
            chosen = block[start - first : stop - first]
            yield from chosen
            start += len(chosen)

    def remembered(self, name: str, make: Callable[[], Value]) -> Value:
        """Return a value that follows from the rows, made anew when rows were added."""
        count, value = self._remembered.get(name, (-1, None))
        if count != len(self):
            value = make()
            self._remembered[name] = (len(self), value)
        return cast("Value", value)

    def stored(self, names: Iterable[str]) -> tuple[dict[str, Any], list[bytes]]:
        """Return everything that `restore` needs: values for JSON, those `remembered` as `names`, and blocks.

        Raises ValueError when a row holds other than plain values.
        """
        self.close()
        for block in self._blocks:
            plain_loads(zlib.decompress(block))
        known = {name: self._remembered[name][1] for name in names}
        return {"starts": self._starts, "rows": self._packed, "known": known}, self._blocks

    def restore(self, content: Mapping[str, Any], blocks: list[bytes]) -> None:
        """Make an empty list that of `stored`. Rows hold plain values: nothing else in blocks is made."""
        self._loads = plain_loads
        self._starts, self._packed, self._blocks = list(content["starts"]), int(content["rows"]), blocks
        self._remembered = {name: (self._packed, value) for name, value in content["known"].items()}

    def chosen(self, places: Sequence[int]) -> Iterator[Row]:
        """Yield the rows at `places`, in that order; all rows are held while the places are not ascending."""
        ascending = all(map(operator.le, places, places[1:]))
        rows = self if ascending else list(self)
        return (rows[place] for place in places)

    def __len__(self) -> int:
        return self._packed + len(self._open)

    def __iter__(self) -> Iterator[Row]:
        return map(self._make, self.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return [self[each] for each in range(start, stop, step)]
            return PackedSlice(self, start, max(start, stop))
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self._make(next(self.values(place, place + 1)))


class _PlainUnpickler(pickle.Unpickler):
    """Makes tuples, lists, dicts, numbers and texts, and no object of a class."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def plain_loads(content: bytes) -> list[tuple[Any, ...]]:
    """Return pickled rows of plain values. Raises ValueError for others, and for damage."""
    try:
        rows: list[tuple[Any, ...]] = _PlainUnpickler(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"not packed rows: {error}") from None
    return rows


class PackedSlice(Sequence[Row], Generic[Row]):
    """The rows `[start, stop)` of a packed sequence; pickled as a tuple of these rows alone."""

    def __init__(self, rows: PackedRows[Row], start: int, stop: int) -> None:
        self._rows, self._start, self._stop = rows, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[Row]:
        return map(self._rows._make, self._rows.values(self._start, self._stop))

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        chosen = range(self._start, self._stop)[index]
        if isinstance(chosen, int):
            return self._rows[chosen]
        return [self._rows[each] for each in chosen]

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (list(self),)


class HashList:
    """64-bit hashes of values, to find out cheaply whether any of a million values occurs twice."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, value: Hashable) -> None:
        """Add a value."""
        self._hashes.append(hash(value))

    def add_all(self, values: Iterable[Hashable]) -> None:
        """Add values."""
        self._hashes.extend(map(hash, values))

    def extend(self, other: HashList) -> None:
        """Add the values of another list."""
        self._hashes.extend(other._hashes)

    def repeated(self) -> set[int]:
        """Return the hashes that occur more than once."""
        found, counts = np.unique(self._array(), return_counts=True)
        return set(found[counts > 1].tolist())

    def _array(self) -> npt.NDArray[np.int64]:
        return np.frombuffer(self._hashes, dtype=np.int64) if self._hashes else np.zeros(0, np.int64)

    def all_different(self) -> bool:
        """Return True when no value occurs twice. Very rarely it is False for values that differ."""
        return len(np.unique(self._array())) == len(self._hashes)
