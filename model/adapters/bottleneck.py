"""The bottleneck adapter, and the adapters of all modalities for one step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from .features import Features


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

    def down(self, x: Features) -> Tensor:
        """`[..., D]` → `[..., h]`."""
        return functional.gelu(x.through(self.fc1))

    def up(self, u: Tensor) -> Tensor:
        """`[..., h]` → `[..., D]`."""
        return self.fc2(u)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(Features(x)))


class StepAdapters(nn.ModuleDict):
    """The adapters of one step, one for each modality."""

    def __init__(self, modalities: Sequence[str], width: int, ratio: float) -> None:
        super().__init__({modality: Adapter(width, ratio) for modality in modalities})

    def forward(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Return the step's update of each modality: `[..., N_m, D]` → the same, in the same order."""
        return self.up(self.down([Features(x) for x in tokens]))

    def down(self, parts: Sequence[Features]) -> list[Tensor]:
        """Project into the bottleneck, as `Adapter.down`."""
        return [adapter.down(x) for adapter, x in zip(self._adapters(), parts, strict=True)]

    def up(self, hidden: Sequence[Tensor]) -> list[Tensor]:
        """Project out of the bottleneck, as `Adapter.up`."""
        return [adapter.up(u) for adapter, u in zip(self._adapters(), hidden, strict=True)]

    def _adapters(self) -> list[Adapter]:
        return list(self.values())  # type: ignore[arg-type]  # only ever adapters
