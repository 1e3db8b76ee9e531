"""Which tools decide the bytes of a shard, and in which versions."""

from __future__ import annotations

from ..versions import package_versions
from .video import decoder_versions


def tool_versions() -> dict[str, str]:
    """Versions of the tools that write the shards."""
    packages = package_versions("numpy", "pillow", "pyarrow")
    return packages | decoder_versions()
