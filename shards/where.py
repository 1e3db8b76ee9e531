"""Conditions on the columns of the manifest, such as `motion > 0.02 and loudness_db > -50`.

A condition is parsed by Python's grammar and translated node by node into Arrow's functions; nothing of it is
evaluated as Python. As in SQL, a comparison with a value that is not there is neither true nor false, and a
clip is selected where the whole condition is true.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, get_args, get_type_hints

from ..errors import InputError, StgcmaError
from .manifest import read_columns
from .schema import ClipRecord
from .storage import Location

_MOST_CHARACTERS = 2000


def _kind(hint: Any) -> type | None:
    """Return the type of a column's values; None for lists."""
    kinds = set(get_args(hint)) - {type(None)} if isinstance(hint, types.UnionType) else {hint}
    kind: type = kinds.pop()
    return kind if kind in (str, int, float, bool) else None


COLUMNS = {name: kind for name, hint in get_type_hints(ClipRecord).items() if (kind := _kind(hint))}
"""The columns that a condition can name, with the types of their values."""

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
# The other way round: `0.1 < motion` is `motion > 0.1`.
_MIRRORED = {
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}
_LITERALS = {"true": True, "false": False}


@dataclass(frozen=True)
class Selection:
    """The clips that a condition selects.

    Attributes:
        selected: of each row, whether it is selected.
        unknown: number of rows that lack a value of a column that the condition names, apart from `is null`.
    """

    selected: list[bool]
    unknown: int


