"""Part `evaluation`: a forward pass against its floor, and `predict` of ten minutes of prepared windows."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import forward
import numpy as np
from gpu_parts.common import Report, Setting, synchronize
from gpu_parts.shards import make_shards, picture
from stgcma.predict import PREDICTORS, VideoInput
from stgcma.predict.trained import TrainedRun, open_run
from stgcma.preprocess.collections.windows import plan_windows
from stgcma.preprocess.media.audio import SAMPLE_RATE_HZ
from stgcma.preprocess.media.probe import MediaInfo
from stgcma.preprocess.samples.whole_video import WAVEFORM, DecodedVideo
from stgcma.train.config import load_preset
from stgcma.train.run import train

PRESET = "ave-clip-b16-base"
MINUTES = 10


def run(setting: Setting, report: Report) -> None:
    """Adds a row for each preset's forward pass, and one for `predict`."""
    for preset in ("ave-demo",) if setting.tiny else forward.PRESETS:
        report.attempt(f"forward, {preset}", lambda preset=preset: _forward(setting, preset))
    report.attempt("predict", lambda: _predict(setting))


def _forward(setting: Setting, preset: str) -> dict[str, Any]:
    figure = forward.compare(preset, setting.device, rounds=1 if setting.tiny else 3)
    return {
        "seconds": list(figure.ours),
        "floor_seconds": list(figure.theirs),
        "ratio": figure.middle,
        "target": figure.target,
        "ok": figure.met,
        "note": figure.note,
    }


def _predict(setting: Setting) -> dict[str, Any]:
    """The model, the merging by second and the pictures; decoding is left out, as it needs no GPU."""
    seconds = 30.0 if setting.tiny else 60.0 * MINUTES
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trained = _a_run(setting, folder)
        decoded = _prepared(folder / "decoded", trained, seconds)
        media = MediaInfo(Path("video.mp4"), "mp4", 0.0, seconds, video=None, audio=None)
        predictor = PREDICTORS["ave"](trained, VideoInput(media.path, media, decoded, "video", folder))
        trained(trained.window(decoded, 0))  # kernels are loaded at their first use
        synchronize(setting.device)
        started, inside = time.perf_counter(), 0.0
        for place in range(len(decoded.windows)):
            members = trained.window(decoded, place)
            before = time.perf_counter()
            predictor.add(members)
            inside += time.perf_counter() - before
        result = predictor.finish()
        spent = time.perf_counter() - started
        if len(result.seconds) != round(seconds):
            raise ValueError(f"{len(result.seconds)} seconds were predicted, expected {round(seconds)}")
    return {
        "video_seconds": seconds,
        "windows": len(decoded.windows),
        "seconds": spent,
        "model_and_merging_seconds": inside,
        "times_real_time": seconds / spent,
    }


def _a_run(setting: Setting, folder: Path) -> TrainedRun:
    shards = make_shards(folder / "shards", train=2, others=1)
    preset = "ave-demo" if setting.tiny else PRESET
    precision = "fp32" if setting.device == "cpu" else "bf16"
    chosen = [*setting.model_settings(preset), "model.weights=null", "data.workers=0", "data.augment=false"]
    chosen += [f"train.precision={precision}", "optim.epochs=1", "optim.warmup_epochs=0"]
    train(str(shards), folder / "run", load_preset(preset, chosen))
    return open_run(folder / "run", device=setting.device)


def _prepared(folder: Path, trained: TrainedRun, seconds: float) -> DecodedVideo:
    """Frames and sound as the decoding leaves them: the same few pictures again and again, noise."""
    windows = plan_windows(seconds, trained.window_seconds, trained.settings.sampling)
    rng = np.random.default_rng(0)
    pictures = [picture(rng) for _ in range(trained.settings.sampling.frames)]
    for place in range(len(windows)):
        inside = folder / f"{place:06d}"
        inside.mkdir(parents=True)
        for index, content in enumerate(pictures):
            (inside / f"frame_{index:02d}.jpg").write_bytes(content)
    sound = 0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE_HZ))
    (folder / WAVEFORM).write_bytes(sound.astype("<f4").tobytes())
    starts = tuple(round(window.start_seconds * SAMPLE_RATE_HZ) for window in windows)
    return DecodedVideo(
        folder=folder,
        seconds=seconds,
        windows=windows,
        sound_starts=starts,
        width=224,
        height=224,
        has_audio=True,
        warnings=(),
    )
