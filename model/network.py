"""The model: an encoder with a task head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from .allocator import compact_heap
from .backbones import FAMILIES
from .backbones.encoder import Encoder
from .config import ModelConfig
from .frozen_features import Layout, encoded_of
from .heads import HEADS
from .heads.base import TaskHead
from .input_checks import check_explain, check_inputs
from .records import FRAME_MASK
from .trained_on import TrainedOn


class STGCMA(nn.Module):
    """A frozen image transformer with adapters in time, in space and across the modalities.

    Make one with `build_model` or `load_model`. `encoder` holds the backbone and everything with the
    adapter learning rate, `head` the task head.
    """

    encoder: Encoder
    head: TaskHead

    def __init__(self, config: ModelConfig, *, backbone_device: str = "cpu") -> None:
        """Build the architecture; the frozen weights are empty until `weights.fill_backbone` fills them."""
        super().__init__()
        compact_heap()
        self.config = config
        self.backbone_source: dict[str, Any] = {}
        self.trained_on: TrainedOn | None = None
        self.full_precision: dict[str, Tensor] = {}  # float32 values of cast frozen weights, by name
        self.feature_layout: Layout | None = None  # of the stored features that the model is given
        self.encoder = FAMILIES[config.backbone.family].encoder(config, device=backbone_device)  # type: ignore[assignment]  # by contract
        self.head = HEADS[config.task].module(config)  # type: ignore[assignment]  # by contract
        self.encoder.freeze()

    def forward(
        self,
        *,
        video: Tensor | None = None,
        audio: Tensor | None = None,
        question: Tensor | None = None,
        negative: Tensor | None = None,
        frame_mask: Tensor | None = None,
        owner: Tensor | None = None,
        features: Tensor | None = None,
        explain: bool = False,
    ) -> dict[str, Tensor]:
        """Run the model on `B` clips.

        Args:
            video: `[B, T, 3, 224, 224]`, RGB, normalised with the backbone's mean and std.
            audio: `[B, T, F, M]`, normalised log-mel energies.
            question: `[B, 14]` int64 word ids, 0 = padding (AVQA).
            negative: `[B, T, 3, 224, 224]`, frames of other clips (AVQA, training only).
            frame_mask: `[B, T]` bool, False for the frames that pad a shorter clip to T (AVSS); all frames
                by default. Outputs of padding frames mean nothing, all others do not depend on them.
            owner: `[Q]` int64, the clip of every question, when clips do not have one question each
                (AVQA); `question` is then `[Q, 14]`. A clip is encoded once for all its questions.
            features: `[B, V]` float16, what the backbone made of the frames and the sound, in their place
                (`model/frozen_features.py`); their layout is in `feature_layout`. `negative` is then the
                tensor of it that `encoder.stored_video` names, of other clips' frames.
            explain: also return where the head attended to (AVQA).

        Returns:
            AVE: `logits` `[B, T, C]`. AVC: `logits` `[B, C]`. AVS: `mask_logits` `[B, T, 1, 224, 224]`.
            AVQA: `answer_logits` `[Q, answers]` (Q = B without `owner`), and with `negative` also
            `match_positive` and `match_negative` `[B·T, 2]`, with `explain` also the attention that
            `AvqaHead.forward` describes.
            AVVP: `logits` `[B, T, 2, C]`, and `audio`, `visual` and `clip` `[B, C]`, pooled probabilities.

        Raises:
            InputError: an input, or `explain`, is missing, not taken by this model, or of the wrong shape or
                dtype; on the CPU also a word id or an owner that does not exist.
        """
        every = {
            "video": video,
            "audio": audio,
            "question": question,
            "negative": negative,
            FRAME_MASK: frame_mask,
            "features": features,
        }
        given = {name: x for name, x in every.items() if x is not None}
        check_explain(self.config, explain)
        layout = None if features is None else self.feature_layout
        if features is not None and (layout is None or video is not None or audio is not None):
            raise InputError("features: taken in place of video and audio, by a model with a feature_layout")
        frames = "" if layout is None else self.encoder.stored_video
        inputs = check_inputs(self.config, given, owner, stored=layout, frames=frames)
        if owner is not None:
            inputs["owner"] = owner
        if features is None or layout is None:
            return self.head.run(self.encoder(inputs), inputs, self.encoder.encode_frozen, explain=explain)
        encoded = encoded_of(self.encoder, features, layout, frame_mask)
        return self.head.run(encoded, inputs, self.encoder.stored_tokens, explain=explain)

    def parameter_groups(self) -> dict[str, dict[str, nn.Parameter]]:
        """Return the trained parameters: `head` is the task head, `adapter` all others; names are stable."""
        return {
            "adapter": {f"encoder.{name}": p for name, p in self.encoder.trained()},
            "head": {f"head.{name}": p for name, p in self.head.named_parameters()},
        }

    def frozen_tensors(self) -> dict[str, Tensor]:
        """Return the frozen weights, by name, in float32 where their float32 values were kept."""
        kept = self.full_precision
        return {name: kept.get(name, p) for name, p in self.named_parameters() if not p.requires_grad}

    def backbone_tensors(self) -> dict[str, Tensor]:
        """Return the frozen weights that cannot be computed from other ones.

        The audio parts are derived from the backbone, unless they were imported with a checkpoint.
        """
        whole = self.backbone_source.get("kind") == "imported"
        return {n: p for n, p in self.frozen_tensors().items() if whole or n.startswith("encoder.backbone.")}

    def trained_tensors(self) -> dict[str, Tensor]:
        """Return the content of an adapter checkpoint: the trained parameters and their modules' buffers."""
        tensors: dict[str, Tensor] = {}
        for group in self.parameter_groups().values():
            tensors.update(group)
        tensors.update({f"encoder.{name}": buffer for name, buffer in self.encoder.trained_buffers()})
        tensors.update({f"head.{name}": buffer for name, buffer in self.head.named_buffers()})
        return tensors
