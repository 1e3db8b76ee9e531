"""The packets of one pass over a file, kept for the decoder while they are few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..container import open_container

if TYPE_CHECKING:
    from pathlib import Path

# Of a clip's video stream. Longer ones are read twice.
_MOST_BYTES = 32 << 20
_PACKET_BYTES = 512  # of memory beside the content; a file may have millions of packets of a byte


class KeptPackets:
    """An open file and the packets that were read from it; used in `with`, which closes the file.

    Attributes:
        container: the open file.
        packets: those that `add` was called with; None once they take more than 32 MiB.
    """

    container: Any
    packets: list[Any] | None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = 0

    def add(self, packet: Any) -> None:
        """Keep a packet."""
        self._bytes += packet.size + _PACKET_BYTES
        if self._bytes > _MOST_BYTES:
            self.packets = None
        elif self.packets is not None:
            self.packets.append(packet)

    def __enter__(self) -> KeptPackets:
        self.container, self.packets = open_container(self._path), []
        return self

    def __exit__(self, *_: object) -> None:
        self.packets = None
        self.container.close()
