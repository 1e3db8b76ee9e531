"""Visible and audible objects: each class has one look and one sound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SAMPLE_RATE_HZ = 44_100

Waveform = npt.NDArray[np.float32]
Painter = Callable[["ImageDraw", float, float, float, tuple[int, int, int]], None]
Synthesizer = Callable[[npt.NDArray[np.float64], np.random.Generator], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class SoundingObject:
    """One class.

    Attributes:
        name: its category; names hold commas and brackets, as the real ones do.
        colour: RGB, 0 to 255.
        paint: draws it at (x, y) with a radius, in pixels.
        sound: its waveform at the times given in seconds, peak about 1.
    """

    name: str
    colour: tuple[int, int, int]
    paint: Painter
    sound: Synthesizer


def _disc(draw: ImageDraw, x: float, y: float, r: float, colour: tuple[int, int, int]) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    draw.ellipse((x - 0.35 * r, y - 0.35 * r, x + 0.35 * r, y + 0.35 * r), fill=(30, 30, 30))


def _square(draw: ImageDraw, x: float, y: float, r: float, colour: tuple[int, int, int]) -> None:
    draw.rectangle((x - r, y - r, x + r, y + r), fill=colour)
    draw.rectangle((x - 0.7 * r, y - 0.2 * r, x + 0.7 * r, y + 0.2 * r), fill=(240, 240, 240))


def _star(draw: ImageDraw, x: float, y: float, r: float, colour: tuple[int, int, int]) -> None:
    corners = []
    for corner in range(10):
        radius = r * (1.15 if corner % 2 == 0 else 0.5)
        angle = math.pi * (corner / 5 - 0.5)
        corners.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    draw.polygon(corners, fill=colour)


def _triangle(draw: ImageDraw, x: float, y: float, r: float, colour: tuple[int, int, int]) -> None:
    draw.polygon([(x, y - 1.1 * r), (x - 1.1 * r, y + 0.9 * r), (x + 1.1 * r, y + 0.9 * r)], fill=colour)


def _ring(draw: ImageDraw, x: float, y: float, r: float, colour: tuple[int, int, int]) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=max(int(0.4 * r), 1))


def _bars(draw: ImageDraw, x: float, y: float, r: float, colour: tuple[int, int, int]) -> None:
    for offset in (-0.8, 0.0, 0.8):
        draw.rectangle((x + (offset - 0.25) * r, y - r, x + (offset + 0.25) * r, y + r), fill=colour)


def _bell(t: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    pitch = 520 * rng.uniform(0.95, 1.05)
    partials = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in (1, 2.4, 3.9))
    return np.asarray(0.6 * partials * np.exp(-3.0 * (t % 1.0)))


def _fiddle(t: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    pitch = 880 * rng.uniform(0.95, 1.05)
    vibrato = 6.0 * np.sin(2 * np.pi * 5.5 * t)
    phase = 2 * np.pi * pitch * t + vibrato
    return np.asarray(0.4 * sum(np.sin(k * phase) / k for k in range(1, 7)))


def _frying(t: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    noise = rng.standard_normal(len(t))
    return np.asarray(0.5 * np.diff(noise, prepend=0.0))


def _horn(t: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    pitch = 150 * rng.uniform(0.95, 1.05)
    return np.asarray(0.4 * sum(np.sign(np.sin(2 * np.pi * pitch * k * t)) for k in (1.0, 1.26)))


def _clock(t: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    pitch = 3200 * rng.uniform(0.95, 1.05)
    return np.asarray(1.2 * np.sin(2 * np.pi * pitch * t) * np.exp(-40.0 * (t % 0.125)))


def _helicopter(t: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    rumble = np.convolve(rng.standard_normal(len(t)), np.ones(64) / 8.0, mode="same")
    return np.asarray(0.6 * rumble * (0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 12 * t))))


OBJECTS = (
    SoundingObject("Church bell", (235, 200, 40), _disc, _bell),
    SoundingObject("Violin, fiddle", (200, 60, 40), _bars, _fiddle),
    SoundingObject("Frying (food)", (60, 190, 80), _square, _frying),
    SoundingObject("Train horn", (50, 90, 220), _triangle, _horn),
    SoundingObject("Clock", (235, 235, 235), _ring, _clock),
    SoundingObject("Helicopter", (190, 70, 200), _star, _helicopter),
)


def scenery(rng: np.random.Generator, pixels: int) -> Image:
    """Return a dim, uneven background of `pixels`², different in every clip."""
    from PIL import Image

    coarse = rng.integers(40, 120, size=(5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((pixels, pixels), Image.Resampling.BICUBIC)
