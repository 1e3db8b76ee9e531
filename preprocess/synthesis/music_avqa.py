"""A synthetic collection in the layout of MUSIC-AVQA.

In every clip one or two instruments stand on a stage, indoors or outdoors; they play for all, a part or none
of the time, at different loudness. Sometimes an invisible instrument plays. The questions use the real
templates, and their answers follow from pictures and sound.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...shards.schema import SPLITS
from .demo import Demo
from .encoding import encode, new_folder
from .music_questions import Asker
from .music_scene import INSTRUMENTS, PLACES, SECONDS, Player, Scene
from .objects import SAMPLE_RATE_HZ, Waveform, scenery
from .rendering import render_all, seeded, split_names

PIXELS = 224
FPS = 5
REAL_FOLDER = "MUSIC-AVQA-videos-Real"
SYNTHETIC_FOLDER = "MUSIC-AVQA-videos-Synthetic"

_PLACE_X = {"left": 0.27, "right": 0.73}
_LOUD, _SOFT = 0.4, 0.12
_SYNTHETIC_EVERY = 5


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write a collection of `clips` videos under `raw`: 70 % for training, 10 % val, 20 % test.

    The same seed gives the same questions and the same clips, whatever the number of workers.
    Raises InputError when `raw` has content or `clips` is below 10.
    """
    splits = split_names(clips)
    rng = seeded(seed)
    scenes = [write_scene(number, rng) for number in range(clips)]
    with new_folder(raw) as folder:
        for name in (REAL_FOLDER, SYNTHETIC_FOLDER):
            (folder / name).mkdir()
        render_all(partial(render, folder=folder), scenes, workers)
        number = 1
        for split in SPLITS:
            records: list[dict[str, Any]] = []
            asker = Asker(rng)
            for scene, own in zip(scenes, splits, strict=True):
                if own == split:
                    records += asker.ask(scene, number + len(records))
            number += len(records)
            text = json.dumps(records, indent=4, ensure_ascii=False)
            (folder / f"avqa-{split}.json").write_text(text, encoding="utf-8")


SYNTHESIZER = synthesize
DEMO = Demo(
    preset="avqa-demo",
    clips=160,
    compared_with=("av-nofusion",),
    question="How many instruments are sounding in the video?",
)


def write_scene(number: int, rng: np.random.Generator) -> Scene:
    """Return one clip's scene. The numbers of instruments and players and their order are balanced."""
    synthetic = number % _SYNTHETIC_EVERY == _SYNTHETIC_EVERY - 1
    count = 1 + bool(number % 5 % 3)  # two in three fifths of the clips
    places = sorted(rng.choice(len(PLACES), count, replace=False))
    kinds = [int(kind) for kind in rng.choice(len(INSTRUMENTS), count + 1, replace=False)]
    # Half of the single instruments are silent while another one plays; of two, both play in most clips.
    playing = int(rng.integers(2)) if count == 1 else 1 + int(rng.random() < 0.7)
    heard = [int(index) for index in rng.permutation(count)[:playing]]
    spans = dict(zip(heard, _spans(playing, rng), strict=True))
    loudest = heard[int(rng.integers(playing))] if playing else -1
    players = [
        Player(
            kind=kinds[index],
            place=PLACES[place],
            span=spans.get(index),
            loudness=_LOUD if index == loudest else _SOFT,
        )
        for index, place in enumerate(places)
    ]
    if not playing:
        players.append(Player(kind=kinds[-1], place=None, span=(0, SECONDS), loudness=_LOUD))
    return Scene(
        video=f"{'sa' if synthetic else '00'}{number + 1:06d}",
        players=tuple(players),
        outdoor=bool(rng.integers(2)),
        seed=int(rng.integers(2**32)),
    )


def _spans(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return the seconds `[start, end)` in which each of `count` ≤ 2 instruments plays."""
    whole = (0, SECONDS)
    if count == 1:
        parts = [whole, whole, (0, SECONDS // 2), (SECONDS // 2, SECONDS)]
        return [parts[rng.integers(len(parts))]]
    if rng.random() < 0.4:
        return [whole] * count
    cut = int(rng.choice([SECONDS // 3, SECONDS - SECONDS // 3]))
    return [(0, cut), (cut, SECONDS)][:count]


def render(scene: Scene, folder: Path) -> None:
    """Encode the clip of `scene` in the folder for videos of its kind."""
    rng = np.random.default_rng(scene.seed)
    home = folder / (SYNTHETIC_FOLDER if scene.video.startswith("sa") else REAL_FOLDER)
    encode(home / f"{scene.video}.mp4", _paint(scene, rng), _sound(scene, rng), pixels=PIXELS, fps=FPS)


def _paint(scene: Scene, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield the clip's frames as RGB bytes: every instrument sways a little, whether it plays or not."""
    from PIL import Image, ImageDraw

    sky = Image.new("RGB", (PIXELS, PIXELS), (150, 190, 230) if scene.outdoor else (60, 35, 20))
    background = Image.blend(scenery(rng, PIXELS), sky, 0.7)
    sways = rng.uniform(0, 2 * np.pi, size=len(scene.players))
    heights = rng.uniform(0.42, 0.58, size=len(scene.players)) * PIXELS
    radius = float(rng.uniform(38, 46))
    for frame in range(SECONDS * FPS):
        picture = background.copy()
        draw = ImageDraw.Draw(picture)
        for player, phase, y in zip(scene.players, sways, heights, strict=True):
            if player.place is not None:
                look = INSTRUMENTS[player.kind].look
                x = _PLACE_X[player.place] * PIXELS + 3 * np.sin(2 * np.pi * frame / FPS / 4 + phase)
                look.paint(draw, x, y, radius, look.colour)
        yield picture.tobytes()


def _sound(scene: Scene, rng: np.random.Generator) -> Waveform:
    """Return the clip's mono waveform at 44.1 kHz: the playing instruments over a faint hiss."""
    times = np.arange(SECONDS * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    waveform = 0.003 * rng.standard_normal(len(times))
    for player in scene.players:
        if player.span is not None:
            start, end = player.span
            playing = (times >= start) & (times < end)
            sound = INSTRUMENTS[player.kind].look.sound(times, rng)
            waveform += np.where(playing, player.loudness * sound, 0.0)
    return waveform.astype(np.float32)
