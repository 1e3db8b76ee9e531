"""A synthetic collection in the layout of LLP.

In every clip, objects are seen, heard, or both, each over seconds of its own; several at once. Most events
are of one modality, so that the labels of one are no answer for the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..collections.llp import DENSE, LISTS, SECONDS
from .demo import Demo
from .encoding import encode, new_folder
from .objects import OBJECTS, SAMPLE_RATE_HZ, SoundingObject, Waveform, scenery
from .rendering import new_id, render_all, seeded, split_names

PIXELS = 256
FPS = 8
FOLDER = "video"
# LLP's classes, and what they look and sound like here.
NAMES = {
    "Telephone_bell_ringing": OBJECTS[0],
    "Violin_fiddle": OBJECTS[1],
    "Frying_(food)": OBJECTS[2],
    "Car": OBJECTS[3],
    "Fire_alarm": OBJECTS[4],
    "Helicopter": OBJECTS[5],
}
_MODALITIES = tuple(DENSE)
_KINDS = (("audible",), ("visible",), _MODALITIES)
# One modality alone is no answer: its true events, copied to the other or not, score about 0.5.
_KIND_SHARES = (0.35, 0.35, 0.3)
_EVENT_SECONDS = (4, 8)
_SEEN_SIDES = (0.27, 0.73)


@dataclass(frozen=True)
class Event:
    """Seconds `[start, end)` in which an object is heard or seen; `modality` is `audible` or `visible`."""

    name: str
    modality: str
    start: int
    end: int


@dataclass(frozen=True)
class Script:
    """Content of one clip.

    Attributes:
        clip: its file name, an 11-character id and the times of the clip in a longer video.
        events: at most one for each class and modality.
        seed: for pictures and sound.
    """

    clip: str
    events: tuple[Event, ...]
    seed: int

    def of(self, modality: str) -> list[Event]:
        """Return the events of a modality."""
        return [event for event in self.events if event.modality == modality]


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write a collection of `clips` videos under `raw`: 70 % for training, 10 % val, 20 % test.

    The same seed gives the same labels and the same clips, whatever the number of workers. Raises InputError
    when `raw` has content or `clips` is below 10.
    """
    splits = split_names(clips)
    scripts = write_scripts(clips, seed)
    with new_folder(raw) as folder:
        (folder / FOLDER).mkdir()
        render_all(partial(render, folder=folder / FOLDER), scripts, workers)
        for split, name in LISTS.items():
            rows = [script for script, own in zip(scripts, splits, strict=True) if own == split]
            _write_table(folder / name, ("filename", "event_labels"), _list_rows(rows))
        scored = [script for script, own in zip(scripts, splits, strict=True) if own != "train"]
        for modality, name in DENSE.items():
            columns = ("filename", "onset", "offset", "event_labels")
            _write_table(folder / name, columns, _dense_rows(scored, modality))


SYNTHESIZER = synthesize
DEMO = Demo(preset="avvp-demo", clips=300, compared_with=("av-nofusion",))


def _write_table(path: Path, columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
    lines = ["\t".join(map(str, row)) for row in (columns, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _list_rows(scripts: Sequence[Script]) -> Iterator[tuple[Any, ...]]:
    for script in scripts:
        yield script.clip, ",".join(dict.fromkeys(event.name for event in script.events))


def _dense_rows(scripts: Sequence[Script], modality: str) -> Iterator[tuple[Any, ...]]:
    for script in scripts:
        for event in script.of(modality):
            yield script.clip, event.start, event.end, event.name


def write_scripts(clips: int, seed: int) -> list[Script]:
    """Return the scripts of a collection."""
    rng = seeded(seed)
    ids: set[str] = set()
    return [_write_script(new_id(rng, ids), rng) for _ in range(clips)]


def _write_script(video: str, rng: np.random.Generator) -> Script:
    start = int(rng.integers(0, 30)) * 10
    # As in the real collection, a few names have times with fractions.
    fraction = ".5" if rng.random() < 0.02 else ""
    events: list[Event] = []
    for name in rng.choice(list(NAMES), int(rng.integers(2, 4)), replace=False).tolist():
        for modality in _KINDS[int(rng.choice(len(_KINDS), p=_KIND_SHARES))]:
            length = int(rng.integers(_EVENT_SECONDS[0], _EVENT_SECONDS[1] + 1))
            begin = int(rng.integers(0, SECONDS - length + 1))
            events.append(Event(name, modality, begin, begin + length))
    clip = f"{video}_{start}{fraction}_{start + SECONDS}{fraction}"
    return Script(clip, tuple(events), int(rng.integers(2**32)))


def render(script: Script, folder: Path) -> None:
    """Encode the clip of `script` as `folder/NAME.mp4`."""
    rng = np.random.default_rng(script.seed)
    encode(folder / f"{script.clip}.mp4", _paint(script, rng), _sound(script, rng), pixels=PIXELS, fps=FPS)


def _paint(script: Script, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield the clip's frames as RGB bytes. Objects that are seen are in places of their own."""
    from PIL import ImageDraw

    background = scenery(rng, PIXELS)
    seen = script.of("visible")
    corners = rng.permutation(4)[: len(seen)]
    places = [np.array([_SEEN_SIDES[c % 2], _SEEN_SIDES[c // 2]]) * PIXELS for c in corners.tolist()]
    drift = rng.uniform(-1.5, 1.5, size=(len(seen), 2))
    radii = rng.uniform(46, 56, size=len(seen)).tolist()
    for number in range(SECONDS * FPS):
        picture = background.copy()
        for event, place, step, radius in zip(seen, places, drift, radii, strict=True):
            if event.start <= number // FPS < event.end:
                look: SoundingObject = NAMES[event.name]
                x, y = place + step * (number / FPS)
                look.paint(ImageDraw.Draw(picture), float(x), float(y), radius, look.colour)
        yield picture.tobytes()


def _sound(script: Script, rng: np.random.Generator) -> Waveform:
    """Return the clip's mono waveform at 44.1 kHz: the sounds of its seconds over a faint hiss."""
    times = np.arange(SECONDS * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    waveform = 0.003 * rng.standard_normal(len(times))
    for event in script.of("audible"):
        audible = (times >= event.start) & (times < event.end)
        loudness = rng.uniform(0.2, 0.3)
        waveform += np.where(audible, loudness * NAMES[event.name].sound(times, rng), 0.0)
    return waveform.astype(np.float32)
