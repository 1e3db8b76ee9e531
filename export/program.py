"""A model with the preparation of its inputs as one graph, from the members of a shard to the outputs.

Dimensions: B clips, T steps, n time frames of an fbank, F of them that the model reads, M mel bins.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from ..model import STGCMA
from ..model.inputs import normalise_fbank, normalise_frames
from ..model.records import FRAME_MASK
from ..train.inputs import Normalisation
from .description import CLIPS, FBANK, FBANK_FRAMES, FRAMES

_MODALITY_INPUTS = {"video": FRAMES, "audio": FBANK}
_TRACED_CLIPS = 2


class DeployedModel(nn.Module):
    """A model that takes the members of clips as they are in shards, and normalises them itself."""

    def __init__(self, model: STGCMA, normalisation: Normalisation) -> None:
        super().__init__()
        self.model, self.normalisation = model, normalisation

    def forward(
        self,
        frames: Tensor | None = None,
        fbank: Tensor | None = None,
        question: Tensor | None = None,
        frame_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Run the model; inputs that it does not take are None.

        Args:
            frames: `[B, T, 3, H, W]` uint8, RGB.
            fbank: `[B, T, n, M]` float32, log-mel energies, of any n.
            question: `[B, 14]` int64, word ids.
            frame_mask: `[B, T]` bool.
        """
        backbone = self.model.config.backbone
        inputs: dict[str, Tensor | None] = {"question": question, FRAME_MASK: frame_mask}
        if frames is not None:
            inputs["video"] = normalise_frames(frames, backbone.image_mean, backbone.image_std)
        if fbank is not None:
            inputs["audio"] = self._audio(fbank)
        outputs: dict[str, Tensor] = self.model(**inputs)
        return outputs

    def _audio(self, fbank: Tensor) -> Tensor:
        """Normalise as `normalise_fbank`, in a form that holds for every n: pad to n + F, cut to F."""
        length = self.model.config.audio_shape[0]
        scaled = (fbank - self.normalisation.mean) / (2 * self.normalisation.std)
        padding = scaled.new_zeros((*scaled.shape[:2], length, scaled.shape[3]))
        return torch.cat([scaled, padding], 2)[:, :, :length]


def input_names(model: STGCMA) -> tuple[str, ...]:
    """Return the names of a deployed model's inputs; frames for training alone are not among them."""
    config = model.config
    heads = [name for name in config.head_inputs if name in ("question", FRAME_MASK)]
    return (*(_MODALITY_INPUTS[m] for m in config.modalities), *heads)


def draw_clips(model: STGCMA, normalisation: Normalisation, *, clips: int, length: int) -> dict[str, Tensor]:
    """Draw inputs of a deployed model from a fixed seed: `clips` clips, fbanks of `length` time frames."""
    config, generator = model.config, torch.Generator().manual_seed(clips)
    side, bins = config.backbone.image_size, config.audio_shape[1]
    drawn: dict[str, Tensor] = {}
    for name in input_names(model):
        if name == FRAMES:
            shape = (clips, config.frames, 3, side, side)
            drawn[name] = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        elif name == FBANK:
            energies = torch.randn((clips, config.frames, length, bins), generator=generator)
            drawn[name] = energies * normalisation.std + normalisation.mean
        elif name == FRAME_MASK:
            counts = 1 + torch.arange(clips) % config.frames
            drawn[name] = torch.arange(config.frames) < counts.flip(0)[:, None]
        else:
            spec = config.head_inputs[name]
            most = spec.below[0] if spec.below is not None else 1
            drawn[name] = torch.randint(0, most, (clips, *spec.shape), generator=generator)
    return drawn


def trace(deployed: DeployedModel) -> ExportedProgram:
    """Trace a model in evaluation mode on the CPU, for any number of clips and any length of fbanks."""
    model = deployed.model
    inputs = draw_clips(
        model, deployed.normalisation, clips=_TRACED_CLIPS, length=model.config.audio_shape[0] + 3
    )
    clips, length = Dim(CLIPS), Dim(FBANK_FRAMES)
    dynamic: dict[str, Any] = {name: {0: clips} for name in inputs}
    if FBANK in dynamic:
        dynamic[FBANK][2] = length
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about its own parts
        # Modules see that they are traced, and use their plain forward (`torch.compiler.is_compiling`).
        program = torch.export.export(deployed, (), inputs, dynamic_shapes=dynamic, strict=False)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it has the paths of this machine
    program.example_inputs = None
    return program


def expected(deployed: DeployedModel, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the model's own outputs for drawn clips, prepared as training and predicting do."""
    model, constants = deployed.model, deployed.normalisation
    backbone, prepared = model.config.backbone, {}
    for name, tensor in inputs.items():
        if name == FRAMES:
            prepared["video"] = normalise_frames(tensor, backbone.image_mean, backbone.image_std)
        elif name == FBANK:
            length = model.config.audio_shape[0]
            prepared["audio"] = torch.stack(
                [normalise_fbank(clip, length, constants.mean, constants.std) for clip in tensor]
            )
        else:
            prepared[name] = tensor
    with torch.inference_mode():
        outputs: dict[str, Tensor] = model(**prepared)
    return outputs
