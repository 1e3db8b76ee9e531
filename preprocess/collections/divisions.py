"""Keys and splits of clips that have neither: both follow from a hash of a path or a name.

A clip's key and split do not depend on the machine, the order of the files or a random draw.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import TypeVar

from ...shards.schema import SPLITS

Path = TypeVar("Path", bound=PurePath | str)
_OTHER_CHARACTERS = re.compile("[^A-Za-z0-9_-]+")


def path_key(path: PurePath | str) -> str:
    """Return a key for a file: its path, other characters replaced, and a hash that makes it unique.

    `path` as text is that of a `PurePath`: without `.`, empty parts and a slash at its end.
    """
    text = path if isinstance(path, str) else path.as_posix()
    name = _OTHER_CHARACTERS.sub("_", text.removesuffix(suffix_of(text)))
    return f"{name[-60:]}-{_digest(text)[:5].hex()}"


def suffix_of(path: str) -> str:
    """Return the suffix of a path with its dot, as `PurePath.suffix` does."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:] if 0 < dot < len(name) - 1 else ""


def divided(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return each path with its split.

    Of n paths, n/10 rounded (one at least, when n ≥ 3) go to test and as many to val.
    """
    ranked = sorted(paths, key=_digest)
    share = max(round(len(ranked) / 10), 1) if len(ranked) >= 3 else 0
    splits = ["test"] * share + ["val"] * share
    splits += ["train"] * (len(ranked) - len(splits))
    return list(zip(ranked, splits, strict=True))


def val_share(groups: Iterable[Sequence[str]]) -> list[str]:
    """Return about a tenth of the training clips of each group, to be used as val; at least one in all.

    As of `divided`, it is one at least of a group of 3, and none of a smaller one. If all are smaller, it is
    one clip of a group of 2. A group's only clip is never returned.
    """
    ranked = [sorted(group, key=_digest) for group in groups]
    shares = [max(round(len(names) / 10), 1) if len(names) >= 3 else 0 for names in ranked]
    moved = [name for names, share in zip(ranked, shares, strict=True) for name in names[:share]]
    return moved or [names[0] for names in ranked if len(names) > 1][:1]


def without_clips(noun: str, splits: Iterable[str]) -> list[str]:
    """Return a note, when there are splits that none of `splits` is."""
    if missing := [split for split in SPLITS if split not in set(splits)]:
        return [f"no {noun} is in {' or '.join(missing)}"]
    return []


def hash_position(name: str) -> float:
    """Return a number in [0, 1) that follows from `name` alone, evenly distributed over different names.

    A name is part of a share s when its number is below s: adding names moves no other.
    """
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:6]) / 2**48


def _digest(path: PurePath | str) -> bytes:
    text = path if isinstance(path, str) else path.as_posix()
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
