"""Members of a clip to the tensors that the model takes: frames and fbanks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import InputError, StgcmaError
from ..model.inputs import normalise_fbank
from ..shards.jpeg_headers import check_jpeg
from ..shards.members import frame_names, read_energies
from ..shards.schema import DatasetInfo
from .sections import DataConfig


@dataclass(frozen=True)
class Normalisation:
    """Statistics of an fbank, which is normalised as `(x − mean) / (2·std)`."""

    mean: float
    std: float


def decode_frames(members: dict[str, bytes]) -> Tensor:
    """Decode the frames of a clip: `[T, 3, 224, 224]` uint8, not contiguous, which `run_model` normalises.

    uint8 is a quarter of the bytes to send from the loader's processes to the device. Raises StgcmaError for
    a frame that is not a JPEG picture, or frames of different sizes.
    """
    from torchvision.io import ImageReadMode

    # The operation behind torchvision's `decode_jpeg`, whose own checks take 7 % of its time.
    decode: Any = torch.ops.image.decode_jpeg
    frames = []
    for name in frame_names(members):
        check_jpeg(members[name], name)  # before pixels are decoded
        content = torch.frombuffer(bytearray(members[name]), dtype=torch.uint8)
        try:
            frames.append(decode(content, ImageReadMode.RGB.value, False))
        except RuntimeError as error:
            raise StgcmaError(f"{name} is not a JPEG picture: {error}") from None
    if len({frame.shape for frame in frames}) != 1:
        raise StgcmaError(f"there are {len(frames)} frames of different sizes, expected frames of one size")
    # The decoder gives the colours of a pixel side by side; the device reorders them faster.
    return torch.stack([frame.movedim(0, -1) for frame in frames]).movedim(-1, 1)


def read_fbank(members: dict[str, bytes], fbank: str) -> npt.NDArray[np.float32]:
    """Return the member `fbank` (`fbank_128`): log-mel energies `[K, frames, mel bins]`.

    Raises as `read_energies`.
    """
    # torch converts float16 five times as fast as NumPy.
    return torch.from_numpy(read_energies(members, fbank)).to(torch.float32).numpy()


def fbanks_of(info: DatasetInfo) -> set[str]:
    """Return the names of the fbanks in the shards."""
    return {f"fbank_{kind['mel_bins']}" for kind in info.features["fbanks"].values()} | info.audio.keys()


def normalisation_of(info: DatasetInfo, data: DataConfig, fbank: str, *, where: str) -> Normalisation:
    """Return the statistics of the member `fbank`: those of `data`, else those of the training clips.

    Raises InputError naming `where` when the shards have no such member.
    """
    measured = info.audio.get(fbank)
    if measured is None:
        made = ", ".join(sorted(info.audio)) or "none"
        raise InputError(
            f"{where} has no {fbank} of training clips (it has {made}); "
            "preprocess with the features that this preset's backbone needs"
        )
    mean = measured.mean if data.fbank_mean is None else data.fbank_mean
    std = measured.std if data.fbank_std is None else data.fbank_std
    return Normalisation(mean, std)


def normalise(features: npt.NDArray[np.float32], frames: int, normalisation: Normalisation) -> Tensor:
    """Log-mel energies `[K, n, mel bins]` → `[K, frames, mel bins]`, normalised, then cut or zero-padded.

    `features` is overwritten.
    """
    energies = torch.from_numpy(features)
    return normalise_fbank(energies, frames, normalisation.mean, normalisation.std, in_place=True)
