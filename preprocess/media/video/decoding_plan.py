"""The packets to decode so that chosen pictures are shown, and no others where possible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .timeline import Timeline

# Decoders that read `skip_frame` at every packet and drop exactly the pictures without references to them.
# dav1d reads it once, when it is opened.
SKIPPING_DECODERS = ("h264", "hevc", "mpeg4", "vp8", "vp9")


@dataclass(frozen=True)
class Plan:
    """Treatment of each packet [P], in decoding order.

    Attributes:
        decode: bool [P], whether the packet is decoded.
        restart: bool [P], whether the decoder is flushed before it.
        wanted: bool [P], whether its picture is a chosen one.
    """

    decode: NDArray[np.bool_]
    restart: NDArray[np.bool_]
    wanted: NDArray[np.bool_]


def make_plan(timeline: Timeline, wanted_pts: NDArray[np.int64]) -> Plan:
    """Plan the fewest packets that yield the pictures shown at `wanted_pts`, all of them in `timeline`.

    Decoding starts at a key picture that is shown no later than the wanted one: pictures that are decoded
    after a key picture but shown before it (open groups of pictures) need the group before.
    """
    count = len(timeline.pts)
    decode, restart = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    wanted = np.isin(timeline.pts, wanted_pts) & timeline.shown
    keys = np.flatnonzero(timeline.key)
    done = 0  # packets before this one are decided
    for target in np.flatnonzero(wanted):
        if target < done:
            continue
        earlier = keys[(keys <= target) & (timeline.pts[keys] <= timeline.pts[target])]
        start = int(earlier[-1]) if len(earlier) else 0
        if start > done:
            restart[start] = True
        else:
            start = done
        decode[start : target + 1] = True
        done = int(target) + 1
    return Plan(decode, restart, wanted)


def can_skip(codec: str, extradata: bytes | None) -> bool:
    """Tell whether `skip_frame` leaves all other pictures of the stream unchanged.

    In HEVC, a picture without references to it has none within its temporal layer only: the hvcC record
    (ISO/IEC 14496-15, 8.3.3.1: numTemporalLayers, byte 21) must state a single layer.
    """
    if codec != "hevc":
        return codec in SKIPPING_DECODERS
    return (
        extradata is not None and len(extradata) > 21 and extradata[0] == 1 and (extradata[21] >> 3) & 7 == 1
    )
