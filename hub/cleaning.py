"""Settings and records of a run without the paths of the machine that it was trained on."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

_ABSOLUTE = re.compile(r"(?:~?/|[A-Za-z]:[\\/]|\\\\|file:|local:)")
# AudioSet's names of classes.
_CLASS_ID = re.compile(r"/[mtg]/[0-9a-z_]+")
_PLACES = ("shards",)


def without_paths(content: Any, *, shards: str = "") -> Any:
    """Return parsed JSON or YAML with the last part of each absolute path in its place.

    Args:
        content: the values.
        shards: the public address of the shards, in place of where they were; empty for none.
    """
    if isinstance(content, dict):
        return {
            name: shards
            if name in _PLACES and isinstance(value, str)
            else without_paths(value, shards=shards)
            for name, value in content.items()
        }
    if isinstance(content, list):
        return [without_paths(value, shards=shards) for value in content]
    if isinstance(content, str) and _ABSOLUTE.match(content) and not _CLASS_ID.fullmatch(content):
        return _last_part(content)
    return content


def _last_part(path: str) -> str:
    windows = "\\" in path or (re.match(r"[A-Za-z]:", path) is not None and not path.startswith("file:"))
    return (PureWindowsPath(path) if windows else PurePosixPath(path)).name
