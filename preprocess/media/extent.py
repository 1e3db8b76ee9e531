"""The end of a clip as claimed by its file, for the streams that are used.

A container's duration covers all its streams: a subtitle or an unused sound track may outlast picture and
sound. In Matroska it is also written in two ways, from the first timestamp or from zero.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .container import open_container

if TYPE_CHECKING:
    from pathlib import Path

# Claims that differ by less are equal.
_ROUNDING_SECONDS = 0.5
# A smaller start is the delay of a stream, a larger one an offset of all timestamps.
_OFFSET_SECONDS = 0.1


def claimed_end(path: Path, container: Any, used: Sequence[Any]) -> float | None:
    """Return the claimed end of a file's `used` streams, in seconds of the container's clock.

    None when the container states none and no packet of them has a time. The packets are read, not
    decoded, where the header does not suffice: without a duration, with streams that are not used, with an
    offset.
    """
    import av

    start = 0.0 if container.start_time is None else float(container.start_time / av.time_base)
    if container.duration is None:
        return _packet_ends(path, [stream.index for stream in used]).used
    duration = float(container.duration / av.time_base)
    # ASF has one duration, which FFmpeg reports for every stream.
    own = [None if container.format.name == "asf" else _own_end(stream) for stream in used]
    known = [end for end in own if end is not None]
    if known and len(known) == len(own):
        return min(start + duration, max(known))
    claims = [start + duration]
    if "matroska" in container.format.name and start > _OFFSET_SECONDS and duration > start:
        claims.append(duration)
    if len(claims) == 1 and len(container.streams) == len(used):
        return claims[0]
    return _met(claims, _packet_ends(path, [stream.index for stream in used]))


@dataclass(frozen=True)
class _Ends:
    """The ends of the packets, in seconds of the container's clock; None without a packet that has a time."""

    used: float | None
    all: float | None


def _met(claims: Sequence[float], ends: _Ends) -> float:
    """Return the claim that the packets confirm; else their end, if only unused streams confirm one."""
    for claim in claims:
        if ends.used is not None and ends.used >= claim - _ROUNDING_SECONDS:
            return claim
    met_by_others = ends.all is not None and ends.all >= min(claims) - _ROUNDING_SECONDS
    return ends.used if met_by_others and ends.used is not None else min(claims)


def _own_end(stream: Any) -> float | None:
    if not stream.duration or not stream.time_base:
        return None
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def _packet_ends(path: Path, used: Sequence[int]) -> _Ends:
    """Read the file's packets once."""
    import av

    times: dict[int, list[float]] = {}
    ends: dict[int, float] = {}
    with (
        open_container(path) as container,
        contextlib.suppress(av.error.FFmpegError),  # damage, which the decoders report
    ):
        for packet in container.demux():
            if packet.pts is None or not packet.time_base or not packet.size:
                continue
            index, begin = packet.stream_index, float(packet.pts * packet.time_base)
            end = begin + float((packet.duration or 0) * packet.time_base)
            ends[index] = max(ends.get(index, end), end)
            if packet.stream.type == "video":
                times.setdefault(index, []).append(begin)
    for index, of_pictures in times.items():
        shown = np.unique(of_pictures)
        if len(shown) > 1:  # the last picture lasts as long as the others
            ends[index] = max(ends[index], float(shown[-1] + np.median(np.diff(shown))))
    of_used = [end for index, end in ends.items() if index in used]
    return _Ends(max(of_used, default=None), max(ends.values(), default=None))
