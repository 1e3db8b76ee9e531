"""The sound of a clip as one waveform that starts with its first picture."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .audio_decoding import DecodedSound, FilterChain, TakeSamples, decode_sound
from .cpu_features import common_features_arguments
from .ffmpeg_process import ffmpeg_input, run_ffmpeg
from .probe import (
    MAX_DURATION_SECONDS,
    NO_DECODER,
    ClipError,
    DamageError,
    MediaInfo,
    check_coverage,
    probe,
)

__all__ = ["SAMPLE_RATE_HZ", "missing_seconds", "read_waveform", "stream_waveform"]

SAMPLE_RATE_HZ = 16000

# Seconds of sound after the claimed end that are still read. It limits the silence for a wrong timestamp.
_BEYOND_CLAIM_SECONDS = 60.0


def read_waveform(path: Path, *, info: MediaInfo | None = None) -> NDArray[np.float32]:
    """Return the sound of `path`: float32 [n] in [-1, 1], mono, 16 kHz, clip time [0, n / 16000).

    `info` names the stream. Sound before the pictures start is cut, a late start and gaps
    of more than 0.1 s are filled with zeros. The channels are mixed so that full scale in all of them stays
    full scale. The mean is left in.

    Raises `ClipError`: those of `probe`, 'no-audio', 'empty', 'truncated' when the stream has
    no sound for more than 0.5 s of the clip (a late start, gaps, an early end); `DamageError` when some of
    it does not decode.
    """
    info = probe(path) if info is None else info
    if info.audio is None:
        raise ClipError("no-audio", "the file has no audio stream")
    parts: list[NDArray[np.float32]] = []
    sound = stream_waveform(path, info, parts.append)
    waveform = np.concatenate([np.zeros(0, dtype=np.float32), *parts])
    end = len(waveform) / SAMPLE_RATE_HZ
    # A truncated file also fails to decode at its end; the message about truncation is the clearer one.
    check_coverage(info, "sound", end)
    if sound.failure is not None:
        raise sound.failure
    if len(waveform) == 0:
        raise ClipError("empty", "the audio stream holds no sound")
    missing = missing_seconds(sound.spans, info.clip_start_seconds, info.clip_start_seconds + end)
    check_coverage(info, "sound", end, missing_seconds=missing)
    if not np.isfinite(waveform).all():
        raise DamageError("unreadable", "its sound decodes to numbers that are not finite")
    return waveform


def missing_seconds(spans: tuple[tuple[float, float], ...], begin: float, end: float) -> float:
    """Return the seconds between `begin` and `end` that are in none of `spans`, which are in order."""
    place, missing = begin, 0.0
    for first, last in spans:
        missing += max(min(first, end) - place, 0.0)
        place = max(place, last)
    return missing


def stream_waveform(path: Path, info: MediaInfo, take: TakeSamples) -> DecodedSound:
    """Pass the waveform of `read_waveform` to `take` in parts and unchecked, for sounds of any length.

    Raises `ClipError`: 'no-audio', 'unreadable', 'out-of-memory'.
    """
    if info.audio is None or info.audio.codec != NO_DECODER:
        number = 0 if info.audio is None else info.audio.number
        return decode_sound(path, number, partial(_filters, info), take)
    # These samples depend on the ffmpeg of the machine.
    stream = ffmpeg_input()[str(info.audio.index)]
    filters = ",".join(f"{name}={arguments}" for name, arguments in _filters(info, 0, ""))
    output = stream.output("pipe:", format="f32le", acodec="pcm_f32le", af=filters)
    written, failure = run_ffmpeg(path, output.global_args(*common_features_arguments()))
    waveform = np.frombuffer(written, dtype="<f4", count=len(written) // 4).astype(np.float32)
    # It does not report the silence that it inserts; a late start is known before.
    begin = info.clip_start_seconds if info.audio is None else info.audio.start_seconds
    spans = ((begin, begin + len(waveform) / SAMPLE_RATE_HZ),)
    error = None if failure is None else DamageError("unreadable", f"its sound does not decode: {failure}")
    take(waveform)
    damaged = () if failure is None else ((-math.inf, math.inf),)
    return DecodedSound(len(waveform), spans, error, damaged)


def _filters(info: MediaInfo, first: int, layout: str) -> FilterChain:
    """Return FFmpeg's filters from a stream with this channel layout to the waveform from sample `first`."""
    claimed = info.claimed_end_seconds
    end = MAX_DURATION_SECONDS if claimed is None else claimed + _BEYOND_CLAIM_SECONDS
    start = info.clip_start_seconds + (0.0 if info.audio is None else info.audio.delay_seconds)
    # The first channel of ambisonics is the sound from all directions; FFmpeg cannot mix the others down.
    mix = (("pan", "mono|c0=c0"),) if layout.startswith("ambisonic") else ()
    return (
        ("asetpts", f"PTS-({start!r})/TB"),
        ("atrim", f"start=0:end={end!r}"),
        # async=1 puts every sample at its timestamp; first_pts fills up to a late start. Without
        # rematrix_maxval, floating-point stereo would be mixed 3 dB louder than 16-bit stereo.
        *mix,
        (
            "aresample",
            f"{SAMPLE_RATE_HZ}:async=1:first_pts={first}:ochl=mono:osf=flt:rematrix_maxval=1",
        ),
    )
