"""The releases' way with data, in the plainest code that does it well: the other side of the benchmarks.

Beforehand, every clip's frames are written at 8 fps and their own size as JPEG, and its sound as a 16 kHz
mono wav. Then either fbanks are computed of all of them, or frames and sound are read while training: ten of
the frames with Pillow, an fbank a second on the fly.

    python benchmarks/releases.py RAW OUT    # OUT/CLIP/{001.jpg, …, sound.wav, fbank_128.npy, fbank_224.npy}
"""

from __future__ import annotations

import argparse
import subprocess
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torchaudio
from PIL import Image
from stgcma.model.records import IMAGENET_MEAN, IMAGENET_STD
from stgcma.preprocess.collections.specification import FBANK_ALIASES, FBANK_KINDS, FbankKind
from stgcma.preprocess.media.ffmpeg_program import ffmpeg_executable
from stgcma.train.sections import DataConfig
from torch import Tensor

FPS, STEPS, RATE_HZ = 8, 10, 16000
Clip = dict[str, Tensor]


def extract(video: Path, folder: Path) -> None:
    """Writes a clip's frames and sound with one run of ffmpeg."""
    folder.mkdir(parents=True)
    frames = ["-vf", f"fps={FPS}", "-q:v", "2", str(folder / "%03d.jpg")]
    sound = ["-ac", "1", "-ar", str(RATE_HZ), str(folder / "sound.wav")]
    subprocess.run([ffmpeg_executable(), "-v", "error", "-i", str(video), *frames, *sound], check=True)


def read_sound(folder: Path) -> npt.NDArray[np.float32]:
    """A clip's waveform."""
    with wave.open(str(folder / "sound.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
    return samples.astype(np.float32) / 32768


def fbanks(waveform: npt.NDArray[np.float32], kind: FbankKind) -> list[Tensor]:
    """The log-mel energies of ten windows of a second, `[frames, bins]` each."""
    waveform = waveform - waveform.mean()
    starts = np.floor(np.linspace(0, len(waveform) - RATE_HZ * 1.1, STEPS)).astype(int)
    return [
        torchaudio.compliance.kaldi.fbank(
            torch.from_numpy(waveform[start : start + RATE_HZ]).float()[None],
            htk_compat=True,
            sample_frequency=RATE_HZ,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=kind.mel_bins,
            dither=0.0,
            frame_shift=kind.frame_shift_milliseconds,
        )
        for start in starts
    ]


class OnTheFly:
    """Clips as training tensors, from JPEG folders and wav files."""

    def __init__(self, folders: list[Path], kind: str, mean: float, std: float) -> None:
        from timm.data import create_transform

        self.folders, self.kind, self.mean, self.std = folders, FBANK_KINDS[FBANK_ALIASES[kind]], mean, std
        self.mixed = np.random.default_rng(0)
        pixels = {"input_size": 224, "interpolation": "bicubic", "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        self.plain = create_transform(**pixels, crop_pct=1.0)
        self.augment = create_transform(
            **pixels,
            is_training=True,
            auto_augment=DataConfig().rand_augment,
            re_prob=DataConfig().erasing,
            re_mode="pixel",
        )

    def load(self, number: int, *, augment: str) -> Clip:
        """`video` `[10, 3, 224, 224]` and `audio` `[10, frames, bins]`, both normalised.

        `augment` is not empty for training, wherever the other side augments.
        """
        train = bool(augment)
        frames = sorted(self.folders[number].glob("*.jpg"))
        chosen = np.linspace(0, len(frames) - 1, STEPS).round().astype(int)
        video = torch.stack([self._frame(frames[index], train=train) for index in chosen])
        waveform = read_sound(self.folders[number])
        if train and self.mixed.random() < 0.5:
            other = read_sound(self.folders[(number + 1) % len(self.folders)])
            share = self.mixed.beta(10, 10)
            length = min(len(waveform), len(other))
            waveform = share * waveform[:length] + (1 - share) * other[:length]
        return {"video": video, "audio": self._audio(waveform)}

    def _frame(self, path: Path, *, train: bool) -> Tensor:
        with Image.open(path) as image:
            made: Tensor = self.augment(image) if train else self.plain(image)
        return made

    def _audio(self, waveform: npt.NDArray[np.float32]) -> Tensor:
        frames = self.kind.target_frames
        windows = []
        for fbank in fbanks(waveform, self.kind):
            padding = (0, 0, 0, max(frames - len(fbank), 0))
            padded = torch.nn.functional.pad(fbank, padding, value=self.mean)
            windows.append((padded[:frames] - self.mean) / (2 * self.std))
        return torch.stack(windows)


def main() -> None:
    """Extracts every video below RAW, then computes both kinds of fbank of every sound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    videos = sorted(options.raw.rglob("*.mp4"))
    for video in videos:
        extract(video, options.out / video.stem)
    for video in videos:
        folder = options.out / video.stem
        waveform = read_sound(folder)
        for kind in FBANK_KINDS.values():
            np.save(folder / f"{kind.name}.npy", torch.stack(fbanks(waveform, kind)).numpy())


if __name__ == "__main__":
    main()
