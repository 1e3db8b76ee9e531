"""The blocks that a method changes or reads where it leaves out every other one."""

from __future__ import annotations

from ..records import BackboneConfig

_DEEP = 24


def odd_blocks(backbone: BackboneConfig) -> tuple[int, ...]:
    """Return the indices, among all blocks, of blocks 1, 3, 5 … of each stage, from 0, and of single blocks.

    All blocks of a backbone of one stage with fewer than 24 blocks.
    """
    if backbone.stages == 1 and backbone.depths[0] < _DEEP:
        return tuple(range(backbone.depths[0]))
    chosen, first = [], 0
    for depth in backbone.depths:
        chosen += [first + index for index in range(depth) if index % 2 == 1 or depth == 1]
        first += depth
    return tuple(chosen)
