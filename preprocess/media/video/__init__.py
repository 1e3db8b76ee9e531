"""Frames of a clip, chosen by presentation time, from one of three decoders."""

from __future__ import annotations

from pathlib import Path

from ..probe import ClipError, DamageError, MediaInfo, probe
from . import decord, ffmpeg, pyav
from .frames import Choose, Frames, at_seconds, evenly

__all__ = ["DECODERS", "Choose", "Frames", "at_seconds", "decoder_versions", "evenly", "read_frames"]

# In the order in which 'auto' asks them.
_READERS = {
    pyav.NAME: pyav.read_frames,
    ffmpeg.NAME: ffmpeg.read_frames,
    decord.NAME: decord.read_frames,
}
DECODERS = ("auto", *_READERS)


def read_frames(
    path: Path, choose: Choose, *, decoder: str = "auto", info: MediaInfo | None = None
) -> Frames:
    """The frames of `path` that `choose` picks from all its presentation times, in the order it picks them.

    path: the media file.
    choose: gets float64 [N], ascending, the seconds of clip time at which pictures are shown (the first is
        at 0, or a little later after a cut); answers with int [M], indices into it. Repeats are allowed.
    decoder: 'pyav', 'ffmpeg', 'decord', or 'auto': pyav, and where it has no answer ffmpeg, then decord. Each
        refuses a clip that it is known to be wrong for, and 'auto' never passes damage on to another decoder,
        which might hide it.
    info: what `probe(path)` returned, when it is known already.

    Raises `ClipError` when the clip cannot be used; `ValueError` for an unknown decoder, or when `choose`
    answers with no indices or such that are out of range.
    """
    if decoder not in DECODERS:
        raise ValueError(f"decoder is {decoder!r}, allowed are {', '.join(DECODERS)}")
    info = probe(path) if info is None else info
    if decoder != "auto":
        return _READERS[decoder](path, choose, info=info)
    failures: list[ClipError] = []
    for reader in _READERS.values():
        try:
            return reader(path, choose, info=info)
        except DamageError:
            raise
        except ClipError as error:
            if error.reason not in ("unreadable", "unsupported"):
                raise
            failures.append(error)
    raise ClipError(failures[0].reason, "; ".join(error.message for error in failures))


def decoder_versions() -> dict[str, str]:
    """The version of each decoder. Another version may decode to other bytes.

    PyAV's libraries decode the sound, and resample it, for every choice of a video decoder.
    """
    from importlib.metadata import version

    import av

    from ..ffmpeg_program import ffmpeg_version

    libraries = ", ".join(
        f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavcodec", "libswresample")
    )
    return {
        pyav.NAME: f"{av.__version__} ({libraries})",
        ffmpeg.NAME: ffmpeg_version(),
        decord.NAME: version("decord"),
    }
