"""What loading a clip costs, CPU-seconds, from shards and in the releases' way: JPEG folders and wav files.

    python benchmarks/loading.py [--clips 24] [--rounds 3] [--backbones clip swin]

The videos are made here: 10 s, 640x360, 25 fps, an AVE collection in small. The releases' way has, made
beforehand, every clip's frames at 8 fps and its own size as JPEG, and its sound as a 16 kHz mono wav; it
opens ten of the frames with Pillow, resizes them, and computes an fbank a second, on the fly. For training
both sides draw timm's augmentation and mix half of the sounds with another clip's. The sides take turns clip
by clip in one process with one thread, and must give nearly the same tensors. Frames
for evaluation stay bytes on our side; the device normalises them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchaudio
from PIL import Image
from stgcma.model import preset_config
from stgcma.model.noise import Part
from stgcma.preprocess.audio import ffmpeg_executable
from stgcma.preprocess.pipeline import Options, preprocess
from stgcma.preprocess.specification import FBANK_KINDS
from stgcma.train.augmentation import (
    ERASING_PROBABILITY,
    IMAGE_MEAN,
    IMAGE_STD,
    RAND_AUGMENT,
    normalise_frames,
)
from stgcma.train.config import DataConfig
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.order import Item
from torch import Tensor

SECONDS, FPS = 10, 8
PRESETS = {"clip": "ave-clip-b16-base", "swin": "ave-swin-b-base"}
Clip = dict[str, Tensor]


def make_raw(raw: Path, clips: int) -> list[str]:
    """Encodes `clips` videos as RAW/CLASS/*.mp4, all different; returns their names."""
    names = []
    for number in range(clips):
        path = raw / f"class_{number % 2}" / f"clip_{number:03d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = f"mandelbrot=s=640x360:r=25:start_x={-0.74 - number / 1e4},trim=duration={SECONDS}"
        sound = f"anoisesrc=d={SECONDS}:c=pink:r=44100:seed={number}"
        inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
        output = ["-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p", "-c:a", "aac", "-t", str(SECONDS)]
        subprocess.run([ffmpeg_executable(), "-v", "error", *inputs, *output, str(path)], check=True)
        names.append(str(path.relative_to(raw)))
    return names


class ReleasesWay:
    """Frames from JPEG folders and fbanks from wav files, in the plainest code that does it well."""

    def __init__(self, raw: Path, folder: Path, names: list[str], kind: str, mean: float, std: float) -> None:
        self.folder, self.kind, self.mean, self.std = folder, FBANK_KINDS[kind], mean, std
        self.names = [Path(name).stem for name in names]
        self.mixed = np.random.default_rng(0)
        for name in names:
            own = folder / Path(name).stem
            if own.exists():
                continue
            own.mkdir(parents=True)
            frames = ["-vf", f"fps={FPS}", "-q:v", "2", str(own / "%03d.jpg")]
            sound = ["-ac", "1", "-ar", "16000", str(own / "sound.wav")]
            subprocess.run(
                [ffmpeg_executable(), "-v", "error", "-i", str(raw / name), *frames, *sound], check=True
            )
        from timm.data import create_transform

        pixels = {"input_size": 224, "interpolation": "bicubic", "mean": IMAGE_MEAN, "std": IMAGE_STD}
        self.plain = create_transform(**pixels, crop_pct=1.0)
        self.augment = create_transform(
            **pixels,
            is_training=True,
            auto_augment=RAND_AUGMENT,
            re_prob=ERASING_PROBABILITY,
            re_mode="pixel",
        )

    def load(self, number: int, *, train: bool) -> Clip:
        frames = sorted((self.folder / self.names[number]).glob("*.jpg"))
        chosen = np.linspace(0, len(frames) - 1, SECONDS).round().astype(int)
        video = torch.stack([self._frame(frames[index], train=train) for index in chosen])
        waveform = self._waveform(number)
        if train and self.mixed.random() < 0.5:
            other = self._waveform((number + 1) % len(self.names))
            share = self.mixed.beta(10, 10)
            length = min(len(waveform), len(other))
            waveform = share * waveform[:length] + (1 - share) * other[:length]
        return {"video": video, "audio": self._audio(waveform)}

    def _frame(self, path: Path, *, train: bool) -> Tensor:
        with Image.open(path) as image:
            made: Tensor = self.augment(image) if train else self.plain(image)
        return made

    def _waveform(self, number: int) -> npt.NDArray[np.float32]:
        with wave.open(str(self.folder / self.names[number] / "sound.wav")) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
        return samples.astype(np.float32) / 32768

    def _audio(self, waveform: npt.NDArray[np.float32]) -> Tensor:
        waveform = waveform - waveform.mean()
        starts = np.floor(np.linspace(0, len(waveform) - 16000 * 1.1, SECONDS)).astype(int)
        windows = []
        for start in starts:
            fbank = torchaudio.compliance.kaldi.fbank(
                torch.from_numpy(waveform[start : start + 16000]).float()[None],
                htk_compat=True,
                sample_frequency=16000,
                use_energy=False,
                window_type="hanning",
                num_mel_bins=self.kind.mel_bins,
                dither=0.0,
                frame_shift=self.kind.frame_shift_milliseconds,
            )
            missing = self.kind.target_frames - len(fbank)
            padded = torch.nn.functional.pad(fbank, (0, 0, 0, max(missing, 0)), value=self.mean)
            windows.append((padded[: self.kind.target_frames] - self.mean) / (2 * self.std))
        return torch.stack(windows)


class FromShards:
    """The training's own dataset."""

    def __init__(self, shards: Path, preset: str) -> None:
        task, model = open_task(str(shards)), preset_config(preset)
        plain, strong = DataConfig(verify=False), DataConfig(verify=False, augment=True, mixup=0.5)
        self.sets = {
            False: ClipDataset(str(shards), "train", task, plain, model),
            True: ClipDataset(str(shards), "train", task, strong, model, seed=0),
        }

    def load(self, number: int, *, train: bool) -> Clip:
        read: Any = self.sets[train][Item(number, 0, 0, number, Part(first=0, count=1, total=1), True)]
        inputs: Clip = read["inputs"]
        return inputs


def check(ours: Clip, theirs: Clip) -> None:
    """Refuses sides that load something else; frames of other moments and another resampler differ a bit."""
    sound = float((ours["audio"] - theirs["audio"]).abs().mean())
    sight = float((normalise_frames(ours["video"]) - theirs["video"]).abs().mean())
    if sound > 0.05 or sight > 0.3:
        raise SystemExit(f"the sides differ: audio by {sound:.3f} on average, video by {sight:.3f}")
    print(f"  same clip on both sides: audio differs by {sound:.4f}, video by {sight:.4f} on average")


def cost(side: FromShards | ReleasesWay, number: int, *, train: bool) -> float:
    before = time.process_time()
    side.load(number, train=train)
    return time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbones", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        raw, shards = Path(scratch) / "raw", Path(scratch) / "shards"
        names = make_raw(raw, options.clips)
        preprocess("folder", str(raw), str(shards), Options(workers=2))
        for backbone in options.backbones:
            ours = FromShards(shards, PRESETS[backbone])
            clips = [place.key for place in ours.sets[False].places]
            audio = ours.sets[False].normalisation
            by_key = {key: name for name in names for key in clips if Path(name).stem in key}
            theirs = ReleasesWay(
                raw,
                Path(scratch) / "release",
                [by_key[key] for key in clips],
                backbone,
                audio.mean,
                audio.std,
            )
            print(f"{backbone}: {len(clips)} clips, medians of {options.rounds} rounds, CPU-seconds a clip")
            check(ours.load(0, train=False), theirs.load(0, train=False))
            for train in (False, True):
                ratios, spent = [], []
                for _ in range(options.rounds):
                    pairs = [
                        (cost(ours, number, train=train), cost(theirs, number, train=train))
                        for number in range(len(clips))
                    ]
                    mine, other = (sum(side) / len(clips) for side in zip(*pairs, strict=True))
                    ratios.append(mine / other)
                    spent.append((mine, other))
                mine, other = (statistics.median(side) for side in zip(*spent, strict=True))
                print(
                    f"  {'training' if train else 'evaluation'}: {mine:.4f} against {other:.4f}, ratio "
                    f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
                )


if __name__ == "__main__":
    main()
