"""Encoding of pictures and sound as an H.264 and AAC file."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...errors import InputError, StgcmaError
from ..media.ffmpeg_program import ffmpeg_executable
from .objects import SAMPLE_RATE_HZ, Waveform


def encode(path: Path, frames: Iterable[bytes], waveform: Waveform, *, pixels: int, fps: int) -> None:
    """Encode RGB frames (`pixels`² each, as bytes) and a mono waveform into the MP4 file `path`.

    One thread and bit-exact flags, so that the same input gives the same file with the same ffmpeg.
    """
    import ffmpeg

    with tempfile.TemporaryDirectory() as scratch:
        sound = Path(scratch) / "sound.wav"
        write_wave(sound, waveform)
        picture = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{pixels}x{pixels}", r=fps)
        job = ffmpeg.output(
            picture,
            ffmpeg.input(str(sound)),
            str(path),
            vcodec="libx264",
            preset="veryfast",
            crf=23,
            pix_fmt="yuv420p",
            acodec="aac",
            audio_bitrate="96k",
            threads=1,
            fflags="+bitexact",
            loglevel="error",
        )
        command = ffmpeg.compile(job, cmd=ffmpeg_executable(), overwrite_output=True)
        _run(command, b"".join(frames), path)


def _run(command: list[str], content: bytes, path: Path) -> None:
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise StgcmaError(f"ffmpeg could not write {path}: {reason[-1] if reason else 'no reason given'}")


def write_wave(path: Path, waveform: Waveform) -> None:
    """Write a mono waveform, clipped to −1 to 1, as 16-bit WAV."""
    peak = np.clip(waveform, -1.0, 1.0)
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(SAMPLE_RATE_HZ)
        stream.writeframes((peak * 32767).astype("<i2").tobytes())


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Return a folder to fill, which is renamed to `path` when it is complete.

    The next call discards the folder of an interrupted one, `.NAME.partial`. Raises InputError when `path`
    has content, or is the current working directory, which cannot be replaced safely.
    """
    path = path.absolute()
    if path.resolve() == Path.cwd():
        raise InputError(f"{path} is the folder that you are in; give the name of a new one")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is not an empty folder; choose a new one")
    partial = path.with_name(f".{path.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    yield partial
    partial.replace(path)
