"""Names of the classes of masks in one's own videos: `classes.txt` or `classes.csv` in RAW.

`classes.txt` has one name a line, and line 1 names the class 1. `classes.csv` has the columns `index` and
`name`. Class 0 is the background, which needs no name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import InputError
from .avss_classes import BACKGROUND
from .names import check_twins, class_key, class_name
from .paths import annotation_file, printable
from .tables import read_table
from .text_files import check_utf8, read_text

TEXT, TABLE = "classes.txt", "classes.csv"
MOST_NAMES = 254
"""Values of a pixel, without the background and 255, the mark for pixels that are not annotated."""

_COLUMNS = {"index": ("index", "id", "value", "label_id"), "name": ("name", "class", "label")}


def read_mask_classes(raw: Path, *, allow_links: bool) -> tuple[str, ...]:
    """Return the classes of the masks under `raw`, background first; nothing without a file of classes.

    Raises InputError naming file and line of an index or a name that cannot be used.
    """
    paths = [annotation_file(raw, raw / name, allow_links=allow_links) for name in (TEXT, TABLE)]
    there = [path for path in paths if path.is_file()]
    if not there:
        return ()
    if len(there) > 1:
        raise InputError(f"{raw} holds both {TEXT} and {TABLE}; one file with all classes is needed")
    (path,) = there
    names = [*(_lines(path) if path.name == TEXT else _rows(path))]
    if not names:
        raise InputError(f"{path} names no class; write one name a line, line 1 is the class 1")
    check_twins(names, path)
    return (BACKGROUND, *names)


def class_lines(classes: Sequence[str]) -> str:
    """Return the content of `classes.txt` for `classes`, background first."""
    return "".join(f"{printable(name)}\n" for name in classes[1:])


def _lines(path: Path) -> Iterator[str]:
    lines = read_text(path, hint="").rstrip().split("\n")
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        if not line.strip():
            if len(lines) == 1:
                return
            raise InputError(f"{where}: the line is empty; line {number} names the class {number}")
        yield _name(line, where, number)


def _rows(path: Path) -> Iterator[str]:
    found: dict[int, tuple[str, str]] = {}
    for row in read_table(path, columns=_COLUMNS, hint=""):
        text = row["index"]
        if not (text.isascii() and text.isdigit()) or len(text) > len(str(MOST_NAMES)):
            raise InputError(
                f"{row.where}: index is {printable(text)[:20]!r}, must be a whole number from 1 to "
                f"{MOST_NAMES}"
            )
        index = int(text)
        if index == 0 and class_key(row["name"]) == class_key(BACKGROUND):
            continue
        if index in found:
            line = found[index][1].rpartition(":")[2]
            raise InputError(f"{row.where}: index {index} is also that of line {line}")
        found[index] = (_name(row["name"], row.where, index), row.where)
    for index in range(1, max(found, default=0) + 1):
        if index not in found:
            raise InputError(f"{path}: index {index} has no name; name all from 1 to {max(found)}")
    return iter([found[index][0] for index in sorted(found)])


def _name(text: str, where: str, index: int) -> str:
    """Return the name of a class. Raises InputError for one that cannot be used."""
    name = class_name(check_utf8(text.strip(), where, "class"))
    if not name or not name.isprintable():
        raise InputError(f"{where}: the name of a class is {printable(name)!r}, must be readable text")
    if class_key(name) == class_key(BACKGROUND):
        raise InputError(f"{where}: {name!r} is the class 0 and must not be named here; delete the line")
    if not 1 <= index <= MOST_NAMES:
        raise InputError(f"{where}: index is {index}, must be a whole number from 1 to {MOST_NAMES}")
    return name
