"""Frames of a clip, chosen by presentation time, from one of several decoders.

To add a decoder, write `preprocess/media/video/NAME.py` with a `read_frames` as in `ffmpeg.py`, and an entry:

    DECODER = Decoder(read=read_frames, version=lambda: version("PACKAGE"), order=4)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ....registry import Registry

if TYPE_CHECKING:
    from ..probe import MediaInfo
    from .frames import Choose, Decoder, Frames

__all__ = [
    "AUTO",
    "DECODERS",
    "DECORD_DISTRIBUTIONS",
    "deciding_versions",
    "decoder_choices",
    "decoder_versions",
    "read_frames",
]

DECODERS: Registry[Decoder] = Registry(
    __name__, Path(__file__).parent, attribute="DECODER", noun="video decoder"
)
DECORD_DISTRIBUTIONS = ("decord", "decord2")
"""Distributions of the module `decord`; each system has one of them."""

AUTO = "auto"
SOUND_DECODER_SEPARATOR = "+"  # in `pyav+ffmpeg`: the decoder of the frames, and another one of the sound


def decoder_choices() -> tuple[str, ...]:
    """Return what the option `decoder` can be: `auto`, or the name of a decoder."""
    return (AUTO, *DECODERS.names)


def in_order() -> list[tuple[str, Decoder]]:
    """Return the names and entries of all decoders in the order in which `auto` tries them."""
    return sorted(DECODERS.items(), key=lambda item: item[1].order)


def read_frames(path: Path, choose: Choose, *, decoder: str = AUTO, info: MediaInfo | None = None) -> Frames:
    """Return the frames of `path` that `choose` picks from all presentation times, in the order of its picks.

    Args:
        path: the media file.
        choose: called with float64 [N], ascending, the seconds of clip time at which pictures are shown (the
            first at 0, or a little later after a cut). Returns int [M], indices into it; repeats are allowed.
        decoder: a name of `DECODERS`, or `auto`: PyAV, and where it cannot read the clip the others in their
            order. A decoder refuses clips for which it is known to be wrong. `auto` does not pass a damaged
            clip on to another decoder, which might hide the damage.
        info: the result of `probe(path)`, when it is known already.

    Raises:
        ClipError: when the clip cannot be used.
        ValueError: for an unknown decoder, or when `choose` returns no indices or such that are out of range.
    """
    from ..probe import ClipError, DamageError, probe

    if decoder not in decoder_choices():
        raise ValueError(f"decoder is {decoder!r}, allowed are {', '.join(decoder_choices())}")
    info = probe(path) if info is None else info
    if decoder != AUTO:
        return DECODERS[decoder].read(path, choose, info=info)
    failures: list[ClipError] = []
    for _, entry in in_order():
        try:
            return entry.read(path, choose, info=info)
        except DamageError:
            raise
        except ClipError as error:
            if error.reason not in ("unreadable", "unsupported"):
                raise
            failures.append(error)
    raise ClipError(failures[0].reason, "; ".join(error.message for error in failures))


def decoder_versions() -> dict[str, str]:
    """Return the version of each decoder. Another version may decode to other bytes."""
    return {name: entry.version() for name, entry in DECODERS.items()}


def fallback_decoders() -> tuple[str, ...]:
    """Return the decoders that decide no byte of a clip whose frames another one decoded."""
    return tuple(name for name, entry in DECODERS.items() if not entry.reads_sound)


def deciding_versions(versions: Mapping[str, str], decoders: Iterable[str]) -> dict[str, str]:
    """Return `versions` without those fallback decoders that decoded nothing, because they decided no byte.

    Args:
        versions: tool name to version.
        decoders: the `decoder` of each written clip.
    """
    used = {name for decoder in set(decoders) for name in decoder.split(SOUND_DECODER_SEPARATOR)}
    idle = set(fallback_decoders()) - used
    return {name: version for name, version in versions.items() if name not in idle}
