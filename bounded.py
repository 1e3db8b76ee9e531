"""Reading of untrusted files: their size is checked before they are read or parsed.

JSON and YAML are small in every file that `stgcma` writes. A file of a few kilobytes can still claim a number
of a million digits, or lists nested deeper than Python's stack.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from .errors import InputError

MOST_JSON_BYTES = 32 << 20
MOST_JSON_VALUES = 4_000_000
MOST_YAML_BYTES = 256 << 10
MOST_DEPTH = 32
MOST_DIGITS = 400  # of one number; a float64 needs at most 17, its exponent may be written out

# A string without an end extends to the end of the text, so every character is read once.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_OPENING = "[{"
_CONTAINERS = (list, dict)
_CONTAINER_TYPES = frozenset(_CONTAINERS)
_SQUARE = str.maketrans("{}", "[]")
_DIGITS = "0123456789."
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_file(path: Path, *, most_bytes: int, where: str | None = None) -> bytes:
    """Return the content of a plain file of at most `most_bytes`.

    Raises InputError naming the file when it is larger, is a device, a pipe or a folder, or cannot be read;
    FileNotFoundError or NotADirectoryError when there is none.
    """
    where = where or str(path)
    with open_plain(path, where=where) as stream:
        return read_stream(stream, most_bytes=most_bytes, where=where)


def open_plain(path: Path, *, where: str | None = None) -> BinaryIO:
    """Open a plain file for reading. Raises as `read_file` does: opening a named pipe would block."""
    where = where or str(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{where} is no plain file; a file with the data itself is needed there")
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}") from None


def read_stream(stream: BinaryIO, *, most_bytes: int, where: str) -> bytes:
    """Return the rest of `stream`. Raises InputError naming `where` when it is longer than `most_bytes`."""
    parts, total = [], 0
    # In parts: a read of n bytes allocates n bytes, even for a short file.
    while part := stream.read(min(1 << 20, most_bytes + 1 - total)):
        parts.append(part)
        total += len(part)
        if total > most_bytes:
            raise InputError(f"{where} is larger than {most_bytes:,} bytes, the most that is read of it")
    return b"".join(parts)


def parse_json(
    content: bytes | str,
    *,
    where: str,
    most_bytes: int = MOST_JSON_BYTES,
    most_values: int = MOST_JSON_VALUES,
    non_finite: bool = False,
    unique_keys: bool = False,
) -> Any:
    """Parse a JSON text.

    Args:
        content: the text; bytes are UTF-8.
        where: its name in messages.
        most_bytes: the longest text that is parsed, in bytes or characters.
        most_values: the most values that it may hold. A value takes up to 64 bytes of memory.
        non_finite: accept `NaN`, `Infinity` and numbers beyond float64, which are not JSON.
        unique_keys: refuse an object that has a key twice; otherwise its last value counts.

    Raises InputError naming `where` when it is too long, holds too many values, is nested deeper than
    `MOST_DEPTH`, or is not JSON.
    """
    if len(content) > most_bytes:
        raise InputError(f"{where} is larger than {most_bytes:,} bytes, the most that is read of it")
    try:
        text = content if isinstance(content, str) else content.decode()
        _check_structure(text, where, most_values)
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte-order mark")
        value = _decoder(non_finite, unique_keys).decode(text)
        if "\\" in text and _ESCAPED_SURROGATE.search(text):
            # A lone surrogate cannot be printed or written.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} is not JSON: {_short(error)}") from None
    return value


@cache
def _decoder(non_finite: bool, unique_keys: bool) -> json.JSONDecoder:
    pairs = unique_object if unique_keys else None
    if non_finite:
        return json.JSONDecoder(object_pairs_hook=pairs)
    return json.JSONDecoder(object_pairs_hook=pairs, parse_constant=_refuse, parse_float=_finite)


def parse_object(content: bytes | str, *, where: str, non_finite: bool = False) -> dict[str, Any]:
    """Return the object that a JSON text holds. Raises InputError as `parse_json`, and for anything else."""
    value = parse_json(content, where=where, non_finite=non_finite)
    if not isinstance(value, dict):
        raise InputError(f"{where} holds a {type(value).__name__}, expected an object")
    return value


def parse_yaml(content: bytes | str, *, where: str) -> Any:
    """Parse a YAML text of plain values.

    Raises InputError naming `where` when it is larger than `MOST_YAML_BYTES`, is nested deeper than
    `MOST_DEPTH`, has an alias (a few of them can expand to any amount of memory), or is not YAML.
    """
    import yaml

    if len(content) > MOST_YAML_BYTES:
        raise InputError(f"{where} is larger than {MOST_YAML_BYTES:,} bytes, the most that is read of it")
    try:
        text = content if isinstance(content, str) else content.decode()
        if _has_long_number(text):
            raise ValueError(f"a number of more than {MOST_DIGITS} digits")
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise ValueError(f"nested deeper than {MOST_DEPTH} levels")
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("an alias (*), which is not taken; write the value itself")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{where} is not YAML that is read: {_short(error)}") from None


def is_too_deep(value: Any) -> bool:
    """Tell whether lists and objects of a parsed value are nested deeper than `MOST_DEPTH`."""
    if type(value) is dict and _CONTAINER_TYPES.isdisjoint(map(type, value.values())):
        return False
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(MOST_DEPTH + 1):
        level = [child for each in level for child in _children(each) if isinstance(child, _CONTAINERS)]
        if not level:
            return False
    return True


def _children(value: list[Any] | dict[str, Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _check_structure(text: str, where: str, most_values: int) -> None:
    """Check brackets, commas and digits of a JSON text, which bound its memory, before it is parsed."""
    opening = sum(map(text.count, _OPENING))
    values = opening + text.count(",")
    if values > most_values:
        raise InputError(f"{where} holds more than {most_values:,} values, the most that is read of it")
    plain = None
    if opening > MOST_DEPTH:
        plain = _STRING.sub("", text)
        if _nesting(plain) > MOST_DEPTH:
            raise InputError(f"{where} is nested deeper than {MOST_DEPTH} levels, the most that is read")
    if _has_long_number(text) and _has_long_number(plain or _STRING.sub("", text)):
        raise InputError(f"{where} is not JSON that is read: a number of more than {MOST_DIGITS} digits")


def _has_long_number(text: str) -> bool:
    """Tell whether `text` has more than `MOST_DIGITS` digits and points in a row.

    So many in a row include one of the characters that are this far apart.
    """
    length = MOST_DIGITS + 1
    if len(text) < length:
        return False
    for place, character in enumerate(text[MOST_DIGITS::length]):
        if character in _DIGITS:
            here = MOST_DIGITS + place * length
            before, after = text[max(here - MOST_DIGITS, 0) : here], text[here : here + length]
            digits = len(before) - len(before.rstrip(_DIGITS)) + len(after) - len(after.lstrip(_DIGITS))
            if digits >= length:
                return True
    return False


def _nesting(plain: str) -> int:
    """Return the depth of the brackets of a JSON text without its strings, or more than `MOST_DEPTH`."""
    brackets = "".join(_BRACKET.findall(plain)).translate(_SQUARE)
    for depth in range(MOST_DEPTH + 1):
        inner = brackets.replace("[]", "")  # without all innermost pairs
        if len(inner) == len(brackets):
            return depth + brackets.count("[")  # what is left has no pair
        brackets = inner
    return MOST_DEPTH + 1


def unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of `pairs`, as a hook of a JSON decoder. Raises ValueError for a repeated key."""
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"an object has the key {twice[:40]!r} twice")
    return content


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is beyond the numbers of float64")
    return number


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"
