"""The adapter: the one trained part that every block gets."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


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

    def down(self, x: Tensor) -> Tensor:
        """`[..., D]` → `[..., h]`."""
        return functional.gelu(self.fc1(x))

    def up(self, u: Tensor) -> Tensor:
        """`[..., h]` → `[..., D]`."""
        return self.fc2(u)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))
