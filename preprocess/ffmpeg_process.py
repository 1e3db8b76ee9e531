"""Runs the `ffmpeg` executable on one local file, and reads what it writes to its standard output."""

from __future__ import annotations

import ctypes
import functools
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .container import DEMUXERS, MAX_PIXELS, check_file, file_url
from .reasons import ClipError

if TYPE_CHECKING:
    from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def ffmpeg_executable() -> str:
    """The `ffmpeg` on PATH, else the one that imageio-ffmpeg brings. Raises `RuntimeError` without either."""
    import imageio_ffmpeg

    return shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())


@functools.cache
def ffmpeg_version() -> str:
    """The version that `ffmpeg_executable()` tells, such as `7.0.2-static`."""
    done = subprocess.run([ffmpeg_executable(), "-version"], capture_output=True, text=True, check=True)
    return done.stdout.split(maxsplit=3)[2]


def ffmpeg_input(path: Path, **options: Any) -> Any:
    """`path` as the input of an ffmpeg-python graph: one local file, no playlists, timestamps left alone."""
    import ffmpeg

    check_file(path)
    return ffmpeg.input(
        file_url(path),
        protocol_whitelist="file,pipe",
        format_whitelist=",".join(DEMUXERS),
        threads=1,
        max_pixels=MAX_PIXELS,
        copyts=None,
        **options,
    )


def run_ffmpeg(output: Any) -> tuple[bytes, str | None]:
    """Runs an ffmpeg-python graph that writes to `pipe:`.

    Returns what it wrote, and in one line what went wrong (None when nothing did): with `max_error_rate` 0,
    any packet that does not decode makes ffmpeg fail. Raises `ClipError('out-of-memory')`.
    """
    import ffmpeg

    output = output.global_args("-nostdin", "-v", "error", "-max_error_rate", "0")
    done = subprocess.run(
        ffmpeg.compile(output, cmd=ffmpeg_executable()),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        preexec_fn=_die_with_parent(),
    )
    if done.returncode == 0:
        return done.stdout, None
    said = done.stderr.decode("utf-8", "replace").strip()
    if "Cannot allocate memory" in said:
        raise ClipError("out-of-memory", "ffmpeg ran out of memory")
    first = said.splitlines()[0] if said else f"ffmpeg ended with status {done.returncode}"
    return done.stdout, first[:300]


def _die_with_parent() -> Callable[[], None] | None:
    # A worker that is killed must not leave its ffmpeg behind. The library is loaded before the fork.
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))

    return ask
