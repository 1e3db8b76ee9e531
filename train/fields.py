"""Fields of JSON files that a run wrote, checked when they are read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..errors import InputError

_MOST_CHARACTERS = 300


def field(content: Mapping[str, Any], name: str, kind: Any) -> Any:
    """Return `content[name]`, checked against the annotation `kind`.

    Raises ValueError naming the field, or the place in it, that is missing or of another type.
    """
    if name not in content:
        raise ValueError(f"{name} is missing")
    try:
        return TypeAdapter(kind).validate_python(content[name], strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, (name, *fault["loc"])))
        message = fault["msg"][:1].lower() + fault["msg"][1:]
        raise ValueError(f"{place}: {message}, got {fault['input']!r}"[:_MOST_CHARACTERS]) from None


@contextmanager
def damage_named(where: object) -> Iterator[None]:
    """Turn a ValueError of a field into an InputError that names the file `where`."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {error}; it is damaged, or not of this version") from None
