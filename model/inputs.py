"""One clip's frames, log-mel energies and question as the model's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .config import ModelConfig
from .heads.avqa import QUESTION_WORDS
from .network import STGCMA
from .records import FRAME_MASK

PADDING = 0
"""The id of the padding, and of words that training did not have."""


def prepare_inputs(
    model: STGCMA,
    *,
    frames: Tensor | None = None,
    fbank: Tensor | None = None,
    question: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """Return one clip as `model` takes it; train, evaluate and predict use the same functions.

    Args:
        model: a model that says what it was trained on: of a run, or of a checkpoint of this version.
        frames: `[T, 3, 224, 224]` uint8, RGB, as in a shard's `frame_00.jpg` …; for a model that takes a
            `frame_mask` (AVSS) also fewer than T.
        fbank: `[T, n, M]` log-mel energies, not normalised, as in a shard's `fbank_128.npy` (CLIP) or
            `fbank_224.npy` (Swin); n is any number of frames.
        question: the question's words as in a shard's `qa.json` (AVQA).

    Returns:
        The tensors of the given inputs: `video` `[1, T, 3, 224, 224]` and `audio` `[1, T, F, M]` are float32,
        normalised; `question` `[1, 14]` is int64; `frame_mask` `[1, T]` is bool. Several clips are joined
        with `torch.cat`. Call `model(**inputs)`.

    Raises:
        InputError: something is given that the model does not take or of another shape, or the model does
            not say how it was trained.
    """
    known = model.trained_on
    if known is None:
        raise InputError(
            "model: it does not say how its inputs were normalised (it is new, imported or older); "
            "set model.trained_on to a stgcma.model.TrainedOn"
        )
    config = model.config
    inputs: dict[str, Tensor] = {}
    if frames is not None:
        if frames.dtype != torch.uint8 or frames.dim() != 4 or frames.shape[1] != 3:
            raise InputError(f"frames: {_described(frames)}, expected uint8 [T, 3, height, width]")
        inputs["video"] = normalise_frames(frames, known.image_mean, known.image_std)[None]
    if fbank is not None:
        if fbank.dim() != 3 or not fbank.is_floating_point():
            raise InputError(f"fbank: {_described(fbank)}, expected float [T, n, {config.audio_shape[1]}]")
        energies = fbank.to(torch.float32)
        inputs["audio"] = normalise_fbank(energies, config.audio_shape[0], known.fbank_mean, known.fbank_std)[
            None
        ]
    if question is not None:
        words = known.vocabulary.get("words", ())  # without any, the model takes no question: see below
        ids = word_ids(question, {word: index for index, word in enumerate(words)})
        inputs["question"] = torch.tensor([ids], dtype=torch.int64)
    inputs = {name: tensor[None] for name, tensor in pad_clip(_unbatched(inputs), config).items()}
    shapes = config.input_shapes(1)
    for name, tensor in inputs.items():
        if tuple(tensor.shape) != shapes.get(name):
            taken = list(shapes[name]) if name in shapes else f"only {', '.join(shapes)}"
            raise InputError(f"{name}: {list(tensor.shape)}, the model takes {taken}")
    return inputs


def _unbatched(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[0] for name, tensor in inputs.items()}


def pad_clip(inputs: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return the inputs of one clip, without the batch dimension, padded to the T of the model.

    `video` and `audio` `[t, …]` get zeros after their last frame and window, and `frame_mask` `[T]` bool is
    added, True for the first t. All clips have the same size then, so neither the division of a batch into
    micro-batches nor the clips beside it change what a clip gives. For a model without `frame_mask`, whose
    clips all have T frames, nothing changes.

    Raises InputError for more than T frames, or as many windows as not frames.
    """
    if FRAME_MASK not in config.head_inputs:
        return dict(inputs)
    counts = {name: len(inputs[name]) for name in config.modalities if name in inputs}
    for name, count in counts.items():
        if not 0 < count <= config.frames or count != next(iter(counts.values())):
            said = ", ".join(f"{one} {number}" for one, number in counts.items())
            raise InputError(
                f"{name}: a clip of {said} steps, expected as many of each, from 1 to {config.frames}"
            )
    if not counts:
        return dict(inputs)
    (count,) = set(counts.values())
    padded = {
        name: functional.pad(x, (0, 0) * (x.dim() - 1) + (0, config.frames - count)) if name in counts else x
        for name, x in inputs.items()
    }
    return {**padded, FRAME_MASK: torch.arange(config.frames) < count}


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def normalise_frames(frames: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """RGB frames `[…, 3, H, W]` uint8 → the same shape, float32, `(x / 255 − mean) / std` by channel.

    `mean` and `std` are `image_mean` and `image_std` of the backbone's record.
    """
    # Filled on the device: a copy of a list would make the host wait for a GPU.
    means, stds = (
        torch.cat([torch.full((1, 1, 1), value, device=frames.device) for value in values])
        for values in (mean, std)
    )
    pixels = frames.to(torch.float32, memory_format=torch.contiguous_format)
    return pixels.div_(255).sub_(means).div_(stds)


def normalise_fbank(
    energies: Tensor, frames: int, mean: float, std: float, *, in_place: bool = False
) -> Tensor:
    """Log-mel energies `[K, n, M]` → `[K, frames, M]`, `(x − mean) / (2·std)`, then cut or zero-padded.

    `in_place` overwrites `energies`.
    """
    scaled = (energies.sub_(mean) if in_place else energies - mean).div_(2 * std)
    missing = frames - scaled.shape[1]
    return functional.pad(scaled, (0, 0, 0, missing)) if missing > 0 else scaled[:, :frames]


def word_ids(words: Sequence[str], vocabulary: Mapping[str, int]) -> list[int]:
    """Return the ids of a question's first 14 words, padded to 14; an unknown word is the padding."""
    ids = [vocabulary.get(word, PADDING) for word in words[:QUESTION_WORDS]]
    return ids + [PADDING] * (QUESTION_WORDS - len(ids))
