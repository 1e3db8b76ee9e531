"""Checks of the ffmpeg program and of its encoders."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import InputError, StgcmaError
from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.reasons import ClipError
from .findings import Finding, Level
from .requirements import reinstall

TIMEOUT_SECONDS = 60.0
_MEMORY_BYTES = 8 << 30
_ENCODED_PIXELS = 64


def check_ffmpeg() -> Iterator[Finding]:
    """Report the ffmpeg program that is used: the bundled one, or the one that the environment names."""
    from ..preprocess.media.ffmpeg_program import VARIABLE, ffmpeg_executable, ffmpeg_version

    try:
        executable, version = ffmpeg_executable(), ffmpeg_version()
    except InputError as error:
        yield Finding("ffmpeg", Level.PROBLEM, str(error), f"unset {VARIABLE}")
    except (ImportError, StgcmaError) as error:
        yield Finding("ffmpeg", Level.PROBLEM, " ".join(str(error).split()), reinstall("imageio-ffmpeg"))
    else:
        origin = f"named by {VARIABLE}" if os.environ.get(VARIABLE) else "the bundled one"
        yield Finding("ffmpeg", Level.OK, f"{version}, {origin}: {executable}")


def encode_sample(folder: str) -> None:
    """Encode two pictures and some sound like a synthetic collection. Raises StgcmaError when that fails."""
    import numpy as np

    from ..preprocess.synthesis.encoding import encode

    frames = [bytes(_ENCODED_PIXELS * _ENCODED_PIXELS * 3)] * 2
    silence = np.zeros(1600, dtype=np.float32)
    encode(Path(folder) / "sample.mp4", frames, silence, pixels=_ENCODED_PIXELS, fps=10)


def check_encoding(
    encode_sample: Callable[[str], None] = encode_sample, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> Iterator[Finding]:
    """Check that `stgcma demo` and `stgcma synthesize` can write H.264 and AAC."""
    with (
        tempfile.TemporaryDirectory() as folder,
        IsolatedPool(1, timeout_seconds=timeout_seconds, memory_bytes=_MEMORY_BYTES, tries=1) as pool,
    ):
        try:
            ((_, outcome),) = pool.map(encode_sample, [folder])
        except StgcmaError as error:
            outcome = ClipError("unreadable", str(error).replace(folder, "a temporary folder"))
    if isinstance(outcome, ClipError):
        text = f"demo and synthesize cannot write H.264 and AAC ({outcome.message})"
        remedy = replace_ffmpeg("libx264")
        yield Finding("encoding", Level.WARNING, text, remedy)
    else:
        yield Finding("encoding", Level.OK, "H.264 and AAC, as demo and synthesize write them")


def replace_ffmpeg(needed: str) -> str:
    """Return the remedy for an ffmpeg that lacks what is `needed`."""
    from ..preprocess.media.ffmpeg_program import VARIABLE

    if os.environ.get(VARIABLE):
        return f"name an ffmpeg with {needed} in {VARIABLE}, or unset it for the bundled one"
    return reinstall("imageio-ffmpeg")
