"""The processor features that FFmpeg's libraries may use for sound.

Their floating-point code has several versions, and a process uses the newest that its processor supports.
Fused multiply-add (FMA3) rounds sums differently, so that the same file would give other samples on another
processor. Pictures are decoded and converted with integers, for which all versions agree.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator

# MMX, MMXEXT, SSE, SSE2, SSE3, SSSE3, SSE4.1 and SSE4.2 (AV_CPU_FLAG_… of libavutil/cpu.h), as numpy needs.
X86_64_V2_FLAGS = 0x3DB
# The same for `ffmpeg -cpuflags`.
_X86_64_V2_NAME = "sse4.2"


def is_x86() -> bool:
    """Tell whether this machine's processor is an x86-64 one. On others FFmpeg's choice is kept."""
    return platform.machine().lower() in ("x86_64", "amd64")


@contextlib.contextmanager
def common_features() -> Iterator[None]:
    """Limit decoders and filters that are opened in this context to what every x86-64-v2 processor has.

    It holds for the whole process, all threads included; afterwards the former choice is back.
    """
    if not is_x86():
        yield
        return
    library = _libavutil()
    before = library.av_get_cpu_flags()
    library.av_force_cpu_flags(before & X86_64_V2_FLAGS)
    try:
        yield
    finally:
        library.av_force_cpu_flags(before)


def common_features_arguments() -> tuple[str, ...]:
    """The arguments that limit the `ffmpeg` executable in the same way."""
    return ("-cpuflags", _X86_64_V2_NAME) if is_x86() else ()


@functools.cache
def _libavutil() -> ctypes.CDLL:
    import av.buffer

    # A module of PyAV is linked to its libavutil, whose file has another name in every release.
    return ctypes.CDLL(av.buffer.__file__)
