"""Audio windows and their Kaldi-compatible log-mel energies (fbank).

The definition is that of `torchaudio.compliance.kaldi.fbank` with `htk_compat`, a Hanning window of 25 ms, no
dither and `snip_edges`. Everything is computed in float64 and rounded to float16 once.

Results of torch depend on the processor and the number of threads: MKL and ATen choose their kernels at run
time. So no kernel of torch or of a BLAS library takes part. Up to the logarithm, each operation is one that
IEEE 754 defines to the last bit, in a fixed order. The logarithm is exact to about one unit in the last place
of float64, which is 10^-12 of a float16 step.

Dimensions: K windows, n samples, F analysis frames, B mel bins.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..collections.specification import FbankKind
from ..media.audio import SAMPLE_RATE_HZ

ANALYSIS_SAMPLES = 400  # 25 ms
# A window's room beyond its own length, so that the last one never runs past the end.
_WINDOW_MARGIN_SECONDS = 0.1

# The defaults of torchaudio.compliance.kaldi.fbank.
_FFT_SAMPLES = 512
_PREEMPHASIS = 0.97
_LOWEST_HZ = 20.0
_HIGHEST_HZ = SAMPLE_RATE_HZ / 2
_FLOOR = float(np.finfo(np.float32).eps)


def audio_windows(
    waveform: npt.NDArray[np.float32], *, count: int, seconds: float
) -> npt.NDArray[np.float32]:
    """Cut windows `[count, samples]` of `seconds`, evenly spread over a mono waveform `[n]` at 16 kHz.

    The clip's mean is subtracted first. A clip shorter than a window and its margin gives the same window
    (its first `seconds`, or all of it) `count` times.
    """
    waveform = waveform - waveform.mean(dtype=np.float64).astype(np.float32)
    length = round(seconds * SAMPLE_RATE_HZ)
    last = len(waveform) - SAMPLE_RATE_HZ * (seconds + _WINDOW_MARGIN_SECONDS)
    if last < 0:
        return np.tile(waveform[:length], (count, 1))
    starts = np.floor(np.linspace(0, last, count)).astype(int)
    return np.stack([waveform[start : start + length] for start in starts])


def log_mel(
    windows: npt.NDArray[np.float32], kinds: Sequence[FbankKind]
) -> tuple[npt.NDArray[np.float16], ...]:
    """Return the fbanks of windows `[K, n]`, one `[K, F, B]` for each of `kinds`.

    Each is cut to its kind's target, neither padded nor normalised.

    Raises ValueError for another shape, and when a window is shorter than one 25 ms analysis frame.
    """
    if windows.ndim != 2:
        raise ValueError(f"windows must be [K, n], not {list(windows.shape)}")
    if windows.shape[1] < ANALYSIS_SAMPLES:
        raise ValueError(
            f"an audio window of {windows.shape[1]} samples is shorter than one 25 ms analysis frame"
        )
    return tuple(_fbanks(windows, kind) for kind in kinds)


def _fbanks(windows: npt.NDArray[np.float32], kind: FbankKind) -> npt.NDArray[np.float16]:
    """Return the fbanks of windows `[K, n]`: `[K, F, B]`.

    One window at a time and in arrays that all windows share, so that the data stay in the processor's cache.
    """
    shift = int(SAMPLE_RATE_HZ * kind.frame_shift_milliseconds / 1000)
    count = min((windows.shape[1] - ANALYSIS_SAMPLES) // shift + 1, kind.target_frames)
    found = np.empty((len(windows), count, kind.mel_bins), dtype=np.float16)
    frames = np.empty((count, ANALYSIS_SAMPLES))
    padded = np.zeros((count, _FFT_SAMPLES))
    emphasised = padded[:, :ANALYSIS_SAMPLES]
    spectrum = np.empty((count, _FFT_SAMPLES // 2 + 1), dtype=np.complex128)
    power, squares = np.empty(spectrum.shape[::-1]), np.empty(spectrum.shape[::-1])
    energies = np.empty((kind.mel_bins, count))
    for place, window in enumerate(windows):
        samples = window.astype(np.float64)
        cut = np.lib.stride_tricks.sliding_window_view(samples, ANALYSIS_SAMPLES)[::shift][:count]
        np.subtract(cut, cut.mean(axis=1, keepdims=True), out=frames)
        np.multiply(frames[:, :1], _PREEMPHASIS, out=emphasised[:, :1])
        np.multiply(frames[:, :-1], _PREEMPHASIS, out=emphasised[:, 1:])
        np.subtract(frames, emphasised, out=emphasised)
        emphasised *= _hanning()
        np.fft.rfft(padded, out=spectrum)
        np.square(spectrum.real.T, out=power)
        np.square(spectrum.imag.T, out=squares)
        power += squares
        energies[:] = 0.0
        # In place of a matrix product: the order of BLAS's sums depends on the processor.
        for first, bins, weights in _mel_taps(kind.mel_bins):
            tap = power[bins]
            tap *= weights
            energies[first:] += tap
        np.maximum(energies, _FLOOR, out=energies)
        np.log(energies, out=energies)
        found[place] = energies.T
    return found


# The constants below are rounded to float32, as torchaudio's are: their float64 values may differ in the last
# place between versions of the C library.
@functools.cache
def _hanning() -> npt.NDArray[np.float64]:
    """Return the symmetric Hann window: `[400]`."""
    steps = [0.5 - 0.5 * math.cos(2 * math.pi * n / (ANALYSIS_SAMPLES - 1)) for n in range(ANALYSIS_SAMPLES)]
    return np.array(steps, dtype=np.float32).astype(np.float64)


_Tap = tuple[int, npt.NDArray[np.intp], npt.NDArray[np.float64]]


@functools.cache
def _mel_taps(mel_bins: int) -> tuple[_Tap, ...]:
    """Return the triangular filters, equally wide in mel, as taps that are added up in order.

    A tap has the number of the first filter that it counts for, and of each filter from there on its FFT bin
    `[b]` and its weight `[b, 1]`; 0 where the filter has fewer taps. As with Kaldi, narrow filters that no
    FFT bin falls into have no weight at all.
    """
    lowest, highest = _mel(_LOWEST_HZ), _mel(_HIGHEST_HZ)
    width = (highest - lowest) / (mel_bins + 1)
    places = np.array([_mel(SAMPLE_RATE_HZ / _FFT_SAMPLES * bin_) for bin_ in range(_FFT_SAMPLES // 2)])
    left = (lowest + width * np.arange(mel_bins))[:, None]
    slopes = np.minimum((places - left) / width, (left + 2 * width - places) / width)
    filters = np.maximum(slopes, 0).astype(np.float32).astype(np.float64)
    taps = int((filters > 0).sum(axis=1).max())
    # Near the last FFT bin the taps begin earlier; those before the filter weigh nothing.
    begins = np.minimum((filters > 0).argmax(axis=1), filters.shape[1] - taps)
    bins = begins[:, None] + np.arange(taps)
    weights = np.take_along_axis(filters, bins, axis=1)
    # Higher filters are wider: the later a tap, the fewer filters have it.
    firsts = (weights > 0).argmax(axis=0).tolist()
    return tuple(
        (first, bins[first:, tap].copy(), weights[first:, tap, None].copy())
        for tap, first in enumerate(firsts)
    )


def _mel(frequency_hz: float) -> float:
    return 1127.0 * math.log(1.0 + frequency_hz / 700.0)
