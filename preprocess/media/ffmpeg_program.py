"""The ffmpeg program: the bundled one, or the one that `STGCMA_FFMPEG` names, after a check.

`python -m stgcma.preprocess.media.ffmpeg_program` prints its path.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from ...errors import InputError, StgcmaError

VARIABLE = "STGCMA_FFMPEG"

# The oldest FFmpeg that reads the same pictures and sound as PyAV's libraries: its name, and the version of
# its libavcodec, the only number that builds from a revision have.
MINIMUM_RELEASE, MINIMUM_LIBAVCODEC = "7.0", (61, 3)

_TIMEOUT_SECONDS = 60.0
_RELEASE = re.compile(r"^ffmpeg version (\S+)", re.MULTILINE)
# The library that it was built with / the one that is loaded.
_LIBAVCODEC = re.compile(r"^libavcodec .*/\s*(\d+)\.\s*(\d+)\.", re.MULTILINE)


def ffmpeg_executable() -> str:
    """Return the path of the ffmpeg program: the one named by `STGCMA_FFMPEG`, else the bundled one.

    PATH is not used. Raises InputError when the named program is missing, does not run or is too old, and
    StgcmaError when imageio-ffmpeg has none for this platform.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return _bundled()
    found = shutil.which(named)
    if found is None:
        raise InputError(f"STGCMA_FFMPEG is {named!r}: no such program; unset it for the bundled ffmpeg")
    path = str(Path(found).absolute())  # it is run from other folders
    try:
        version, libavcodec = _versions(path)
    except StgcmaError as error:
        raise InputError(f"STGCMA_FFMPEG: {error}; unset it for the bundled ffmpeg") from error
    if libavcodec < MINIMUM_LIBAVCODEC:
        raise InputError(
            f"STGCMA_FFMPEG: {path} is version {version}, FFmpeg {MINIMUM_RELEASE} or later is needed; "
            "unset it for the bundled ffmpeg"
        )
    return path


def ffmpeg_version() -> str:
    """Return the version of `ffmpeg_executable()`, such as `7.0.2-static`.

    Raises as `ffmpeg_executable`, and StgcmaError when the bundled one does not run.
    """
    return _versions(ffmpeg_executable())[0]


def _bundled() -> str:
    import imageio_ffmpeg

    # Not get_ffmpeg_exe(): it also uses programs from PATH, from conda and from its own variable.
    folder = Path(imageio_ffmpeg.__file__).parent / "binaries"
    program = next(iter(sorted(folder.glob("ffmpeg-*"))), None)
    if program is None:
        raise StgcmaError(
            f"imageio-ffmpeg brings no ffmpeg for this platform; name one with STGCMA_FFMPEG, "
            f"{MINIMUM_RELEASE} or later"
        )
    return str(program)


@functools.cache
def _versions(path: str) -> tuple[str, tuple[int, int]]:
    """Return the release of the program `path` and the version of its libavcodec. Raises StgcmaError."""
    try:
        done = subprocess.run(
            [path, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = " ".join(str(error).split())
        raise StgcmaError(f"{path} does not run ({reason})") from error
    if done.returncode != 0:
        said = next((line.strip() for line in done.stderr.splitlines() if line.strip()), "no message")
        raise StgcmaError(f"{path} does not run (status {done.returncode}: {said[:200]})")
    release, libavcodec = _RELEASE.search(done.stdout), _LIBAVCODEC.search(done.stdout)
    if release is None or libavcodec is None:
        raise StgcmaError(f"{path} is no ffmpeg: it does not tell its version")
    return release[1], (int(libavcodec[1]), int(libavcodec[2]))


if __name__ == "__main__":
    import sys

    sys.stdout.write(f"{ffmpeg_executable()}\n")
