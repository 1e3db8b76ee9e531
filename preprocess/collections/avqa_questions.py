"""The questions of MUSIC-AVQA: the authors' records as words, split as their code does."""

from __future__ import annotations

import functools
import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...bounded import parse_json
from ...errors import InputError
from ...shards.schema import QUESTION_TYPES
from .json_records import read_records
from .paths import printable
from .question_texts import question_text
from .text_files import check_utf8

MAX_WORDS = 14
PAD = "<pad>"
QUESTION_MARKS = "?？"

_TYPE_OF = {kind: kind for kind in QUESTION_TYPES}  # one tuple for all questions of a type


class Question(NamedTuple):
    """One question about a video.

    Attributes:
        video: the id of its video, as it stands there: not checked.
        question_id: the authors' number, or the text in its place.
        type: modality and kind, one of `QUESTION_TYPES`.
        template: the words before placeholders are filled, as one text: the same for both question marks.
        words: the words, placeholders filled.
        answer: the right answer.
        marked: whether its last character was a question mark.
    """

    video: str
    question_id: int | str
    type: tuple[str, str]
    template: str
    words: tuple[str, ...]
    answer: str
    marked: bool

    def text(self) -> bytes:
        """Return the question as it stands in `KEY.qa.json`, cut to `MAX_WORDS` words."""
        return question_text(
            question_id=self.question_id,
            kind=self.type,
            template=self.template,
            words=self.words[:MAX_WORDS],
            answer=self.answer,
        )


def read_questions(path: Path) -> Iterator[Question | None]:
    """Yield the questions of `avqa-SPLIT.json`, None for each that its authors marked as deleted.

    Raises InputError naming the line at fault.
    """
    for line, record in read_records(path):
        yield None if _is_deleted(record) else _parse(record, f"{path}:{line}")


def _is_deleted(record: dict[str, Any]) -> bool:
    said = record.get("question_deleted", 0)
    return (type(said) is not int or said != 0) and str(said).casefold() not in ("0", "false", "none", "")


def _parse(record: dict[str, Any], where: str) -> Question:
    # The authors spell the answer's key `anser`; copies that mended it are read as well.
    answer_key = "anser" if "anser" in record else "answer"
    content = _readable(record, "question_content", where).strip()
    if not content:
        raise InputError(f"{where}: question_content is empty")
    identity = record.get("question_id")
    if not isinstance(identity, (int, str)):
        raise InputError(f"{where}: question_id is {identity!r}, must be a number or a text")
    kind = _list(record, "type", where)
    if kind not in _TYPE_OF:
        known = "; ".join(" ".join(one) for one in QUESTION_TYPES)
        raise InputError(f"{where}: type is {record.get('type')!r}, must be one of: {known}")
    answer = _readable(record, answer_key, where)
    if not answer.strip():
        raise InputError(f"{where}: {answer_key} is empty")
    words, template = _template(content)
    values = _list(record, "templ_values", where)
    filled = _filled(words, values)
    return Question(
        video=printable(_text(record, "video_id", where)),
        question_id=printable(identity) if isinstance(identity, str) else identity,
        type=_TYPE_OF[kind],
        template=template,
        words=fill(words, values, where) if filled is None else filled,
        answer=sys.intern(answer),
        marked=content[-1] in QUESTION_MARKS,
    )


@functools.lru_cache(maxsize=4096)  # a collection has few different ones, each thousands of times
def _template(content: str) -> tuple[tuple[str, ...], str]:
    """Return the words of a question, placeholders unfilled, and the same as one text."""
    words = split_words(content)
    return tuple(words), sys.intern(" ".join(words).rstrip())


@functools.lru_cache(maxsize=4096)
def _filled(words: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return what `fill` returns; None where it raises InputError."""
    try:
        return fill(words, values)
    except InputError:
        return None


def split_words(content: str) -> list[str]:
    """The words of a question, placeholders unfilled: split at single spaces, the last character dropped.

    The rule is kept for edge cases, because published weights depend on it: a space before the question mark
    leaves an empty last word, and without a question mark the last letter is dropped.
    """
    words = content.strip().split(" ")
    words[-1] = words[-1][:-1]
    return words


def plain_words(text: str) -> list[str]:
    """Return the words of a question in anyone's spelling; none for a text without words.

    Blanks count once, and a question mark is added where there is none. Words of questions that end in one
    question mark are those of `split_words`.
    """
    content = " ".join(text.split())
    if not content.strip(QUESTION_MARKS + " "):
        return []
    return split_words(content if content[-1] in QUESTION_MARKS else content + "?")


def fill(words: Sequence[str], values: Sequence[str], where: str = "question") -> tuple[str, ...]:
    """Return the words, each word with a `<` replaced by the next of `values`.

    Raises InputError naming `where` when there are fewer values.
    """
    filled = list(words)
    places = [place for place, word in enumerate(words) if "<" in word]
    if len(places) > len(values):
        raise InputError(
            f"{where}: templ_values holds {len(values)} values {list(values)!r} for the {len(places)} "
            f"placeholders of {' '.join(words)!r}"
        )
    for place, value in zip(places, values, strict=False):
        filled[place] = value
    return tuple(filled)


def _text(record: dict[str, Any], key: str, where: str) -> str:
    if key not in record:
        raise InputError(f"{where}: the record has no {key!r}, only {', '.join(record)[:200] or 'nothing'}")
    value = record[key]
    if not isinstance(value, str):
        raise InputError(f"{where}: {key} is {value!r}, must be a text")
    return value


def _readable(record: dict[str, Any], key: str, where: str) -> str:
    """A text whose words count: composed (NFC), since `é` in two forms would be two words."""
    text = _text(record, key, where)
    if text.isascii() and text.isprintable():
        return text
    check_utf8(text, where, key)
    return printable(unicodedata.normalize("NFC", text))


def _list(record: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    """A list of texts, which the authors' files hold as JSON within a text."""
    value = record.get(key, "[]")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    values = _read_list(check_utf8(text, where, key))
    if values is None:
        raise InputError(f"{where}: {key} is {value!r}, must be a JSON list of texts")
    return values


@functools.lru_cache(maxsize=4096)  # a collection has few different ones, each thousands of times
def _read_list(text: str) -> tuple[str, ...] | None:
    try:
        value = parse_json(text, where="a list")
    except InputError:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(printable(unicodedata.normalize("NFC", item)) for item in value)
