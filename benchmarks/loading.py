"""Cost of loading a clip from shards and in the releases' way: JPEG folders and wav files.

For training both sides draw timm's augmentation and mix half of the sounds with another clip's. Frames for
evaluation stay bytes on our side, because the device normalises them; where the device is the CPU that costs,
too, and is a figure of its own. Beside it, what streamed reading costs against indexed reading.
"""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from clips import make_clips
from measurement import Figure, MeasurementError, in_turns
from releases import Clip, OnTheFly, extract
from stgcma.model import preset_config
from stgcma.model.inputs import normalise_frames
from stgcma.model.noise import BatchSlice
from stgcma.model.records import IMAGENET_MEAN, IMAGENET_STD
from stgcma.preprocess import Options, preprocess
from stgcma.shards.manifest import read_manifest
from stgcma.train.batch import batches
from stgcma.train.config import load_preset
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.loading import open_clips, training_batches
from stgcma.train.order import Item, MicroBatches
from stgcma.train.sections import DataConfig

PRESETS = {"clip": "ave-clip-b16-base", "swin": "ave-swin-b-base"}
BASELINE = "the releases' way: JPEGs and wav, fbanks on the fly"
# Where to augment, whether to normalise frames that are bytes, the target, a note.
WAYS = {
    "evaluation": ("", False, 0.08, "no hashes checked, frames left as bytes for the device"),
    "evaluation, normalised on the CPU": ("", True, None, ""),
    "training": ("loader", False, 0.25, ""),
    "training, augmented on the device": ("device", False, 0.15, "the device's work is not counted"),
}


def figures(scratch: Path, *, quick: bool) -> list[Figure]:
    """CPU-seconds a clip, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    raw, shards = scratch / "raw", scratch / "shards"
    count, distinct = (8, 4) if quick else (24, 12)
    videos = {path.stem: path for path in make_clips(raw, count, kind="clean", distinct=distinct)}
    preprocess("folder", str(raw), str(shards), Options(workers=2))
    names = [Path(record.source).stem for record in read_manifest(str(shards), split="train")]
    folders = [scratch / "folders" / name for name in names]
    for name, folder in zip(names, folders, strict=True):
        extract(videos[name], folder)
    made = []
    for backbone in ("clip",) if quick else PRESETS:
        ours = FromShards(shards, PRESETS[backbone])
        audio = ours.sets[""].normalisation
        theirs = OnTheFly(folders, backbone, audio.mean, audio.std)
        said = _compare(ours.load(0, augment=""), theirs.load(0, augment=""))
        for what, (augment, normalised, target, note) in WAYS.items():
            spent = in_turns(
                2 if quick else 3,
                partial(_cost, ours, len(names), augment=augment, normalised=normalised),
                partial(_cost, theirs, len(names), augment=augment),
            )
            told = f"{len(names)} clips, {note}; {said}" if what == "evaluation" else note
            name = f"loading for {what}, {backbone}"
            made.append(Figure(name, "CPU-s a clip", BASELINE, *spent, target, note=told))
        read = partial(_epoch_cost, shards, PRESETS[backbone])
        made.append(
            Figure(
                f"an epoch of clips, streamed, {backbone}", "CPU-s a clip",
                "`data.read=indexed`, the same shards and clips",
                *in_turns(2 if quick else 3, partial(read, "streamed"), partial(read, "indexed")),
                note="a local folder in the page cache, no augmentation, hashes checked, no loader processes",
            )
        )  # fmt: skip
    torch.set_num_threads(threads)
    return made


def _epoch_cost(shards: Path, preset: str, read: str) -> float:
    settings = [f"data.read={read}", "data.workers=0", "data.augment=false", "data.mixup=0"]
    config = load_preset(preset, settings)
    task, model = open_task(str(shards)), preset_config(preset)
    clips = open_clips(str(shards), "train", task, config.data, model, seed=0)
    with closing(clips):
        _, loader = training_batches(clips, config, rank=0, micro_batches=MicroBatches(), questions=None)
        before = time.process_time()
        read_keys = [key for batch in batches(loader) for key in batch.keys]
        cost = (time.process_time() - before) / len(read_keys)
    if sorted(read_keys) != sorted(clips.places.keys):
        raise MeasurementError(f"{read} reading gave {len(read_keys)} of {len(clips)} clips")
    return cost


class FromShards:
    """The training's own dataset."""

    def __init__(self, shards: Path, preset: str) -> None:
        task, model = open_task(str(shards)), preset_config(preset)
        self.sets = {"": ClipDataset(str(shards), "train", task, DataConfig(verify=False), model)}
        for where in ("loader", "device"):
            strong = DataConfig.model_validate(
                {"verify": False, "augment": True, "augment_on": where, "mixup": 0.5}
            )
            self.sets[where] = ClipDataset(str(shards), "train", task, strong, model, seed=0)
        self._drawn = 0

    def load(self, number: int, *, augment: str) -> Clip:
        """A clip's inputs; for training, augmented in the loader or on the device, drawn anew each time."""
        self._drawn += 1
        item = Item(number, 1, self._drawn, number, BatchSlice(first=0, count=1, total=1), True)
        read: Any = self.sets[augment][item]
        inputs: Clip = read.inputs
        return inputs


def _cost(side: FromShards | OnTheFly, clips: int, *, augment: str, normalised: bool = False) -> float:
    before = time.process_time()
    for number in range(clips):
        made = side.load(number, augment=augment)
        if normalised:
            normalise_frames(made["video"], IMAGENET_MEAN, IMAGENET_STD)
    return (time.process_time() - before) / clips


def _compare(ours: Clip, theirs: Clip) -> str:
    """Refuses sides that load something else; frames of other moments and another resampler differ a bit."""
    sound = float((ours["audio"] - theirs["audio"]).abs().mean())
    sight = float(
        (normalise_frames(ours["video"], IMAGENET_MEAN, IMAGENET_STD) - theirs["video"]).abs().mean()
    )
    if sound > 0.05 or sight > 0.3:
        raise MeasurementError(f"the sides differ: audio by {sound:.3f}, video by {sight:.3f} on average")
    return f"a clip's tensors differ by {sound:.3f} (audio) and {sight:.3f} (video) on average"
