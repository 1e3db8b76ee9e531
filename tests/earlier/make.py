"""Write the files of `tests/earlier/VERSION` with the installed version of `stgcma`; see README.md.

Usage: python tests/earlier/make.py FOLDER VERSION

FOLDER is a new folder for scratch. The results are FOLDER/VERSION/models.tar.xz, FOLDER/VERSION/expected.json
and FOLDER/shards.tar.xz, which holds the shards of the archive beside this script as well.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_collections import make_collections
from safetensors.torch import save_file
from stgcma.model import (
    STGCMA,
    ModelConfig,
    build_from_config,
    build_model,
    import_reference,
    load_model,
    preset_config,
    save_checkpoint,
)
from stgcma.model.reference.importing import reference_names
from stgcma.predict import predict
from stgcma.preprocess.pipeline import Options, preprocess
from stgcma.train.config import load_preset
from stgcma.train.evaluation import evaluate
from stgcma.train.preset_files import preset_names
from stgcma.train.run import train
from stgcma.train.run_records import RecordWriter

SHARDS = Path(__file__).with_name("shards.tar.xz")
COLLECTIONS = ("ave", "avs-s4", "music-avqa")
CLASSES = 4  # of the AVE shards, background included
MODEL = {"width": 8, "depths": [1], "heads": [2], "patch": 16, "adapter_ratio": 0.25}
TRAINING = (
    "data.workers=0", "data.augment=true", "data.mixup=0.5", "optim.batch_size=1", "optim.epochs=3",
    "optim.warmup_epochs=1", "optim.adapter_lr=1e-2", "optim.task_lr=1e-2", "train.save_every_steps=1",
)  # fmt: skip
# Small models of the other tasks.
OTHER_MODELS: dict[str, dict[str, Any]] = {
    "avs-demo": {"width": 8, "depths": [1, 1, 1, 1], "heads": [1, 1, 2, 2], "mask_channels": 8},
    "avqa-demo": {"width": 8, "depths": [1, 1, 1, 1], "heads": [1, 1, 2, 2]},
}


def main(folder: Path, version: str) -> None:
    """Write everything into the new folder `folder`."""
    torch.set_num_threads(1)
    made = folder / version
    shards = folder / "shards" / version
    shards.mkdir(parents=True)
    made.mkdir()
    make_collections(folder / "raw")
    for name in COLLECTIONS:
        preprocess(name, folder / "raw" / name, shards / name, Options(workers=1))
    with tarfile.open(SHARDS) as archive:
        archive.extractall(folder / "shards", filter="data")
    # One archive: frames that are the same in two versions are stored once.
    pack(folder / "shards.tar.xz", *sorted((folder / "shards").iterdir()))
    shutil.copy(min((folder / "raw/ave/AVE").glob("*.mp4")), folder / "clip.mp4")
    expected = {"run": make_runs(folder, shards / "ave"), **make_checkpoints(folder)}
    expected["drawn"] = {preset: describe_drawn(folder, preset) for preset in OTHER_MODELS}
    expected["presets"] = {name: load_preset(name).model_dump(mode="json") for name in preset_names()}
    expected["architectures"] = {name: preset_config(name).to_dict() for name in preset_names()}
    names = ("run", "stopped", "imported", "of-file", "exported", "backbone.safetensors", "clip.mp4")
    pack(made / "models.tar.xz", *(folder / name for name in names))
    lines = (f'"{name}": {json.dumps(entry, separators=(",", ":"))}' for name, entry in expected.items())
    (made / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def pack(path: Path, *entries: Path) -> None:
    """Pack files and folders, under their own names."""
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for entry in entries:
            archive.add(entry, entry.name, filter=without_owner)


def without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def make_runs(folder: Path, shards: Path) -> dict[str, Any]:
    """Train `run` to its end, and `stopped` until a signal; return the figures of the first."""
    settings = [f"model.{name}={value}" for name, value in MODEL.items()]
    config = load_preset("ave-demo", [*settings, *TRAINING])
    run = folder / "run"
    train(shards, run, config)
    write = RecordWriter.epoch

    def write_and_stop(writer: RecordWriter, row: dict[str, Any], **scalars: Any) -> None:
        write(writer, row, **scalars)
        os.kill(os.getpid(), signal.SIGTERM)  # seen at the next step, the first of the second epoch

    RecordWriter.epoch = write_and_stop  # type: ignore[method-assign]
    try:
        train(shards, folder / "stopped", config)
    except SystemExit:
        RecordWriter.epoch = write  # type: ignore[method-assign]
    save_checkpoint(load_model(run), folder / "exported")
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
    fields = {"task": "ave", "backbone": "clip", "frames": 10, "audio_shape": (102, 128), "classes": CLASSES}
    config = ModelConfig.from_dict(fields | MODEL)
    import_reference(release_checkpoint(folder / "release.pth", config), folder / "imported", heads=2)
    backbone = build_from_config(config).encoder.backbone.state_dict()
    save_file(backbone, folder / "backbone.safetensors")
    of_file = build_from_config(config, weights=folder / "backbone.safetensors")
    save_checkpoint(of_file, folder / "of-file")
    models = {
        "imported": load_model(folder / "imported"),
        "of-file": load_model(folder / "of-file", weights=folder / "backbone.safetensors"),
    }
    return {name: {"logits": outputs_of(model)["logits"]} for name, model in models.items()}


def describe_drawn(folder: Path, preset: str) -> dict[str, Any]:
    """Describe a checkpoint whose tensors are drawn from their names: its model.json, shapes and outputs.

    The tensors of the AVQA head are too large to be stored.
    """
    model = build_model(preset, **OTHER_MODELS[preset])
    tensors = model.trained_tensors()
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(scaled_draw(name, tensor.shape))
    save_checkpoint(model, folder / preset)
    outputs = outputs_of(load_model(folder / preset))
    return {
        "model.json": json.loads((folder / preset / "model.json").read_text()),
        "shapes": {name: list(tensor.shape) for name, tensor in tensors.items()},
        "outputs": {name: corner(output) for name, output in outputs.items()},
    }


def corner(values: Any) -> Any:
    """Return nested lists with the first four entries of every dimension."""
    return [corner(value) for value in values[:4]] if isinstance(values, list) else values


def release_checkpoint(path: Path, config: ModelConfig) -> Path:
    """Write a checkpoint in the release's names and layout, every entry drawn from its name."""
    model = STGCMA(config)
    own = {**model.frozen_tensors(), **model.trained_tensors()}
    entries = {}
    for theirs, ours in reference_names(config).items():
        x = scaled_draw(theirs, own[ours].shape)
        flat = theirs in ("class_embedding", "positional_embedding", "positional_embedding_audio")
        entries[f"module.{theirs}"] = x.reshape(-1, x.shape[-1]).squeeze(0) if flat else x
    torch.save(entries, path)
    return path


def draw(name: str, shape: Any) -> torch.Tensor:
    """Standard normal numbers, a function of the name and the shape."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return torch.from_numpy(generator.standard_normal(tuple(shape)).astype(np.float32))


def scaled_draw(name: str, shape: Any) -> torch.Tensor:
    """Drawn numbers of a size that suits a weight of this shape."""
    x = draw(name, shape) * (0.5 if len(shape) < 2 else math.prod(shape[1:]) ** -0.5)
    return x.abs() if name.endswith("running_var") else x


def outputs_of(model: STGCMA) -> dict[str, Any]:
    """The model's outputs for drawn inputs of one clip, without the batch dimension."""
    inputs = {name: draw_input(name, shape) for name, shape in model.config.input_shapes(1).items()}
    with torch.inference_mode():
        return {name: output[0].tolist() for name, output in model(**inputs).items()}


def draw_input(name: str, shape: Any) -> torch.Tensor:
    """Draw an input of the model: ids of words for a question, else normal numbers."""
    x = draw(f"input.{name}", shape)
    return (x.abs() * 20).long() if name == "question" else x


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
