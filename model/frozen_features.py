"""Outputs of a frozen backbone for a network beside it, as one tensor for each clip.

The backbone has no gradient, so its outputs for a clip without augmentation are the same in every epoch: they
can be computed once and stored (`stgcma shards add-tokens`).

Dimensions: B clips, T steps, N tokens, D features, V values of a clip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .adapters.base import FrozenBlock, SideAdapter, SidePass
from .backbones.encoder import Encoded, Encoder, beside

Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes, without B, of the tensors that are joined in one."""


class _Recorder(SidePass):
    """Keeps the outputs of the tapped blocks in place of a side network that reads them."""

    def __init__(self, side: SideAdapter, device: torch.device) -> None:
        super().__init__(side, device, None)
        self.taps: list[list[Tensor]] = []
        self._index, self._tapped = 0, side.tapped

    def after_block(self, x: Tensor, frozen: FrozenBlock) -> None:
        """Keep the output of the next block, if it is tapped."""
        if self._index in self._tapped:
            self.taps.append([part.clone() for part in frozen.split(x)])
        self._index += 1


def side_of(encoder: Encoder) -> SideAdapter:
    """Return the side network of an encoder. Raises InputError for one with adapters in its blocks."""
    if encoder.side is None:
        raise InputError(
            f"adapter {encoder.config.adapter.method!r} is inside of the backbone, whose outputs depend on "
            "it; stored tokens need an adapter beside it, such as side"
        )
    return encoder.side


@torch.no_grad()
def frozen_features(encoder: Encoder, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the features of clips by name, in the order of their layout: each `[B, …]`.

    Of every tapped block the tokens of each modality `[B, T, N, D]`, then what the final norm and the pooling
    read (`Encoder.named_blocks`): these follow, because some families train the norm.

    Args:
        encoder: with a side network.
        inputs: as `Encoder.forward` takes them, without a `frame_mask`.
    """
    side = side_of(encoder)
    device = inputs[encoder.config.modalities[0]].device
    recorder = _Recorder(side, device)
    with side.context(device):
        blocks = encoder.run_blocks(inputs, recorder)
    found = {
        f"{modality}.tap{number}": part
        for number, parts in enumerate(recorder.taps)
        for modality, part in zip(encoder.config.modalities, parts, strict=True)
    }
    return found | encoder.named_blocks(blocks)


def layout_of(features: Mapping[str, Tensor]) -> Layout:
    """Return the names and shapes of features `[B, …]`."""
    return tuple((name, tuple(x.shape[1:])) for name, x in features.items())


def pack(features: Mapping[str, Tensor]) -> Tensor:
    """Join features `[B, …]` into one tensor `[B, V]`, float16."""
    return torch.cat([x.flatten(1).to(torch.float16) for x in features.values()], dim=1)


def steps_of(layout: Layout) -> int:
    """Return T. Raises InputError for a layout without tensors, or of several T."""
    steps = {shape[0] for _, shape in layout if shape}
    if len(steps) != 1 or not all(shape for _, shape in layout):
        raise InputError(f"layout: first dimensions {sorted(steps)}, expected one number of steps")
    return steps.pop()


def pad_steps(packed: Tensor, layout: Layout, steps: int) -> Tensor:
    """Return features `[V]` of those of a clip of `steps` steps, `[V · steps / T]`, with zeros for others."""
    sizes = [(steps * math.prod(shape[1:]), math.prod(shape)) for _, shape in layout]
    parts = torch.split(packed, [stored for stored, _ in sizes])
    return torch.cat(
        [functional.pad(part, (0, size - stored)) for part, (stored, size) in zip(parts, sizes, strict=True)]
    )


def span_of(layout: Layout, name: str, step: int) -> tuple[int, int]:
    """Return the values `[begin, end)` of one step of the tensor `name` in a clip's features `[V]`."""
    begin = 0
    for each, shape in layout:
        if each == name:
            size = math.prod(shape[1:])
            return begin + step * size, begin + (step + 1) * size
        begin += math.prod(shape)
    raise InputError(f"layout: it has no {name}")


def shape_of(layout: Layout, name: str) -> tuple[int, ...]:
    """Return the shape of a tensor, without B. Raises InputError when the layout has none of that name."""
    if name not in dict(layout):
        raise InputError(f"layout: it has no {name}")
    return dict(layout)[name]


def values_of(layout: Layout) -> int:
    """Return V, the number of values of a clip."""
    return sum(math.prod(shape) for _, shape in layout)


def encoded_of(encoder: Encoder, packed: Tensor, layout: Layout, frame_mask: Tensor | None = None) -> Encoded:
    """Return the encoder's output for stored features `[B, V]`, as for the clips that they were made of.

    `frame_mask` as for `Encoder.forward`.

    Raises InputError when V is not that of the layout.
    """
    side = side_of(encoder)
    if packed.dim() != 2 or packed.shape[1] != values_of(layout):
        raise InputError(f"features: shape {list(packed.shape)}, expected [B, {values_of(layout)}]")
    parts = torch.split(packed, [math.prod(shape) for _, shape in layout], dim=1)
    found = {
        name: part.view(len(packed), *shape).float()
        for (name, shape), part in zip(layout, parts, strict=True)
    }
    modalities = encoder.config.modalities
    state: Any = None
    for number in range(len(side.tapped)):
        state = side.read(number, [found[f"{m}.tap{number}"] for m in modalities], state, frame_mask)
    return beside(side, state, encoder.read_out(encoder.blocks_from(found)))
