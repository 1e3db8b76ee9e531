"""The JSON of questions, collected by video: packed, because a million questions take 200 MB."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from ...shards.schema import canonical_json
from .packed import PackedRows

_MOST_HELD_BYTES = 64 << 20


def question_text(
    *, question_id: int | str, kind: Iterable[str], template: str, words: Iterable[str], answer: str
) -> bytes:
    """Return a question as it stands in `KEY.qa.json`, as canonical JSON."""
    number = str(question_id) if type(question_id) is int else canonical_json(question_id).decode()
    rest = _without_id(tuple(kind), template, tuple(words))
    return f'{{"answer":{encode_basestring(answer)},"question_id":{number},{rest}'.encode()


@lru_cache(maxsize=4096)  # many questions of a collection are the same words
def _without_id(kind: tuple[str, ...], template: str, words: tuple[str, ...]) -> str:
    return (
        f'"template":{encode_basestring(template)},"type":[{",".join(map(encode_basestring, kind))}],'
        f'"words":[{",".join(map(encode_basestring, words))}]}}'
    )


class QuestionTexts:
    """Questions as JSON, added in any order and read video by video; videos have numbers from 0."""

    def __init__(self) -> None:
        self._rows: PackedRows[tuple[Any, ...]] = PackedRows(make=tuple)
        self._bytes = array("Q")

    def add(self, video: int, text: bytes) -> None:
        """Add a question about a video."""
        if video >= len(self._bytes):
            self._bytes.extend([0] * (video + 1 - len(self._bytes)))
        self._bytes[video] += len(text) + 1
        self._rows.append_values((video, text))

    def lists(self, order: Iterable[int]) -> Iterator[bytes]:
        """Yield the JSON list of the questions about each video in `order`, in the order of adding.

        The questions are read once for every 64 MiB of lists.
        """
        batch: dict[int, bytearray] = {}
        held = 0
        for video in order:
            if batch and held + self._bytes[video] > _MOST_HELD_BYTES:
                yield from self._filled(batch)
                batch, held = {}, 0
            batch[video] = bytearray()
            held += self._bytes[video]
        yield from self._filled(batch)

    def _filled(self, batch: dict[int, bytearray]) -> Iterator[bytes]:
        for video, text in self._rows.values() if batch else ():
            if (questions := batch.get(video)) is not None:
                questions += b"," if questions else b"["
                questions += text
        while batch:  # given up as they are used
            yield bytes(batch.pop(next(iter(batch)))) + b"]"
