"""Write the files of `tests/earlier/VERSION` with the version of `stgcma` that is installed.

Usage: python tests/earlier/make.py FOLDER (a new one, for scratch); the archives and `expected.json` then
lie in FOLDER/VERSION (`0.1`). Run it once for each version, from its own commit, and keep what it made.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import stgcma
import torch
from make_collections import make_collections
from safetensors.torch import save_file
from stgcma.model import STGCMA, ModelConfig, build_from_config, import_reference, load_model, save_checkpoint
from stgcma.model.reference_names import reference_names
from stgcma.predict import predict
from stgcma.preprocess.pipeline import Options, preprocess
from stgcma.train.config import load_preset
from stgcma.train.evaluation import evaluate
from stgcma.train.loop import train
from stgcma.train.record import Record

COLLECTIONS = ("ave", "avs-s4", "music-avqa")
CLASSES = 4  # of the AVE shards, background included
MODEL = {"width": 16, "depths": [1], "heads": [2], "patch": 16, "adapter_ratio": 0.25}
TRAINING = (
    "data.workers=0", "data.augment=true", "data.mixup=0.5", "optim.batch_size=1", "optim.epochs=3",
    "optim.warmup_epochs=1", "optim.adapter_lr=1e-2", "optim.task_lr=1e-2", "train.save_every_steps=1",
)  # fmt: skip


def main(folder: Path) -> None:
    """Write everything into the new folder `folder`."""
    torch.set_num_threads(1)
    made = folder / ".".join(stgcma.__version__.split(".")[:2])
    made.mkdir(parents=True)
    make_collections(folder / "raw")
    for name in COLLECTIONS:
        preprocess(name, folder / "raw" / name, folder / name, Options(workers=1))
        pack(made / f"{name}.tar.xz", folder / name)
    video = min((folder / "raw/ave/AVE").glob("*.mp4"))
    shutil.copy(video, folder / "clip.mp4")
    expected = {"run": make_runs(folder), **make_checkpoints(folder)}
    names = ("run", "stopped", "imported", "of-file", "backbone.safetensors", "clip.mp4")
    pack(made / "models.tar.xz", *(folder / name for name in names))
    text = json.dumps(expected, indent=2) + "\n"
    (made / "expected.json").write_text(text)


def pack(path: Path, *entries: Path) -> None:
    """Pack files and folders, under their own names."""
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for entry in entries:
            archive.add(entry, entry.name, filter=without_owner)


def without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def make_runs(folder: Path) -> dict[str, Any]:
    """Train `run` to its end, and `stopped` until a signal; return the figures of the first."""
    settings = [f"model.{name}={value}" for name, value in MODEL.items()]
    config = load_preset("ave-demo", [*settings, *TRAINING])
    run = folder / "run"
    train(folder / "ave", run, config)
    write = Record.epoch

    def write_and_stop(record: Record, row: dict[str, Any], **scalars: Any) -> None:
        write(record, row, **scalars)
        os.kill(os.getpid(), signal.SIGTERM)  # seen at the next step, the first of the second epoch

    Record.epoch = write_and_stop  # type: ignore[method-assign]
    try:
        train(folder / "ave", folder / "stopped", config)
    except SystemExit:
        Record.epoch = write  # type: ignore[method-assign]
    result = evaluate(run).to_json()
    # A copy without the evaluation file is what tests evaluate again.
    (run / "evaluation-test.json").unlink()
    found = predict(run, [folder / "clip.mp4"], device="cpu").videos[0].to_json()
    return {
        "test": {name: result[name] for name in ("score", "seconds", "by_class", "confusion", "baselines")},
        "losses": [json.loads(line)["loss"] for line in (run / "steps.jsonl").read_text().splitlines()],
        "epochs": [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()],
        "clips": [json.loads(line)["clips"] for line in (run / "steps.jsonl").read_text().splitlines()],
        "seconds": [[second["class"], second["confidence"]] for second in found["seconds"]],
    }


def make_checkpoints(folder: Path) -> dict[str, Any]:
    """Import a checkpoint in the release's layout, and save one whose backbone comes from a file."""
    config = ModelConfig(
        task="ave", backbone="clip", frames=10, audio_shape=(102, 128), classes=CLASSES, **MODEL
    )
    import_reference(release_checkpoint(folder / "release.pth", config), folder / "imported", heads=2)
    backbone = build_from_config(config).encoder.backbone.state_dict()
    save_file(backbone, folder / "backbone.safetensors")
    of_file = build_from_config(config, weights=folder / "backbone.safetensors")
    save_checkpoint(of_file, folder / "of-file")
    return {name: {"logits": logits_of(load_model(folder / name))} for name in ("imported", "of-file")}


def release_checkpoint(path: Path, config: ModelConfig) -> Path:
    """Write a checkpoint in the release's names and layout, every entry drawn from its name."""
    model = STGCMA(config)
    own = {**model.frozen_tensors(), **model.trained_tensors()}
    entries = {}
    for theirs, ours in reference_names(config).items():
        x = draw(theirs, own[ours].shape) * (0.5 if own[ours].ndim < 2 else own[ours][0].numel() ** -0.5)
        flat = theirs in ("class_embedding", "positional_embedding", "positional_embedding_audio")
        entries[f"module.{theirs}"] = x.reshape(-1, x.shape[-1]).squeeze(0) if flat else x
    torch.save(entries, path)
    return path


def draw(name: str, shape: Any) -> torch.Tensor:
    """Standard normal numbers, a function of the name and the shape."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return torch.from_numpy(generator.standard_normal(tuple(shape)).astype(np.float32))


def logits_of(model: STGCMA) -> list[list[float]]:
    """The model's logits `[T, C]` for drawn inputs."""
    inputs = {name: draw(f"input.{name}", shape) for name, shape in model.config.input_shapes(1).items()}
    with torch.inference_mode():
        return model(**inputs)["logits"][0].tolist()  # type: ignore[no-any-return]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
