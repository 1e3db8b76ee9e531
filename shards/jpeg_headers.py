"""The parts of JPEG pictures before their pixels, which are the same in all frames of a shard."""

from __future__ import annotations

from functools import lru_cache

from ..errors import StgcmaError
from .members import open_picture

_SEGMENTS = frozenset(range(0xC0, 0xFF)) - frozenset(range(0xD0, 0xDA))  # markers with a length and content
# The marker before the pixels, the bytes of its header with three components, and a bound of all headers.
_START_OF_SCAN, _SCAN_HEADER_BYTES, _MOST_BYTES = b"\xff\xda", 14, 4096


def check_jpeg(content: bytes, name: str) -> None:
    """Raise as `open_picture` for a picture `*.jpg` that another decoder is given.

    All frames of a shard have the same bytes before their pixels, which are checked once.
    """
    scan = content.find(_START_OF_SCAN)
    if not (0 < scan < _MOST_BYTES and _is_sound_header(content[: scan + _SCAN_HEADER_BYTES])):
        open_picture(content, name)


def is_up_to_scan(header: bytes) -> bool:
    """Tell whether the bytes of a JPEG picture before the first `FF DA` are all those before its first scan.

    They are not where that marker also occurs inside of a segment, as in that of a thumbnail.
    """
    at, scan = 2, len(header)
    while at < scan - 1 and header[at] == 0xFF and header[at + 1] in _SEGMENTS:
        at += 2 + int.from_bytes(header[at + 2 : at + 4])
    return at == scan and header.startswith(b"\xff\xd8")


@lru_cache(maxsize=64)
def _is_sound_header(header: bytes) -> bool:
    """Tell whether the bytes of a JPEG picture to the end of its scan's header are as they should be."""
    if not is_up_to_scan(header[:-_SCAN_HEADER_BYTES]):
        return False
    try:
        open_picture(header, "header.jpg")
    except StgcmaError:
        return False
    return True
