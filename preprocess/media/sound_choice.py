"""The choice among the sound streams of a file, and warnings about the chosen sound."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from .audio import stream_waveform
from .probe import MediaInfo, probe

AUTOMATIC = ("default", "loudest")
# Half a step of 16-bit sound.
_SILENT_PEAK = 2.0**-16


def check_choice(choice: str) -> None:
    """Raise InputError unless `choice` is `default`, `loudest` or the number of a sound stream, from 0."""
    if choice not in AUTOMATIC and not (choice.isascii() and choice.isdecimal()):
        raise InputError(
            f"audio_stream is {choice!r}, must be {', '.join(AUTOMATIC)}, or a number counted from 0"
        )


def probe_with_sound(path: Path, choice: str) -> tuple[MediaInfo, list[str]]:
    """Return the result of `probe` with the chosen sound stream; and a warning where there was a choice.

    Raises ClipError: those of `probe`; for `loudest`, which decodes every sound stream, of `stream_waveform`.
    """
    if choice not in AUTOMATIC:
        return probe(path, sound=int(choice)), []
    info = probe(path)
    if info.audio is None or info.audio.streams == 1:
        return info, []
    if choice == "loudest":
        candidates = [probe(path, sound=number) for number in range(info.audio.streams)]
        info = max(candidates, key=_energy)  # of equally loud ones the first
    return info, [_choice_warning(info, choice)]


def _choice_warning(info: MediaInfo, choice: str) -> str:
    audio = info.audio
    if audio is None:
        raise ValueError("info has no sound stream")
    return (
        f"it has {audio.streams} sound streams: number {audio.number} (from 0), the {choice} one, was taken"
    )


def _energy(info: MediaInfo) -> float:
    """Return the sum of squared samples of the chosen stream; a short stream thus counts as less loud."""
    loudness = Loudness()
    stream_waveform(info.path, info, loudness.add)
    return loudness.squares


@dataclasses.dataclass
class Loudness:
    """Peak and offset of a sound that is added part by part."""

    samples: int = 0
    squares: float = 0.0
    lowest: float = np.inf
    highest: float = -np.inf

    def add(self, samples: npt.NDArray[np.float32]) -> None:
        """Add the next samples `[n]`."""
        if len(samples) == 0:
            return
        self.samples += len(samples)
        self.squares += float(np.square(samples, dtype=np.float64).sum())
        self.lowest = min(self.lowest, float(samples.min()))
        self.highest = max(self.highest, float(samples.max()))

    def warnings(self) -> list[str]:
        """Return a warning when the sound is silent: all samples equal, or nearly."""
        if self.samples and self.highest - self.lowest <= 2 * _SILENT_PEAK:
            return ["its sound is digital silence"]
        return []


def silence_warnings(waveform: npt.NDArray[np.float32]) -> list[str]:
    """Return a warning when a waveform `[n]` is silent."""
    loudness = Loudness()
    loudness.add(waveform)
    return loudness.warnings()
