"""The interface of a task head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ..backbones.encoder import Encoded


class TaskHead(nn.Module, ABC):
    """A head: encoded clips to the task's outputs, by name.

    Attributes:
        returns_features: in training, return also the features that a loss compares, where the head has such.
    """

    returns_features: bool = False

    @abstractmethod
    def forward(self, encoded: Encoded, *args: Any, **options: Any) -> dict[str, Tensor]:
        """Return the outputs for encoded clips."""

    def run(
        self,
        encoded: Encoded,
        _inputs: Mapping[str, Tensor],
        _encode_frozen: Callable[[Tensor], Tensor],
        *,
        explain: bool = False,  # noqa: ARG002 - of heads that explain
    ) -> dict[str, Tensor]:
        """Return the outputs for encoded clips and the model's inputs.

        Heads that declare inputs, or `explains`, take them from here.

        Args:
            encoded: the encoder's output.
            inputs: all inputs of the model, by name, `owner` among them where it was given.
            encode_frozen: the encoder's `encode_frozen`.
            explain: return also where the head attended to.
        """
        return self(encoded)  # type: ignore[no-any-return]


def layer_names(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return names of the release's layers → the head's, for the weight and the bias of each."""
    return {
        f"{theirs}.{leaf}": f"head.{ours}.{leaf}"
        for theirs, ours in pairs.items()
        for leaf in ("weight", "bias")
    }
