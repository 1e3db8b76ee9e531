"""Run the `ffmpeg` executable on one local file and read its standard output."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .child_process import cap_memory
from .container import DEMUXERS, MAX_PIXELS, check_file, file_url
from .ffmpeg_program import ffmpeg_executable
from .reasons import ClipError

if TYPE_CHECKING:
    from pathlib import Path

_INPUT = "file:INPUT"  # in place of the name: ffmpeg-python cannot handle names that are not UTF-8
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def ffmpeg_input(**options: Any) -> Any:
    """Return the input of an ffmpeg-python graph: one local file, no playlists, timestamps unchanged."""
    import ffmpeg

    return ffmpeg.input(
        _INPUT,
        protocol_whitelist="file,pipe",
        format_whitelist=",".join(DEMUXERS),
        threads=1,
        max_pixels=MAX_PIXELS,
        copyts=None,
        **options,
    )


def run_ffmpeg(path: Path, output: Any) -> tuple[bytes, str | None]:
    """Run an ffmpeg-python graph from `ffmpeg_input` to `pipe:` on the file `path`.

    Returns its output, and the failure in one line, or None: with `max_error_rate` 0, ffmpeg fails at any
    packet that does not decode. Raises `ClipError`: 'missing',
    'empty', 'out-of-memory'.
    """
    import ffmpeg

    check_file(path)
    output = output.global_args("-nostdin", "-v", "error", "-max_error_rate", "0")
    command = ffmpeg.compile(output, cmd=ffmpeg_executable())
    done = subprocess.run(
        [file_url(path) if word == _INPUT else word for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        preexec_fn=_prepared(),
    )
    if done.returncode == 0:
        return done.stdout, None
    if b"Cannot allocate memory" in done.stderr:
        raise ClipError("out-of-memory", "ffmpeg ran out of memory")
    return done.stdout, _complaint(done.stderr, path) or f"ffmpeg ended with status {done.returncode}"


def _complaint(stderr: bytes, path: Path) -> str:
    """Return one line of `stderr`, equal in every run: no addresses, no folders, any order of threads."""
    said = stderr.replace(os.fsencode(file_url(path)), b"the file").decode("utf-8", "replace")
    lines = re.sub(r" @ 0x[0-9a-f]+", "", said).splitlines()
    return min((line.strip() for line in lines if line.strip()), default="")[:300]


def _prepared(memory_bytes: int | None = None) -> Callable[[], None] | None:
    """Return the function that a child runs before it becomes ffmpeg: death with its parent, memory limit.

    Without `memory_bytes` the limit of the parent is kept.
    """
    # A worker that is killed must not leave its ffmpeg behind. The library is loaded before the fork.
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
        if memory_bytes is not None:
            cap_memory(memory_bytes)

    return ask


def convert(
    path: Path,
    arguments: Sequence[str],
    *,
    folder: Path,
    timeout_seconds: float,
    memory_bytes: int,
    on_seconds: Callable[[float], None],
) -> None:
    """Run ffmpeg with `arguments`, which read the media file `path` and write another, in `folder`.

    memory_bytes: memory that it may allocate (Linux).
    on_seconds: called about twice a second with the length of the output so far.

    Raises `ClipError`: 'timeout', 'out-of-memory', and 'unreadable' with ffmpeg's message.
    """
    command = [ffmpeg_executable(), "-nostdin", "-y", "-v", "error", "-progress", "pipe:1", *arguments]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            preexec_fn=_prepared(memory_bytes),
        )
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        watch = threading.Timer(timeout_seconds, stop)
        watch.start()
        try:
            for line in process.stdout or ():
                name, _, value = line.partition(b"=")
                if name == b"out_time_us" and value.strip().lstrip(b"-").isdigit():
                    on_seconds(int(value) / 1e6)
            status = process.wait()
        finally:
            watch.cancel()
            process.kill()
            process.communicate()
        said.seek(0)
        complaint = said.read()
    if late.is_set():
        raise ClipError("timeout", f"ffmpeg was not done after {timeout_seconds:.0f} s")
    if status == 0:
        return
    if b"Cannot allocate memory" in complaint:
        raise ClipError("out-of-memory", "ffmpeg ran out of memory")
    raise ClipError("unreadable", _complaint(complaint, path) or f"ffmpeg ended with status {status}")
