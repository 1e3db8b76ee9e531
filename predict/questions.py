"""Questions in a person's words, read as the questions of training were."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..model.config import QUESTION_WORDS
from ..preprocess.collections.questions import QUESTION_MARKS, split_words
from ..train.tasks.avqa import AvqaTask


@dataclass(frozen=True)
class AskedQuestion:
    """A question as the model reads it.

    Attributes:
        text: as it was asked.
        ids: of its words, padded.
        unknown: words that training never met.
        unread: words beyond those that are read.
        hints: for an unknown word, the known one that is spelt most alike, where there is one.
    """

    text: str
    ids: tuple[int, ...]
    unknown: tuple[str, ...]
    unread: tuple[str, ...]
    hints: dict[str, str]

    def warnings(self) -> list[str]:
        """What the asker should know, one line each."""
        lines = []
        if self.unknown:
            words = ", ".join(
                f"{word!r}" + (f" (did you mean {self.hints[word]!r}?)" if word in self.hints else "")
                for word in self.unknown
            )
            lines.append(f"question {self.text!r}: the model does not know {words}")
        if self.unread:
            left = " ".join(self.unread)
            lines.append(
                f"question {self.text!r}: only {QUESTION_WORDS} words are read, {left!r} is left out"
            )
        return lines


def read_asked(texts: Sequence[str], task: AvqaTask) -> tuple[AskedQuestion, ...]:
    """The questions as the model reads them. Raises InputError for one without any word that it knows."""
    return tuple(_read(text, task) for text in texts)


def _read(text: str, task: AvqaTask) -> AskedQuestion:
    content = " ".join(text.split())
    if not content.strip(QUESTION_MARKS + " "):
        raise InputError("--question is empty; ask something, e.g. --question 'Is there a violin sound?'")
    # The rule drops the last character, which in training is the question mark.
    words = split_words(content if content[-1] in QUESTION_MARKS else content + "?")
    words = [word for word in words if word or word in task.words]
    read, unread = words[:QUESTION_WORDS], words[QUESTION_WORDS:]
    unknown = tuple(dict.fromkeys(word for word in read if word not in task.words))
    if all(word in unknown for word in read):
        raise InputError(f"--question {text!r} holds no word that the model knows; it knows {_some_of(task)}")
    return AskedQuestion(text, tuple(task.word_ids(read)), unknown, tuple(unread), _hints(unknown, task))


def _hints(unknown: Sequence[str], task: AvqaTask) -> dict[str, str]:
    known = {word.casefold(): word for word in task.words}
    hints = {}
    for word in unknown:
        near = difflib.get_close_matches(word.casefold(), list(known), n=1, cutoff=0.75)
        if near:
            hints[word] = known[near[0]]
    return hints


def _some_of(task: AvqaTask) -> str:
    words = sorted(word for word in task.words if word.isalpha())
    return ", ".join(words[:40]) + (f" and {len(words) - 40} others" if len(words) > 40 else "")
