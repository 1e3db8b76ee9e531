"""Questions as text, encoded like the questions of training."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..model.heads.avqa import QUESTION_WORDS
from ..model.inputs import word_ids
from ..preprocess.collections.avqa_questions import plain_words

_HINT_CUTOFF = 0.75
_WORDS_LISTED = 40


@dataclass(frozen=True)
class EncodedQuestion:
    """A question as input of the model.

    Attributes:
        text: as it was asked.
        ids: of its words, padded to 14.
        unknown: words that the training questions do not have.
        unread: words beyond the 14 that are read.
        hints: an unknown word to the known word of the most similar spelling, where there is one.
    """

    text: str
    ids: tuple[int, ...]
    unknown: tuple[str, ...]
    unread: tuple[str, ...]
    hints: dict[str, str]

    def warnings(self) -> list[str]:
        """Return one line about unknown words, and one about unread words, if there are any."""
        lines = []
        if self.unknown:
            words = ", ".join(
                f"{word!r}" + (f" (did you mean {self.hints[word]!r}?)" if word in self.hints else "")
                for word in self.unknown
            )
            lines.append(f"question {self.text!r}: the model does not know {words}")
        if self.unread:
            rest = " ".join(self.unread)
            lines.append(
                f"question {self.text!r}: only {QUESTION_WORDS} words are read, {rest!r} is left out"
            )
        return lines


def encode_questions(texts: Sequence[str], words: Mapping[str, int]) -> tuple[EncodedQuestion, ...]:
    """Encode questions with a vocabulary: word to id.

    Raises InputError for an empty question, and for one without a known word.
    """
    return tuple(_encode(text, words) for text in texts)


def _encode(text: str, vocabulary: Mapping[str, int]) -> EncodedQuestion:
    words = plain_words(text)
    if not words:
        raise InputError("a question is empty; ask something, e.g. 'Is there a violin sound?'")
    words = [word for word in words if word or word in vocabulary]
    read, unread = words[:QUESTION_WORDS], words[QUESTION_WORDS:]
    unknown = tuple(dict.fromkeys(word for word in read if word not in vocabulary))
    if all(word in unknown for word in read):
        raise InputError(
            f"question {text!r} holds no word that the model knows; it knows {_examples(vocabulary)}"
        )
    ids = tuple(word_ids(read, vocabulary))
    return EncodedQuestion(text, ids, unknown, tuple(unread), _hints(unknown, vocabulary))


def _hints(unknown: Sequence[str], vocabulary: Mapping[str, int]) -> dict[str, str]:
    known = {word.casefold(): word for word in vocabulary}
    hints = {}
    for word in unknown:
        near = difflib.get_close_matches(word.casefold(), list(known), n=1, cutoff=_HINT_CUTOFF)
        if near:
            hints[word] = known[near[0]]
    return hints


def _examples(vocabulary: Mapping[str, int]) -> str:
    words = sorted(word for word in vocabulary if word.isalpha())
    more = len(words) - _WORDS_LISTED
    return ", ".join(words[:_WORDS_LISTED]) + (f" and {more} others" if more > 0 else "")
