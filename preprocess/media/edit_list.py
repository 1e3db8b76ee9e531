"""The time between the start of an edit list and the first picture that it shows.

A cut without encoding begins between two pictures. FFmpeg hides the pictures before the cut and moves the
first shown one to time zero, although it is due later; the sound stays where it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .container import open_container, read_only

if TYPE_CHECKING:
    from pathlib import Path


class StartOfPictures:
    """Recorder of the first packets of a picture stream on their way to a decoder."""

    def __init__(self) -> None:
        self.shown: dict[int, int] = {}  # presentation time to the packet's position in the file
        self._last_hidden: int | None = None

    def noting(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Yield `packets` and record the first ones."""
        for packet in packets:
            if packet.size and packet.pts is not None:
                if not packet.is_discard:
                    self.shown[packet.pts] = packet.pos
                elif not self.shown:
                    before = packet.pts if self._last_hidden is None else self._last_hidden
                    self._last_hidden = max(packet.pts, before)
            yield packet

    def delay_pts(self, path: Path, index: int) -> int:
        """Return the delay of the first picture behind the time at which FFmpeg shows it, in `pts` units."""
        if self._last_hidden is None or not self.shown:
            return 0
        import av

        first = min(self.shown)
        # With these options, the timestamps are those of the file, from the start of the edit list.
        with (
            open_container(path, advanced_editlist="0") as container,
            contextlib.suppress(av.error.FFmpegError),  # damage, which the decoders report
        ):
            stream = container.streams[index]
            read_only(stream)
            for packet in container.demux(stream):
                if packet.pos == self.shown[first] and packet.pts is not None:
                    late = packet.pts - first
                    # The cut lies within the picture before it.
                    return late if 0 < late <= first - self._last_hidden else 0
        return 0
