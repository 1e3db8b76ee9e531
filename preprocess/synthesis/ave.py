"""A synthetic collection in the layout of AVE.

In every clip an object is visible over one interval and its sound is heard over another; the event is where
both hold, all else is background. Around the event, one modality alone is misleading: the object stays
visible in silence or under another sound, or its sound continues without it, for about as long as the event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...shards.schema import SPLITS
from ..collections.ave import SECONDS
from .demo import Demo
from .encoding import encode, new_folder
from .objects import OBJECTS, SAMPLE_RATE_HZ, Waveform, scenery
from .rendering import new_id, render_all, seeded, split_names

PIXELS = 256
FPS = 10
# The mean of 5.25 s leaves 47.5 % background; any number of clips keeps it within 40 to 55 %.
EVENT_SECONDS = (5, 4, 7, 5)
_NOTHING = -1


@dataclass(frozen=True)
class Script:
    """Content of one clip.

    Attributes:
        video: an 11-character id, as the real ones.
        event: index of the class.
        start, end: the event fills the seconds `[start, end)`.
        seen, heard: class index of each second, −1 for nothing.
        seed: for pictures and sound.
    """

    video: str
    event: int
    start: int
    end: int
    seen: tuple[int, ...]
    heard: tuple[int, ...]
    seed: int

    def row(self) -> str:
        """Return the annotation row."""
        return f"{OBJECTS[self.event].name}&{self.video}&good&{self.start}&{self.end}"


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write a collection of `clips` videos under `raw`: 70 % for training, 10 % val, 20 % test.

    The same seed gives the same labels and the same clips, whatever the number of workers.
    Raises InputError when `raw` has content or `clips` is below 10.
    """
    splits = split_names(clips)
    scripts = write_scripts(clips, seed)
    with new_folder(raw) as folder:
        (folder / "AVE").mkdir()
        render_all(partial(render, folder=folder / "AVE"), scripts, workers)
        _write_rows(folder / "Annotations.txt", scripts, header=True)
        for split in SPLITS:
            rows = [script for script, own in zip(scripts, splits, strict=True) if own == split]
            _write_rows(folder / f"{split}Set.txt", rows)


SYNTHESIZER = synthesize
DEMO = Demo(preset="ave-demo", clips=160, compared_with=("video", "audio"))


def _write_rows(path: Path, scripts: list[Script], *, header: bool = False) -> None:
    lines = ["Category&VideoID&Quality&StartTime&EndTime"] if header else []
    path.write_text("\n".join([*lines, *(script.row() for script in scripts)]) + "\n", encoding="utf-8")


def write_scripts(clips: int, seed: int) -> list[Script]:
    """Return the scripts of a collection. Classes and event lengths are balanced, then shuffled."""
    rng = seeded(seed)
    events = rng.permutation(np.resize(np.arange(len(OBJECTS)), clips))
    lengths = rng.permutation(np.resize(EVENT_SECONDS, clips))
    ids: set[str] = set()
    return [
        _write_script(new_id(rng, ids), int(event), int(length), rng)
        for event, length in zip(events, lengths, strict=True)
    ]


def _write_script(video: str, event: int, length: int, rng: np.random.Generator) -> Script:
    # At an end of the clip, the rest is one decoy as long as the event; in the middle, two shorter ones.
    start = int(rng.choice([0, SECONDS - length, int(rng.integers(0, SECONDS - length + 1))]))
    end = start + length
    seen, heard = [event] * SECONDS, [event] * SECONDS
    others = [index for index in range(len(OBJECTS)) if index != event]
    for seconds in (range(start), range(end, SECONDS)):
        sight, sound = (int(index) for index in rng.choice(others, 2, replace=False))
        kind = rng.choice(["object stays", "sound stays", "others"], p=[0.4, 0.4, 0.2])
        if kind == "object stays":
            sight, sound = event, sound if rng.random() < 0.8 else _NOTHING
        elif kind == "sound stays":
            sight, sound = sight if rng.random() < 0.8 else _NOTHING, event
        for second in seconds:
            seen[second], heard[second] = sight, sound
    return Script(video, event, start, end, tuple(seen), tuple(heard), int(rng.integers(2**32)))


def render(script: Script, folder: Path) -> None:
    """Encode the clip of `script` as `folder/ID.mp4`."""
    rng = np.random.default_rng(script.seed)
    encode(folder / f"{script.video}.mp4", paint(script, rng), sound(script, rng), pixels=PIXELS, fps=FPS)


def paint(script: Script, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield the clip's frames as RGB bytes. Each object moves along a line."""
    from PIL import ImageDraw

    background = scenery(rng, PIXELS)
    tracks = {index: _track(rng) for index in sorted(set(script.seen) - {_NOTHING})}
    for number in range(SECONDS * FPS):
        picture = background.copy()
        index = script.seen[number // FPS]
        if index != _NOTHING:
            start, velocity, radius = tracks[index]
            x, y = start + velocity * (number / FPS)
            OBJECTS[index].paint(ImageDraw.Draw(picture), x, y, radius, OBJECTS[index].colour)
        yield picture.tobytes()


def _track(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Return start (x, y) in pixels, velocity in pixels a second, radius in pixels, inside the picture."""
    ends = rng.uniform(0.3 * PIXELS, 0.7 * PIXELS, size=(2, 2))
    return ends[0], (ends[1] - ends[0]) / SECONDS, float(rng.uniform(42, 58))


def sound(script: Script, rng: np.random.Generator) -> Waveform:
    """Return the clip's mono waveform at 44.1 kHz: the sounds of its seconds over a faint hiss."""
    times = np.arange(SECONDS * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    waveform = 0.003 * rng.standard_normal(len(times))
    for index in sorted(set(script.heard) - {_NOTHING}):
        audible = np.repeat(np.array(script.heard) == index, SAMPLE_RATE_HZ)
        loudness = rng.uniform(0.25, 0.4)
        waveform += np.where(audible, loudness * OBJECTS[index].sound(times, rng), 0.0)
    return waveform.astype(np.float32)
