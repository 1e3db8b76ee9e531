"""Names of splits and classes: variants of one name, and different names that look alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from ...errors import InputError
from ...shards.schema import SPLITS
from .paths import printable

_MOST_SHOWN = 80
_REMEMBERED = 4096  # rows repeat the names of a few classes
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Used for training in some collections and for testing in others.
_UNCLEAR = frozenset(
    {
        *("dev", "devel", "development", "eval", "evaluate", "evaluation", "holdout", "trainval", "trn"),
        *("validate", "validations", "vld", "tests", "tst"),
    }
)
# Text around such a word: `train_set`, `TestData`, `val-videos`, `training clips 2`.
_AROUND = (
    "set", "sets", "split", "splits", "data", "dataset", "video", "videos", "clip", "clips", "file", "files",
    "sample", "samples", "part", "subset", "fold", "folder", "raw", "all", "new", "old", "final",
)  # fmt: skip
_BLANKS = re.compile(r"[\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")


@lru_cache(maxsize=1024)
def split_of(name: str) -> str | None:
    """Return the split that `name` means, such as `Train`, `training` or `VALID`; None for other names."""
    return _SPLITS.get(_folded(name))


def read_split(text: str, where: object) -> str:
    """Return the split that `text` names. Raises InputError naming `where` for other text."""
    split = split_of(text)
    if split is None:
        said = printable(text)[:_MOST_SHOWN]
        raise InputError(f"{where}: split is {said!r}, must be one of {', '.join(SPLITS)}")
    return split


def looks_like_split(name: str) -> bool:
    """Tell whether `name` is that of a split, or so near one that it is hardly that of a class."""
    words = re.findall(r"[a-z]+", _folded(name))
    left = [_stem(word) for word in words if word not in _AROUND]
    return bool(left) and all(word in _SPLITS or word in _UNCLEAR for word in left)


def _stem(word: str) -> str:
    for end in _AROUND:
        if word.endswith(end) and (start := word.removesuffix(end)) in (*_SPLITS, *_UNCLEAR):
            return start
    return word


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


@lru_cache(maxsize=_REMEMBERED)
def class_name(name: str) -> str:
    """Return the name of a class in one form: composed (NFC), no blanks at its ends, single ones within."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", name)).strip(" ") or name


@lru_cache(maxsize=_REMEMBERED)
def class_key(name: str) -> str:
    """Return a key that is equal for names that differ only in case, blanks or Unicode form."""
    return "".join(
        letter
        for letter in unicodedata.normalize("NFKC", name).casefold()
        if unicodedata.category(letter) not in ("Zs", "Cf") and letter != "\t"
    )


def check_twins(names: Iterable[str], where: object, *, background: str | None = None) -> None:
    """Raise InputError naming `where` when two classes differ in case, blanks or Unicode form only.

    The same holds for a class named like `background`, the class of seconds without an event.
    """
    seen: dict[str, str] = {}
    for name in names:
        if background is not None and class_key(name) == class_key(background):
            raise InputError(
                f"{where}: a class is called {name!r}, which is the name for seconds without a class; "
                "give it another"
            )
        twin = seen.setdefault(class_key(name), name)
        if twin != name:
            raise InputError(
                f"{where}: the classes {ascii_if_alike(twin, name)} differ only in case, blanks or Unicode "
                "form; give them one name"
            )


def ascii_if_alike(one: str, other: str) -> str:
    """Return both names quoted, with escapes where no font shows a difference."""
    if one.casefold() == other.casefold():
        return f"{one!r} and {other!r}"
    return f"{one!a} and {other!a}"
