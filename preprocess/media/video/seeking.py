"""The packets from some place in a file on, reached by a seek."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..reasons import DamageError

if TYPE_CHECKING:
    from .timeline import Timeline


class LostPlaceError(Exception):
    """The packets after a seek are not those that were read from the beginning of the file."""


def packets_from(
    container: Any, stream: Any, timeline: Timeline, first: int, *, seek: bool
) -> Iterator[tuple[int, Any]]:
    """Yield the packets of `timeline` from number `first` on, a key packet, each with its number.

    Without `seek`, the file is read from its beginning. The presentation time of every packet is compared
    with `timeline`, so the packets do not depend on where a container's seek leads.

    Raises `LostPlaceError` when they differ, `DamageError` for a damaged packet after `first`.
    """
    keys = {int(timeline.pts[number]): int(number) for number in np.flatnonzero(timeline.key)}
    place: int | None = 0
    if seek and first > 0:
        container.seek(int(timeline.pts[first]), stream=stream)
        place = None
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.is_corrupt:
            if place is not None and place >= first:
                raise DamageError("unreadable", "a packet of its pictures is damaged")
            continue
        if place is None:
            if not packet.is_keyframe:
                continue
            place = keys.get(packet.pts, len(timeline.pts))
            if place > first:
                raise LostPlaceError
        if place >= len(timeline.pts) or packet.pts != timeline.pts[place]:
            raise LostPlaceError
        if place >= first:
            yield place, packet
        place += 1
    if place is None:
        raise LostPlaceError
