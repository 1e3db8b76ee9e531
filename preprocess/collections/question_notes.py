"""Notes on the questions of a collection, for the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .names import class_key

_MOST_SHOWN = 80


@dataclass
class Notes:
    """Notes for the user, with the number of questions and the first of them."""

    _texts: dict[str, list[str]] = field(default_factory=dict)

    def add(self, text: str, where: str) -> None:
        """Count a question for the note `text`."""
        self._texts.setdefault(text, []).append(where)

    def findings(self) -> Iterator[str]:
        """Yield each note as a line."""
        for text, places in self._texts.items():
            first = places[0].rpartition(":")[2]
            yield f"{len(places)} questions {text} (first: line {first})"


def note_alike(
    what: str, different: Mapping[str, None], texts: Iterable[tuple[str, str]], notes: Notes
) -> None:
    """Note the `texts`, each with its `FILE:LINE`, that differ from an earlier one in form only."""
    if len({class_key(text) for text in different}) == len(different):
        return
    seen: dict[str, str] = {}
    for text, where in texts:
        if seen.setdefault(class_key(text), text) != text:
            named = f"the {what} {text[:_MOST_SHOWN]!r}"
            notes.add(f"have {named}, which differs from another in case or blanks only", where)
