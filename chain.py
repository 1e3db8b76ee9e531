"""The stages in a row: raw videos to a score and a page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .console import message
from .preprocess.pipeline import Options, preprocess
from .preprocess.synthesis import ave as synthetic_ave
from .train.config import load_preset
from .train.evaluation import evaluate
from .train.loop import TrainSummary, train
from .train.report import write_report

DEMO_CLIPS = 160
DEMO_SEED = 0


@dataclass(frozen=True)
class DemoRun:
    """One trained model of the demo: its training summary and its test result."""

    modality: str
    summary: TrainSummary
    result: dict[str, Any]


@dataclass(frozen=True)
class DemoResult:
    """The runs, the one with both modalities first, and the page that shows them."""

    runs: list[DemoRun]
    page: Path


def demo(
    workdir: Path, *, clips: int = DEMO_CLIPS, seed: int = DEMO_SEED, compare: bool = False
) -> DemoResult:
    """Synthesises a collection, preprocesses it, trains on it, scores on its test split, writes the page.

    With `compare`, the same is trained on sight alone and on sound alone. What `workdir` holds already of
    the collection and the shards is used again; the runs are made anew.
    """
    workers = os.cpu_count() or 1
    raw, shards = workdir / f"raw-{clips}-{seed}", workdir / f"shards-{clips}-{seed}"
    if not raw.exists():
        message(f"{clips} encoded clips with known events → {raw}")
        synthetic_ave.synthesize(raw, clips=clips, seed=seed, workers=workers)
    message(f"frames and log-mel features → {shards}")
    preprocess("ave", raw, shards, Options(features=("clip",), workers=workers))
    runs, folders = [], []
    for modality in ("av", "video", "audio") if compare else ("av",):
        folder = workdir / f"run-{modality}"
        message(f"training, modality {modality} → {folder}")
        config = load_preset("ave-demo", modality=modality)
        summary = train(shards, folder, config, overwrite=True)
        runs.append(DemoRun(modality, summary, evaluate(folder)))
        folders.append(folder)
    return DemoResult(runs, write_report(folders))
