"""The model: an encoder with a task head, and the checks on what goes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .allocator import compact_heap
from .backbones.clip import ClipEncoder
from .backbones.encoder import Encoder
from .backbones.swin import SwinEncoder
from .config import ModelConfig
from .heads.ave import AveHead
from .heads.avqa import AvqaHead
from .heads.avs import AvsHead
from .trained_on import TrainedOn

# What autocast's users pass beside float32. Float64 inputs are rather a conversion that was forgotten.
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


class STGCMA(nn.Module):
    """A frozen image transformer that adapters taught time, sound and their exchange.

    Make one with `build_model` or `load_model`. `encoder` holds the backbone and everything with the
    adapter learning rate, `head` the task head.
    """

    def __init__(self, config: ModelConfig, *, backbone_device: str = "cpu") -> None:
        """Builds the architecture; the frozen weights are empty until `build.fill_backbone` fills them."""
        super().__init__()
        compact_heap()
        self.config = config
        self.backbone_source: dict[str, Any] = {}
        self.trained_on: TrainedOn | None = None
        self.encoder: Encoder = _encoder(config, backbone_device)
        self.head = _head(config)
        self.encoder.freeze()

    def forward(
        self,
        *,
        video: Tensor | None = None,
        audio: Tensor | None = None,
        question: Tensor | None = None,
        negative: Tensor | None = None,
        owner: Tensor | None = None,
        explain: bool = False,
    ) -> dict[str, Tensor]:
        """Runs the model on `B` clips.

        Args:
            video: `[B, T, 3, 224, 224]`, RGB, ImageNet mean/std normalised.
            audio: `[B, T, F, M]`, normalised log-mel energies.
            question: `[B, 14]` int64 word ids, 0 = padding (AVQA).
            negative: `[B, T, 3, 224, 224]`, frames of other clips (AVQA, training only).
            owner: `[Q]` int64, the clip of every question, when clips do not have one question each
                (AVQA); `question` is then `[Q, 14]`. A clip is encoded once for all its questions.
            explain: also return what the AVQA head looked at.

        Returns:
            AVE: `logits` `[B, T, C]`. AVS: `mask_logits` `[B, T, 1, 224, 224]`. AVQA: `answer_logits`
            `[Q, answers]` (Q = B without `owner`), and with `negative` also `match_positive` and
            `match_negative` `[B·T, 2]`, with `explain` also what `AvqaHead.forward` says.

        Raises:
            InputError: an input, or `explain`, is missing, not taken by this model, or of the wrong shape or
                dtype; on the CPU also a word id or an owner that does not exist.
        """
        given = {"video": video, "audio": audio, "question": question, "negative": negative}
        if explain and not isinstance(self.head, AvqaHead):
            raise InputError(f"explain: given, but this {self.config.task} model takes no questions")
        inputs = check_inputs(self.config, {name: x for name, x in given.items() if x is not None}, owner)
        encoded = self.encoder(inputs)
        result: dict[str, Tensor]
        if isinstance(self.head, AvqaHead):
            other = self.encoder.encode_frozen(negative) if negative is not None else None
            result = self.head(encoded, inputs["question"], other, owner, explain=explain)
        else:
            result = self.head(encoded)
        return result

    def parameter_groups(self) -> dict[str, dict[str, nn.Parameter]]:
        """What is trained: `head` is the task head, `adapter` everything else; names are stable."""
        return {
            "adapter": {f"encoder.{name}": p for name, p in self.encoder.trained()},
            "head": {f"head.{name}": p for name, p in self.head.named_parameters()},
        }

    def frozen_tensors(self) -> dict[str, Tensor]:
        """The frozen weights, by name."""
        return {name: p for name, p in self.named_parameters() if not p.requires_grad}

    def backbone_tensors(self) -> dict[str, Tensor]:
        """The frozen weights that nothing else determines.

        The audio parts are derived from the backbone, unless an imported checkpoint brought its own.
        """
        whole = self.backbone_source.get("kind") == "imported"
        return {n: p for n, p in self.frozen_tensors().items() if whole or n.startswith("encoder.backbone.")}

    def trained_tensors(self) -> dict[str, Tensor]:
        """What an adapter checkpoint holds: the trained parameters and the head's buffers."""
        tensors: dict[str, Tensor] = {}
        for group in self.parameter_groups().values():
            tensors.update(group)
        tensors.update({f"head.{name}": buffer for name, buffer in self.head.named_buffers()})
        return tensors


def _encoder(config: ModelConfig, device: str) -> Encoder:
    if config.backbone == "clip":
        return ClipEncoder(config, device=device)
    return SwinEncoder(config, device=device)


def _head(config: ModelConfig) -> nn.Module:
    heads: dict[str, type[nn.Module]] = {"ave": AveHead, "avs": AvsHead, "avqa": AvqaHead}
    return heads[config.task](config)


def check_inputs(
    config: ModelConfig, given: Mapping[str, Tensor], owner: Tensor | None = None
) -> dict[str, Tensor]:
    """Refuses inputs that are missing, not wanted, or of the wrong shape or dtype; returns the rest."""
    shapes = config.input_shapes()
    for name, tensor in {**given, "owner": owner}.items():
        if tensor is not None and not isinstance(tensor, Tensor):
            raise InputError(f"{name}: {type(tensor).__name__}, expected a tensor")
    if owner is not None:
        _check_owner(owner, config)
    if unwanted := [name for name in given if name not in shapes]:
        raise InputError(f"{unwanted[0]}: given, but this {config.task} model takes {', '.join(shapes)}")
    batch = None
    for name, shape in shapes.items():
        if name not in given:
            if name == "negative":
                continue
            raise InputError(f"{name}: missing, expected a tensor {_show(shape)}")
        tensor = given[name]
        actual = tuple(tensor.shape)
        if batch is None and len(actual) == len(shape) and actual[0] > 0:
            batch = actual[0]
        rows = len(owner) if owner is not None and name == "question" else batch
        if rows is None or actual != (rows, *shape[1:]):
            wanted = shape if rows is None else (rows, *shape[1:])
            raise InputError(f"{name}: shape {_show(actual)}, expected {_show(wanted)}")
        allowed = (torch.int64,) if name == "question" else _FLOATS
        if tensor.dtype not in allowed:
            wanted_dtype = "int64" if name == "question" else "float32 (or float16, bfloat16)"
            raise InputError(f"{name}: dtype {str(tensor.dtype)[6:]}, expected {wanted_dtype}")
    if "question" in given:
        _check_range("question", given["question"], config.vocabulary, "vocabulary")
    if owner is not None and batch is not None:
        _check_range("owner", owner, batch, "number of clips")
    return dict(given)


def _check_range(name: str, indices: Tensor, size: int, what: str) -> None:
    """Refuses an index out of range, where its value costs nothing to read.

    Reading waits for a GPU, and a compiler's stand-ins have no values.
    """
    if torch.compiler.is_compiling() or type(indices) is not Tensor or indices.device.type != "cpu":
        return
    wrong = indices[(indices < 0) | (indices >= size)]
    if len(wrong):
        raise InputError(f"{name}: {int(wrong[0])}, expected 0 to {size - 1}: the {what} is {size}")


def _check_owner(owner: Tensor, config: ModelConfig) -> None:
    if config.task != "avqa":
        raise InputError(f"owner: given, but this {config.task} model takes no questions")
    if owner.dim() != 1 or owner.dtype != torch.int64 or len(owner) == 0:
        raise InputError(
            f"owner: {str(owner.dtype)[6:]} of shape {_show(tuple(owner.shape))}, "
            "expected int64 [Q], one or more questions"
        )


def _show(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
