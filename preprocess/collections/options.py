"""Options of a collection: fields of a dataclass, from which the command line and the checks follow.

    @dataclass(frozen=True, kw_only=True)
    class Options(CollectionOptions):
        window_seconds: int = option(10, "Length of a window.", minimum=1, maximum=60)

`--window-seconds` is then an option of the commands that preprocess this collection.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ...errors import InputError


@dataclass(frozen=True, kw_only=True)
class OptionFacts:
    """Type, limits and help of one option.

    Attributes:
        kind: `int`, `float` or `str`.
        default: None where it depends on other options.
        help: one sentence.
        minimum, maximum: limits of a number, both included.
        choices: allowed texts; empty for any.
    """

    kind: type[int] | type[float] | type[str]
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        noun = {int: "a whole number", float: "a number", str: "text"}[self.kind]
        if self.minimum is None and self.maximum is None:
            return noun
        if self.maximum is None:
            return f"{noun} from {self.minimum:g}"
        return f"{noun} from {self.minimum or 0:g} to {self.maximum:g}"

    def read(self, value: Any) -> Any:
        """Return `value`, a text or of the right type, as the option's type. Raises ValueError otherwise."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(self.expected)
        if self.kind is int and isinstance(value, float):
            raise ValueError(self.expected)
        found = self.kind(value)
        if isinstance(found, str):
            fits = not self.choices or found in self.choices
        else:
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            fits = low <= found <= high
        if not fits:
            raise ValueError(self.expected)
        return found


def option(
    default: Any,
    help_: str,
    *,
    kind: type[int] | type[float] | type[str] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Return a dataclass field that is an option; `kind` is the type of the default when it is not given."""
    facts = OptionFacts(
        kind=kind or type(default),
        default=default,
        help=help_,
        minimum=minimum,
        maximum=maximum,
        choices=choices,
    )
    return field(default=default, metadata={"option": facts})


@dataclass(frozen=True, kw_only=True)
class CollectionOptions:
    """Base of a collection's options. Raises InputError naming the option for a value that is not allowed."""

    def __post_init__(self) -> None:
        for name, facts in self.facts().items():
            value = getattr(self, name)
            if value is None and facts.default is None:
                continue
            try:
                facts.read(value)
            except ValueError:
                raise InputError(f"{name} is {value!r}, must be {facts.expected}") from None

    @classmethod
    def facts(cls) -> dict[str, OptionFacts]:
        """Return the options by name."""
        return {one.name: one.metadata["option"] for one in dataclasses.fields(cls)}

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return options from `values`, texts or of the right types.

        Raises InputError for an unknown name and for a value that is not allowed.
        """
        known = cls.facts()
        found = {}
        for name, value in values.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
                raise InputError(f"the collection has no option {name!r}; {hint}")
            try:
                found[name] = known[name].read(value)
            except ValueError:
                raise InputError(f"{name} is {value!r}, must be {known[name].expected}") from None
        return cls(**found)

    def to_json(self) -> dict[str, Any]:
        """Return the values as `dataset.json` records them."""
        return dataclasses.asdict(self)
