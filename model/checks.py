"""Checks of a configuration's fields. Each raises InputError naming the field, its value, what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import InputError


def is_integer(value: object) -> bool:
    """Return whether `value` is an integer; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Return whether `value` is an integer or a float; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_integer(name: str, value: Any, *, most: int) -> None:
    """Refuse all but integers from 1 to `most`."""
    if not is_integer(value) or value < 1:
        raise InputError(f"{name}: {value!r}, expected a positive integer")
    if value > most:
        raise InputError(f"{name}: {value}, expected at most {most}")


def check_number(name: str, value: Any, *, below: float) -> None:
    """Refuse all but numbers in [0, below)."""
    if not isinstance(value, int | float) or not 0 <= value < below:
        raise InputError(f"{name}: {value!r}, expected a number of at least 0 and below {below}")


def check_flag(name: str, value: Any) -> None:
    """Refuse all but true and false."""
    if not isinstance(value, bool):
        raise InputError(f"{name}: {value!r}, expected true or false")


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse all but the allowed texts."""
    if value not in allowed:
        raise InputError(f"{name}: {value!r}, expected one of {', '.join(allowed)}")


def integers(name: str, value: Any, *, most: int) -> tuple[int, ...]:
    """Return one integer or a sequence of them, each from 1 to `most`, as a tuple."""
    items = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not items or any(not is_integer(item) or item < 1 for item in items):
        raise InputError(f"{name}: {value!r}, expected positive integers")
    if max(items) > most:
        raise InputError(f"{name}: {value!r}, expected at most {most}")
    return items


def numbers(name: str, value: Any, *, count: int) -> tuple[float, ...]:
    """Return a sequence of `count` finite numbers as a tuple of floats."""
    items = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(items) != count or not all(is_number(item) and math.isfinite(item) for item in items):
        raise InputError(f"{name}: {value!r}, expected {count} numbers")
    return tuple(float(item) for item in items)
