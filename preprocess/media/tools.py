"""Which tools decide the bytes of a shard, and in which versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...versions import package_versions
from .video import DECODERS, decoder_versions
from .video.pyav import NAME as PYAV

# Decoders for the clips that PyAV cannot decode. PyAV itself decodes the sound, for any choice.
FALLBACK_DECODERS = tuple(name for name in DECODERS if name not in ("auto", PYAV))
SOUND_DECODER_SEPARATOR = "+"  # in `pyav+ffmpeg`: the decoder of the frames, and another one of the sound


def tool_versions() -> dict[str, str]:
    """Versions of the tools that write the shards."""
    packages = package_versions("numpy", "pillow", "pyarrow")
    return packages | decoder_versions()


def deciding_versions(versions: Mapping[str, str], decoders: Iterable[str]) -> dict[str, str]:
    """Drop from `versions` the fallback decoders that decoded nothing: they decided no byte.

    decoders: the `decoder` of each written clip.
    """
    used = {name for decoder in set(decoders) for name in decoder.split(SOUND_DECODER_SEPARATOR)}
    return {name: v for name, v in versions.items() if name not in FALLBACK_DECODERS or name in used}
