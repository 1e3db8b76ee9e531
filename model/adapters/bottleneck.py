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

    def down(self, x: Tensor, through: nn.Linear | None = None) -> Tensor:
        """`[..., D]` → `[..., h]`.

        With `through`, x is the input of that frozen layer, and its output is what is adapted. `W1·(W·x + b)`
        is taken as `(W1·W)·x + W1·b`: the gradient of W1 then needs x, which attention keeps for its own
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
