"""The ffmpeg executable: which one, and whether it encodes what the demo needs."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import StgcmaError
from ..preprocess.isolation import IsolatedPool
from ..preprocess.reasons import ClipError
from .findings import Finding, Level
from .requirements import install

TIMEOUT_SECONDS = 60.0
_MEMORY_BYTES = 8 << 30
_ENCODED_PIXELS = 64


def check_ffmpeg(find: Callable[[], str] | None = None) -> Iterator[Finding]:
    """The executable that would be used.

    find: returns its path, or raises RuntimeError where there is none.
    """
    from ..preprocess.ffmpeg_process import ffmpeg_executable

    remedy = f"install ffmpeg with your system's packages, or: {install('imageio-ffmpeg')}"
    try:
        executable = (find or ffmpeg_executable)()
    except (ImportError, RuntimeError) as error:
        yield Finding("ffmpeg", Level.PROBLEM, f"not found ({_line(error)})", remedy)
        return
    try:
        done = subprocess.run(
            [executable, "-version"], capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS
        )
        version = done.stdout.split(maxsplit=3)[2]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        yield Finding("ffmpeg", Level.PROBLEM, f"{executable} does not run ({_line(error)})", remedy)
        return
    origin = "imageio-ffmpeg's" if "imageio_ffmpeg" in Path(executable).parts else "from PATH"
    yield Finding("ffmpeg", Level.OK, f"{version}, {origin}: {executable}")


def encode_sample(folder: str) -> None:
    """Encodes two pictures and some sound as the synthetic collections are. Raises StgcmaError."""
    import numpy as np

    from ..preprocess.synthesis.encoding import encode

    frames = [bytes(_ENCODED_PIXELS * _ENCODED_PIXELS * 3)] * 2
    silence = np.zeros(1600, dtype=np.float32)
    encode(Path(folder) / "sample.mp4", frames, silence, pixels=_ENCODED_PIXELS, fps=10)


def check_encoding(
    encode_sample: Callable[[str], None] = encode_sample, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> Iterator[Finding]:
    """Whether `stgcma demo` and `stgcma synthesize` can write H.264 and AAC."""
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
        remedy = f"install an ffmpeg with libx264, or take it off PATH and: {install('imageio-ffmpeg')}"
        yield Finding("encoding", Level.WARNING, text, remedy)
    else:
        yield Finding("encoding", Level.OK, "H.264 and AAC, as demo and synthesize write them")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
