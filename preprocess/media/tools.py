"""Versions of the tools that decide the bytes of a shard."""

from __future__ import annotations

from ...versions import package_versions
from .video import decoder_versions


def tool_versions() -> dict[str, str]:
    """Return the versions of the tools that write the shards."""
    return package_versions("numpy", "pillow", "pyarrow") | decoder_versions()
