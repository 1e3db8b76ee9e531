"""Decoding of the built-in clips with every decoder, in processes that may crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ..errors import InputError
from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.reasons import ClipError
from ..preprocess.media.video import DECODERS, DECORD_DISTRIBUTIONS
from . import clips
from .clips import CLIPS, Clip
from .findings import Finding, Level
from .requirements import reinstall, required
from .tools import replace_ffmpeg

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..preprocess.collections.specification import FbankKind

SOUND = "sound"
_NEEDED = {"pyav", SOUND}
PICTURE_DECODERS = tuple(sorted(DECODERS, key=lambda name: name not in _NEEDED))
# Packages of a decoder, by default that of its name. A remedy names those that this machine requires.
_PACKAGES = {
    "pyav": ("av",),
    SOUND: ("av", "torchaudio"),
    "ffmpeg": ("imageio-ffmpeg",),
    "decord": DECORD_DISTRIBUTIONS,
}
# Half a second of 64×64 takes milliseconds; the rest is for starting a process on a busy machine.
TIMEOUT_SECONDS = 60.0
_MEMORY_BYTES = 8 << 30  # torch, whose fbank is compared, reserves much that it never touches

# Flat pictures lose little in any codec; their brightness steps by 14 from one to the next.
_COLOUR_TOLERANCE = 6.0
_TONE_TOLERANCE_HZ = 20.0
_LOUDNESS_TOLERANCE = 0.25
_FBANK_TOLERANCE = 0.02  # two steps of float16 between -16 and -8

# A clip and its decoder: one of `PICTURE_DECODERS`, or `SOUND`.
Job = tuple[Clip, str]
# Decodes a clip; returns a description of what is wrong with the result, or None. It must be importable.
Decode = Callable[[Job], str | None]


def decode(job: Job) -> str | None:
    """Return a description of what is wrong with a decoder's output, or None when nothing is.

    Raises ClipError when the decoder fails.
    """
    clip, decoder = job
    try:
        return _wrong_sound(clip) if decoder == SOUND else _wrong_pictures(clip, decoder)
    except InputError as error:  # an unusable ffmpeg; other decoders are still checked
        raise ClipError("unreadable", str(error)) from error


def _wrong_pictures(clip: Clip, decoder: str) -> str | None:
    import numpy as np

    from ..preprocess.media.video import read_frames

    images = read_frames(clip.path, lambda times: np.arange(len(times)), decoder=decoder).images
    if len(images) != clips.FRAMES:
        return f"{len(images)} pictures were decoded, the file holds {clips.FRAMES}"
    middle = clips.PIXELS // 2
    for index, image in enumerate(images):
        halves = image[:, :middle], image[:, middle:]
        for half, expected in zip(halves, clips.mean_colours(index), strict=True):
            seen = half.mean(axis=(0, 1), dtype=np.float64)
            if np.abs(seen - expected).max() > _COLOUR_TOLERANCE:
                is_, was = (", ".join(f"{value:.0f}" for value in rgb) for rgb in (seen, expected))
                return f"picture {index} has the mean colour {is_} instead of {was}"
    return None


def _wrong_sound(clip: Clip) -> str | None:
    import numpy as np

    from ..preprocess.collections.specification import FBANK_KINDS
    from ..preprocess.media.audio import SAMPLE_RATE_HZ, read_waveform
    from ..preprocess.samples.fbank import log_mel

    waveform = read_waveform(clip.path)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    tone_hz = float(spectrum.argmax()) * SAMPLE_RATE_HZ / len(waveform)
    if abs(tone_hz - clips.TONE_HZ) > _TONE_TOLERANCE_HZ:
        return f"its tone has {tone_hz:.0f} Hz instead of {clips.TONE_HZ:.0f} Hz"
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4]
    loudness = float(np.sqrt(2 * np.mean(np.square(middle, dtype=np.float64)))) / clips.TONE_AMPLITUDE
    if abs(loudness - 1) > _LOUDNESS_TOLERANCE:
        return f"its tone is {loudness:.2f} times as loud as it should be"
    for kind in FBANK_KINDS.values():
        features = log_mel(waveform[None], [kind])[0][0].astype(np.float64)
        apart = float(np.abs(features - _torchaudio_fbank(waveform, kind)).max())
        if not apart <= _FBANK_TOLERANCE:  # also when it is not a number
            return f"its {kind.name} is up to {apart:.3g} from torchaudio's"
    return None


def _torchaudio_fbank(waveform: npt.NDArray[np.float32], kind: FbankKind) -> npt.NDArray[np.float64]:
    """Return the fbank `[F, B]` of a waveform `[n]` by torchaudio, cut to the target length of the kind."""
    import torch
    from torchaudio.compliance import kaldi

    features = kaldi.fbank(
        torch.from_numpy(waveform)[None].double(),
        htk_compat=True,
        window_type="hanning",
        num_mel_bins=kind.mel_bins,
        frame_shift=kind.frame_shift_milliseconds,
    )
    values: npt.NDArray[np.float64] = features[: kind.target_frames].numpy()
    return values


def check_decoding(
    samples: Sequence[Clip] = CLIPS,
    *,
    decode: Decode = decode,
    decoders: Sequence[str] = (*PICTURE_DECODERS, SOUND),
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Iterator[Finding]:
    """Yield a finding for every clip, with the decoders that decode it correctly and those that do not.

    A failure of PyAV is a problem, because it is the default decoder and decodes all sound; a failure of
    another decoder is a warning.
    """
    jobs = [(clip, decoder) for clip in samples for decoder in decoders]
    with IsolatedPool(1, timeout_seconds=timeout_seconds, memory_bytes=_MEMORY_BYTES, tries=1) as pool:
        for clip, of_clip in groupby(pool.map(decode, jobs), key=lambda pair: pair[0][0]):
            yield _finding(clip, {job[1]: outcome for job, outcome in of_clip})


def _finding(clip: Clip, outcomes: dict[str, str | ClipError | None]) -> Finding:
    right = [decoder for decoder, outcome in outcomes.items() if outcome is None]
    refusing = [decoder for decoder, outcome in outcomes.items() if _refuses(outcome)]
    failures = {d: o for d, o in outcomes.items() if d not in right and d not in refusing}
    said = [f"{decoder} {_said(outcome)}" for decoder, outcome in failures.items()]
    said += [f"right with {', '.join(right)}"] if right else []
    said += [f"{', '.join(refusing)} does not accept such files"] if refusing else []
    text = f"{clip.title}: {'; '.join(said)}"
    if not failures:
        return Finding(clip.name, Level.OK, text)
    needed = not failures.keys().isdisjoint(_NEEDED)
    remedy = "; ".join(dict.fromkeys(_remedy(decoder) for decoder in failures))
    return Finding(clip.name, Level.PROBLEM if needed else Level.WARNING, text, remedy)


def _refuses(outcome: str | ClipError | None) -> bool:
    return isinstance(outcome, ClipError) and outcome.reason == "unsupported"


def _said(outcome: str | ClipError | None) -> str:
    return f"fails ({outcome.message})" if isinstance(outcome, ClipError) else f"is wrong: {outcome}"


def _remedy(decoder: str) -> str:
    names = {decoder, *(line.name for line in required())}
    packages = tuple(name for name in _PACKAGES.get(decoder, (decoder,)) if name in names)
    if packages == ("imageio-ffmpeg",):
        return replace_ffmpeg("all decoders")
    return f"{reinstall(*packages)}{'' if decoder in _NEEDED else f'; avoid --decoder {decoder}'}"
