"""The description inside an exported file: what it takes, what it returns, and what it was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .. import __version__
from ..model import STGCMA
from ..model.records import FRAME_MASK
from ..shards.schema import DatasetInfo
from ..strict_json import strict_json
from ..train.inputs import Normalisation

FRAMES, FBANK = "frames", "fbank"
CLIPS, FBANK_FRAMES = "clips", "fbank_frames"
_VERSION = 1


@dataclass(frozen=True)
class TensorFacts:
    """An input or an output: `dtype` as torch and NumPy call it; a dimension of any size has a name."""

    dtype: str
    shape: tuple[int | str, ...]
    meaning: str


@dataclass(frozen=True)
class InGraph:
    """The normalisation of the inputs, which is part of the graph.

    Attributes:
        image_mean, image_std: by channel; `(x / 255 − mean) / std`.
        fbank: the member of a shard that the model reads, such as `fbank_128`.
        fbank_mean, fbank_std: `(x − mean) / (2·std)`.
        fbank_frames: time frames that the model reads: longer fbanks are cut, shorter ones padded with 0.
    """

    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    fbank: str
    fbank_mean: float
    fbank_std: float
    fbank_frames: int
    place: str = "in the graph: inputs are not normalised"


@dataclass(frozen=True)
class Description:
    """All that is needed to use a file without `stgcma`.

    Attributes:
        task: such as `ave`.
        collection: of the training data.
        backbone: the family.
        backbone_name: timm's name of the backbone; None for one without published weights.
        adapter: the method.
        modality: as in the model's configuration.
        inputs, outputs: by name, in order.
        normalisation: of the inputs.
        features: how a clip becomes frames and fbanks, as in `dataset.json`.
        classes: in label order.
        vocabulary: words and answers by id (AVQA).
    """

    task: str
    collection: str
    backbone: str
    backbone_name: str | None
    adapter: str
    modality: str
    inputs: dict[str, TensorFacts]
    outputs: dict[str, TensorFacts]
    normalisation: InGraph
    features: dict[str, Any]
    classes: tuple[str, ...]
    vocabulary: dict[str, list[str]]
    stgcma: str = __version__
    format_version: int = _VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the description for JSON."""
        return dataclasses.asdict(self)


def describe(
    model: STGCMA,
    info: DatasetInfo,
    normalisation: Normalisation,
    *,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
) -> Description:
    """Return the description of a model, given its inputs and outputs for some clips."""
    config, backbone = model.config, model.config.backbone
    takes, gives = _input_meanings(model), config.head.outputs()
    return Description(
        task=config.task,
        collection=info.name,
        backbone=backbone.family,
        backbone_name=backbone.timm_name,
        adapter=config.adapter.method,
        modality=config.modality,
        inputs={name: _facts(name, tensor, takes.get(name, "")) for name, tensor in inputs.items()},
        outputs={name: _facts(name, tensor, gives.get(name, "")) for name, tensor in outputs.items()},
        normalisation=InGraph(
            backbone.image_mean,
            backbone.image_std,
            backbone.fbank,
            normalisation.mean,
            normalisation.std,
            config.audio_shape[0],
        ),
        features=dict(info.features),
        classes=tuple(info.classes),
        vocabulary={name: list(words) for name, words in info.vocabulary.items()},
    )


def to_text(description: Description) -> str:
    """Return a description as the text that a file stores."""
    return strict_json(description.to_json())


def _input_meanings(model: STGCMA) -> dict[str, str]:
    return {
        FRAMES: "RGB frames of a clip, as in frame_00.jpg …",
        FBANK: f"log-mel energies of a clip, as in {model.config.backbone.fbank}.npy, of any length",
        "question": "word ids, 0 for padding and for unknown words; vocabulary.words has the words",
        FRAME_MASK: "true for the frames of a clip, false for those that pad a shorter one",
    }


def _facts(name: str, tensor: Tensor, meaning: str) -> TensorFacts:
    shape: list[int | str] = [CLIPS, *tensor.shape[1:]]
    if name == FBANK:
        shape[2] = FBANK_FRAMES
    return TensorFacts(str(tensor.dtype).removeprefix("torch."), tuple(shape), meaning)
