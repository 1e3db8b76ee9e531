"""AVSS: the class of every pixel that makes a sound, in each frame; 0 for all other pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checks import check_integer
from ..config import ModelConfig
from ..records import FRAME_MASK, Head, InputSpec
from .avs import AvsConfig, AvsHead

_MOST_CLASSES = 256  # of the masks, which are pictures of bytes


@dataclass(frozen=True, kw_only=True)
class AvssConfig(AvsConfig):
    """The options of the AVSS head: its width, and the number of classes, background included."""

    task = "avss"
    frames = 10

    classes: int = 71

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("classes", self.classes, most=_MOST_CLASSES)

    def inputs(self, frame_shape: tuple[int, ...]) -> dict[str, InputSpec]:
        """Return the mask of the frames: clips have T frames or fewer."""
        return {FRAME_MASK: InputSpec(frame_shape[:1], booleans=True, optional=True)}

    def outputs(self) -> dict[str, str]:
        """Return the meaning of `mask_logits`."""
        return {"mask_logits": "class scores of every pixel of the frames; softmax over dimension 2"}


class AvssHead(AvsHead):
    """The AVS head with a channel for each class: `mask_logits` `[B, T, classes, 224, 224]`."""

    def __init__(self, config: ModelConfig) -> None:
        head: Any = config.head
        super().__init__(config, channels=head.classes)


HEAD = Head(config=AvssConfig, module=AvssHead)
