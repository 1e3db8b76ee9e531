"""Numbers as they are written down."""

from __future__ import annotations

from typing import Any

_DIGITS = 6


def rounded(content: Any) -> Any:
    """`content`, made of dicts and sequences, with all its floats rounded to six digits."""
    if isinstance(content, float):
        return round(content, _DIGITS)
    if isinstance(content, dict):
        return {name: rounded(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [rounded(value) for value in content]
    return content


def clock(seconds: float) -> str:
    """A moment for a person: `1:05`, from an hour on `1:00:05`; seconds are cut, not rounded."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def percent(share: float) -> str:
    """A share for a person: `97 %`; what is not nothing and not all does not look like it."""
    number = f"{100 * share:.0f}"
    if number == "100" and share < 1:
        number = ">99"
    elif number == "0" and share > 0:
        number = "<1"
    return f"{number} %"
