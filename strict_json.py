"""JSON as in RFC 8259: numbers that are not finite, which it does not allow, become null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def strict_json(content: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Return `content` as JSON text, with null for every NaN and infinity.

    Python's own `json` writes `NaN` and `Infinity`, which other readers reject.

    >>> strict_json({"loss": float("inf"), "scores": (0.5, float("nan"))})
    '{"loss": null, "scores": [0.5, null]}'
    """
    finite = _finite(content)
    return json.dumps(finite, indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
