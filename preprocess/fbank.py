"""Audio windows and their Kaldi-compatible log-mel energies (fbank)."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .audio import SAMPLE_RATE_HZ
from .specification import FbankKind

ANALYSIS_SAMPLES = 400  # 25 ms
# A window's room beyond its own length, so that the last one never runs past the end.
_WINDOW_MARGIN_SECONDS = 0.1


def audio_windows(
    waveform: npt.NDArray[np.float32], *, count: int, seconds: float
) -> list[npt.NDArray[np.float32]]:
    """Cuts `count` windows of `seconds`, evenly spread over a mono waveform `[n]` at 16 kHz.

    The clip's mean is taken off first. A clip shorter than a window and its margin gives the same window
    (its first `seconds`, or all of it) `count` times.
    """
    waveform = waveform - waveform.mean(dtype=np.float64).astype(np.float32)
    length = round(seconds * SAMPLE_RATE_HZ)
    last = len(waveform) - SAMPLE_RATE_HZ * (seconds + _WINDOW_MARGIN_SECONDS)
    if last < 0:
        return [waveform[:length]] * count
    starts = np.floor(np.linspace(0, last, count)).astype(int)
    return [waveform[start : start + length] for start in starts]


def log_mel(window: npt.NDArray[np.float32], kind: FbankKind) -> npt.NDArray[np.float16]:
    """The fbank of one window: `[frames, mel_bins]`, cut to the kind's target, neither padded nor normalised.

    Raises ValueError when the window is shorter than one 25 ms analysis frame.
    """
    import torch

    if len(window) < ANALYSIS_SAMPLES:
        raise ValueError(f"an audio window of {len(window)} samples is shorter than one 25 ms analysis frame")
    with torch.inference_mode():
        features = _kaldi_fbank()(
            torch.from_numpy(window)[None],
            htk_compat=True,
            sample_frequency=SAMPLE_RATE_HZ,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=kind.mel_bins,
            dither=0.0,
            frame_shift=kind.frame_shift_milliseconds,
        )
    half: npt.NDArray[np.float16] = features[: kind.target_frames].numpy().astype(np.float16)
    return half


@functools.cache
def _kaldi_fbank() -> Callable[..., Any]:
    """The `kaldi.fbank` of torchaudio, which remembers the mel banks that it computes anew for every window.

    They depend on the settings alone, and took a quarter of its time. It is the same code with the same
    functions in reach, but for this one; torchaudio itself is left as it is.
    """
    from torchaudio.compliance import kaldi

    names = vars(kaldi) | {"get_mel_banks": functools.cache(kaldi.get_mel_banks)}
    code = kaldi.fbank
    return types.FunctionType(code.__code__, names, code.__name__, code.__defaults__, code.__closure__)
