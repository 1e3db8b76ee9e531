"""The bottleneck adapter, and the adapters of all modalities for one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from .frozen_mlp import mlp_and_down


class Adapter(nn.Module):
    """`A(x) = W2·GELU(W1·x + b1) + b2`, D → h → D with the erf form of GELU.

    `W2` and `b2` start at zero, so that an untrained adapter adds nothing. `down` and `up` are apart
    because the cross-modal exchange happens between them.
    """

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def down(self, x: Tensor, through: nn.Linear | None = None) -> Tensor:
        """`[..., D]` → `[..., h]`.

        With `through`, x is the input of that frozen layer, whose output is adapted. `W1·(W·x + b)` is
        computed as `(W1·W)·x + W1·b`: the gradient of W1 then needs x, which attention keeps for its own
        backward pass anyway, and the layer's output need not be kept as well.
        """
        if through is None:
            return functional.gelu(self.fc1(x))
        weight = self.fc1.weight @ through.weight
        bias = self.fc1.weight @ through.bias + self.fc1.bias
        return functional.gelu(functional.linear(x, weight, bias))

    def up(self, u: Tensor) -> Tensor:
        """`[..., h]` → `[..., D]`."""
        return self.fc2(u)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


class StepAdapters(nn.ModuleDict):
    """The adapters of one step, one for each modality."""

    def __init__(self, modalities: Sequence[str], width: int, ratio: float) -> None:
        super().__init__({modality: Adapter(width, ratio) for modality in modalities})

    def forward(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Return the step's update of each modality: `[..., N_m, D]` → the same, in the same order."""
        return self.up(self.down(tokens))

    def down(self, tokens: Sequence[Tensor], through: nn.Linear | None = None) -> list[Tensor]:
        """Project into the bottleneck, as `Adapter.down`."""
        return [adapter.down(x, through) for adapter, x in zip(self._adapters(), tokens, strict=True)]

    def down_from(self, mlp: Any, n: Tensor, rows: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Return a frozen MLP's output `[rows, D]` and its projection into each bottleneck `[rows_m, h]`."""
        z, hidden = mlp_and_down(n, mlp, [adapter.fc1 for adapter in self._adapters()], rows)
        return z, [functional.gelu(u) for u in hidden]

    def up(self, hidden: Sequence[Tensor]) -> list[Tensor]:
        """Project out of the bottleneck, as `Adapter.up`."""
        return [adapter.up(u) for adapter, u in zip(self._adapters(), hidden, strict=True)]

    def _adapters(self) -> list[Adapter]:
        return list(self.values())  # type: ignore[arg-type]  # only ever adapters
