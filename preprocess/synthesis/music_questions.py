"""Questions about a synthetic performance: MUSIC-AVQA's templates, answered from its pictures and sound."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from .music_scene import INSTRUMENTS, Scene

NUMBERS = ("zero", "one", "two")
NAMES = tuple(instrument.name for instrument in INSTRUMENTS)

_DELETED_SHARE = 0.03

# For every type that a scene can answer. A clip is encoded once for all its questions, so they cost little.
_QUESTIONS_OF_A_TYPE = 3
# One more question of these types: they have many answers, so guessing gains least.
_ONE_MORE = (("Visual", "Location"), ("Audio-Visual", "Temporal"))


class Candidate(NamedTuple):
    """A possible question: the authors' template, the values of its placeholders, and the answer."""

    type: tuple[str, str]
    template: str
    values: tuple[str, ...]
    answer: str


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def candidates(scene: Scene) -> Iterator[Candidate]:
    """Yield every question with a definite answer in the scene."""
    for kind, questions in _QUESTIONS.items():
        for template, values, answer in questions(scene):
            yield Candidate(kind, template, values, answer)


_Asked = Iterator[tuple[str, tuple[str, ...], str]]


def _audio_counting(scene: Scene) -> _Asked:
    heard = {player.name for player in scene.heard}
    for name in NAMES:
        yield "Is there a <Object> sound?", (name,), _yes(name in heard)
    yield "How many musical instruments were heard throughout the video?", (), NUMBERS[len(heard)]


def _audio_comparative(scene: Scene) -> _Asked:
    for one, other in permutations(scene.heard, 2):
        names = (one.name, other.name)
        if one.always and other.always:
            yield "Is the <Object> louder than the <Object>?", names, _yes(one.loudness > other.loudness)
        elif one.seconds != other.seconds:
            template = "Is the <Object> playing longer than the <Object>?"
            yield template, names, _yes(one.seconds > other.seconds)


def _visual_counting(scene: Scene) -> _Asked:
    seen = {player.name for player in scene.seen}
    for name in NAMES:
        yield "Is there a <Object> in the entire video?", (name,), _yes(name in seen)
    yield "How many types of musical instruments appeared in the entire video?", (), NUMBERS[len(seen)]


def _visual_location(scene: Scene) -> _Asked:
    yield "Where is the performance?", (), "outdoor" if scene.outdoor else "indoor"
    seen = scene.seen
    if len(seen) == 1:
        yield "What kind of musical instrument is it?", (), seen[0].name
        return
    # The authors' spelling, with the space after the question mark.
    template = "What kind of instrument is the <LRer> instrument? "
    yield template, ("leftest",), seen[0].name
    yield template, ("righttest",), seen[1].name


def _existential(scene: Scene) -> _Asked:
    for player in scene.seen:
        if player.span is not None:
            yield "Is the <Object> in the video always playing?", (player.name,), _yes(player.always)
    if len(scene.seen) == 1:
        yield "Is this sound from the instrument in the video?", (), _yes(scene.seen[0].span is not None)


def _counting(scene: Scene) -> _Asked:
    sounding = [player for player in scene.seen if player.span is not None]
    yield "How many instruments are sounding in the video?", (), NUMBERS[len(sounding)]
    for player in scene.seen:
        count = NUMBERS[int(player in sounding)]
        yield "How many sounding <Object> in the video？", (player.name,), count


def _location(scene: Scene) -> _Asked:
    heard = [player for player in scene.heard if player.place is not None]
    if heard:
        loudest = max(heard, key=lambda player: player.loudness)
        yield "Where is the <LL> instrument?", ("loudest",), str(loudest.place)


def _comparative(scene: Scene) -> _Asked:
    for one, other in permutations(scene.seen, 2):
        if one.span is not None and other.span is not None:
            template = "Is the instrument on the <LR> louder than the instrument on the <LR>?"
            yield template, (str(one.place), str(other.place)), _yes(one.loudness > other.loudness)


def _temporal(scene: Scene) -> _Asked:
    order = scene.in_turn
    if not order:
        return
    for word, player in (("first", order[0]), ("last", order[-1])):
        yield "Where is the <FL> sounding instrument?", (word,), str(player.place)
    for word, player in zip(("first", "second"), order, strict=True):
        yield "What is the <TH> instrument that comes in?", (word,), player.name
    template = "Which instrument makes sounds <BA> the <Object>?"
    yield template, ("before", order[1].name), order[0].name
    yield template, ("after", order[0].name), order[1].name


_QUESTIONS = {
    ("Audio", "Counting"): _audio_counting,
    ("Audio", "Comparative"): _audio_comparative,
    ("Visual", "Counting"): _visual_counting,
    ("Visual", "Location"): _visual_location,
    ("Audio-Visual", "Existential"): _existential,
    ("Audio-Visual", "Counting"): _counting,
    ("Audio-Visual", "Location"): _location,
    ("Audio-Visual", "Comparative"): _comparative,
    ("Audio-Visual", "Temporal"): _temporal,
}


class Asker:
    """Chooses questions so that no answer of a template is much more frequent than the others."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._answers: Counter[tuple[str, str]] = Counter()

    def ask(self, scene: Scene, number: int) -> list[dict[str, Any]]:
        """Return the records of a scene, numbered from `number`: some of every type that it can answer."""
        records: list[dict[str, Any]] = []
        possible: dict[tuple[str, str], list[Candidate]] = {}
        for candidate in candidates(scene):
            possible.setdefault(candidate.type, []).append(candidate)
        for kind, of_one_type in possible.items():
            for _ in range(min(_QUESTIONS_OF_A_TYPE + (kind in _ONE_MORE), len(of_one_type))):
                chosen = self._choose(of_one_type)
                of_one_type.remove(chosen)
                records.append(_record(scene, chosen, number + len(records), chosen.answer))
        if self._rng.random() < _DELETED_SHARE * len(records):
            # A reader that ignores the mark gets a wrong answer.
            chosen = self._choose(list(candidates(scene)))
            deleted = _record(scene, chosen, number + len(records), "simultaneously")
            records.append(deleted | {"question_deleted": 1})
        return records

    def _choose(self, possible: list[Candidate]) -> Candidate:
        """Return the candidate whose answer was least frequent for its template, drawn among equals."""
        lots = self._rng.permutation(len(possible))
        _, _, chosen = min(
            (self._answers[one.template, one.answer], lot, one)
            for lot, one in zip(lots, possible, strict=True)
        )
        self._answers[chosen.template, chosen.answer] += 1
        return chosen


def _record(scene: Scene, chosen: Candidate, number: int, answer: str) -> dict[str, Any]:
    return {
        "video_id": scene.video,
        "question_id": number,
        "type": json.dumps(list(chosen.type)),
        "question_content": chosen.template,
        "templ_values": json.dumps(list(chosen.values)),
        "question_deleted": 0,
        "anser": answer,  # the authors' spelling
    }