class Where:
    """A parsed condition. Raises InputError, naming the part at fault, for what is no condition.

    Attributes:
        text: the condition.
        names: the columns that it names.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > _MOST_CHARACTERS:
            raise InputError(f"where has {len(text)} characters, at most {_MOST_CHARACTERS} are read")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            what = error.msg if isinstance(error, SyntaxError) else str(error)
            raise InputError(
                f"where is {text[:200]!r}, which is no condition ({what}); "
                "write for instance motion > 0.02 and loudness_db > -50"
            ) from None
        named = dict.fromkeys(
            node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name) and node.id in COLUMNS
        )
        self.names = tuple(named)
        # Finds every fault before data are read.
        self.evaluate({name: _arrow([], COLUMNS[name]) for name in self.names})

    def evaluate(self, columns: Mapping[str, Any]) -> Any:
        """Return an Arrow array of truth values, null where unknown, given Arrow arrays of the columns."""
        try:
            return _Evaluation(self.text, columns).condition(self._tree)
        except RecursionError:
            raise InputError(f"where is {self.text[:60]!r}…, which is nested too deeply") from None

    def select(
        self, location: Location, *, split: str | None = None, keys: Sequence[str] | None = None
    ) -> Selection:
        """Apply the condition to the manifest of a shard directory, to one `split` or all clips.

        `keys` are those of the clips, where the manifest was read before.

        Raises InputError for a column that no clip has a value in, and for a damaged manifest; StgcmaError
        when its clips are no longer those of `keys`.
        """
        names = (*self.names, "key")
        values = dict(zip(names, read_columns(location, names, split=split), strict=True))
        rows = len(values["key"])
        if keys is not None and list(keys) != list(values["key"]):
            raise StgcmaError(f"{location}: the manifest was written while it was read; try again")
        null_tests = _null_tests(self._tree)
        unknown = [False] * rows
        for name in set(self.names) - null_tests:
            missing = [value is None for value in values[name]]
            if rows and all(missing):
                raise InputError(
                    f"no clip of {location} has {name}: an earlier version of stgcma made them, or they are "
                    "too short for it"
                )
            unknown = [one or other for one, other in zip(unknown, missing, strict=True)]
        columns = {name: _arrow(values[name], COLUMNS[name]) for name in self.names}
        return Selection([value is True for value in self.evaluate(columns).to_pylist()], sum(unknown))


def _null_tests(tree: ast.expr) -> set[str]:
    """Return the columns that `is null` or `is not null` tests."""
    return {
        node.left.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Name)
        and isinstance(node.ops[0], ast.Is | ast.IsNot)
    }


def _arrow(values: Sequence[Any], kind: type) -> Any:
    """Return values as an Arrow array; texts as a dictionary, since a long one may be in every row."""
    import pyarrow

    if kind is not str:
        types = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
        return pyarrow.array(values, types[kind])
    words = {word: index for index, word in enumerate(dict.fromkeys(values))}
    indices = pyarrow.array([words[value] for value in values], pyarrow.int32())
    return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(list(words), pyarrow.string()))


class _Evaluation:
    """Translates a condition into Arrow's functions on `columns`."""

    def __init__(self, text: str, columns: Mapping[str, Any]) -> None:
        self._text, self._columns = text, columns

    def condition(self, node: ast.expr) -> Any:
        """Return the truth values of a condition."""
        from pyarrow import compute

        if isinstance(node, ast.BoolOp):
            join = compute.and_kleene if isinstance(node.op, ast.And) else compute.or_kleene
            return reduce(join, map(self.condition, node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return compute.invert(self.condition(node.operand))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            parts = [
                self._comparison(left, operator, right)
                for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
            ]
            return reduce(compute.and_kleene, parts)
        if isinstance(node, ast.Name) and COLUMNS.get(node.id) is bool:
            return self._columns[node.id]
        if isinstance(node, ast.Name):
            self._column(node)
        raise self._fault(node, "is no condition; compare a column, such as motion > 0.02")

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Any:
        from pyarrow import compute

        if isinstance(operator, ast.Is | ast.IsNot):
            column = self._columns[self._column(left)]
            if not (isinstance(right, ast.Name) and right.id == "null") and not _is_none(right):
                raise self._fault(right, "must be null after `is`; compare values with ==")
            nulls = compute.is_null(column)
            return nulls if isinstance(operator, ast.Is) else compute.invert(nulls)
        if isinstance(operator, ast.In | ast.NotIn):
            name = self._column(left)
            if not isinstance(right, ast.Tuple | ast.List) or not right.elts:
                raise self._fault(right, "must be a list of values, such as ('train', 'val')")
            found = reduce(
                compute.or_kleene, [self._compare("equal", name, self._value(e, name)) for e in right.elts]
            )
            return found if isinstance(operator, ast.In) else compute.invert(found)
        function = _COMPARISONS[type(operator)]
        if not _is_column(left) and _is_column(right):
            left, right, function = right, left, _MIRRORED.get(function, function)
        name = self._column(left)
        if _is_column(right):
            raise self._fault(right, "is a column as well; compare a column with a value")
        value = self._value(right, name)
        if COLUMNS[name] is bool and function not in ("equal", "not_equal"):
            raise self._fault(left, "is true or false, and cannot be smaller or greater")
        return self._compare(function, name, value)

    def _compare(self, function: str, name: str, value: Any) -> Any:
        from pyarrow import compute

        column = self._columns[name]
        if COLUMNS[name] is str:
            return getattr(compute, function)(column.dictionary, value).take(column.indices)
        return getattr(compute, function)(column, value)

    def _column(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Name):
            raise self._fault(node, "is no column")
        if node.id not in COLUMNS:
            near = difflib.get_close_matches(node.id, COLUMNS, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            columns = ", ".join(COLUMNS)
            raise self._fault(node, f"is no column of the manifest{hint} The columns: {columns}")
        return node.id

    def _value(self, node: ast.expr, name: str) -> Any:
        """Return the value that the column `name` is compared with."""
        kind, sign = COLUMNS[name], 1
        where = node
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            sign, node = (-1 if isinstance(node.op, ast.USub) else 1), node.operand
        value: Any = node.value if isinstance(node, ast.Constant) else None
        if isinstance(node, ast.Name):
            value = _LITERALS.get(node.id)
        if kind is bool and isinstance(value, bool) and where is node:
            return value
        if kind is str and isinstance(value, str) and where is node:
            if any("\ud800" <= each <= "\udfff" for each in value):
                raise self._fault(where, "is no text: it has half of a surrogate pair")
            return value
        if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):
                return float(sign * value)
            raise self._fault(where, "is too large a number")
        wanted = {str: "a text in quotes", bool: "true or false"}.get(kind, "a number")
        raise self._fault(where, f"cannot be compared with {name}, whose values need {wanted}")

    def _fault(self, node: ast.expr, what: str) -> InputError:
        part = ast.get_source_segment(self._text.strip(), node) or ast.unparse(node)
        return InputError(f"where is {self._text[:200]!r}: {part[:60]} {what}")


def _is_column(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id not in _LITERALS


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
