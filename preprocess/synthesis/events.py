"""Synthetic recordings with events: parts like the clips of the synthetic AVE collection in a row.

Every second recording has its events in `RAW/events.csv`, the others in label tracks beside them. The splits
follow from the names of the recordings.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..collections.ave import SECONDS
from .ave import FPS, PIXELS, Script, paint, sound, write_scripts
from .demo import Demo
from .encoding import encode, new_folder
from .objects import OBJECTS
from .rendering import render_all, split_names

PARTS = 4


@dataclass(frozen=True)
class Tape:
    """Content of one recording: its name, and its parts of ten seconds."""

    name: str
    parts: tuple[Script, ...]

    def events(self) -> list[tuple[int, int, str]]:
        """Return onset and offset in seconds, and label, of each event."""
        return [
            (SECONDS * number + part.start, SECONDS * number + part.end, OBJECTS[part.event].name)
            for number, part in enumerate(self.parts)
        ]


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write recordings with `clips` windows of ten seconds in all, rounded up to recordings of four.

    The same seed gives the same labels and the same recordings, whatever the number of workers.
    Raises InputError when `raw` has content or `clips` is below 10.
    """
    split_names(clips)  # the same least number as other collections
    count = -(-clips // PARTS)
    scripts = write_scripts(count * PARTS, seed)
    tapes = [
        Tape(f"recording-{number + 1:03d}", tuple(scripts[number * PARTS : (number + 1) * PARTS]))
        for number in range(count)
    ]
    with new_folder(raw) as folder:
        render_all(partial(render, folder=folder), tapes, workers)
        rows: list[tuple[object, ...]] = [("filename", "onset", "offset", "event_label")]
        for number, tape in enumerate(tapes):
            if number % 2 == 0:
                rows += [(f"{tape.name}.mp4", *event) for event in tape.events()]
            else:
                track = "".join(f"{on:.6f}\t{off:.6f}\t{label}\n" for on, off, label in tape.events())
                (folder / f"{tape.name}.txt").write_text(track, encoding="utf-8")
        with (folder / "events.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)


SYNTHESIZER = synthesize
DEMO = Demo(preset="ave-demo", clips=160, compared_with=("video", "audio"))


def render(tape: Tape, folder: Path) -> None:
    """Encode the recording as `folder/NAME.mp4`."""
    draws = [np.random.default_rng(part.seed) for part in tape.parts]
    frames = (frame for part, rng in zip(tape.parts, draws, strict=True) for frame in paint(part, rng))
    pictures = list(frames)  # drawn before the sound, as in a clip
    waveform = np.concatenate([sound(part, rng) for part, rng in zip(tape.parts, draws, strict=True)])
    encode(folder / f"{tape.name}.mp4", pictures, waveform, pixels=PIXELS, fps=FPS)
