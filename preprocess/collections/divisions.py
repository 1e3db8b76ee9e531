"""Keys and splits of clips that have neither: both follow from a hash of a path or a name.

A clip's key and split do not depend on the machine, the order of the files or a random draw.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import TypeVar

Path = TypeVar("Path", bound=PurePath)


def path_key(path: PurePath) -> str:
    """Return a key for a file: its path, other characters replaced, and a hash that makes it unique."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.with_suffix("").as_posix())
    return f"{name[-60:]}-{_digest(path)[:10]}"


def divided(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return each path with its split.

    Of n paths, n/10 rounded (one at least, when n ≥ 3) go to test and as many to val.
    """
    ranked = sorted(paths, key=_digest)
    share = max(round(len(ranked) / 10), 1) if len(ranked) >= 3 else 0
    splits = ["test"] * share + ["val"] * share
    splits += ["train"] * (len(ranked) - len(splits))
    return list(zip(ranked, splits, strict=True))


def hash_position(name: str) -> float:
    """Return a number in [0, 1) that follows from `name` alone, evenly distributed over different names.

    A name is part of a share s when its number is below s: adding names moves no other.
    """
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:6]) / 2**48


def _digest(path: PurePath) -> str:
    return hashlib.sha256(path.as_posix().encode("utf-8", "surrogateescape")).hexdigest()
