"""Training on shards and evaluation.

>>> from stgcma.train import evaluate, load_preset, train
>>> config = load_preset("ave-demo", ["optim.epochs=2", "data.workers=0"])
>>> summary = train("shards", "new-run", config)
>>> summary.epochs, summary.score_name
(2, 'accuracy')
>>> result = evaluate("new-run", split="test")
>>> 0 <= result.score <= 1
True

A `Task` has the targets, losses and scores of one kind of collection; `TASKS` is the registry of tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_exports import lazy_exports

if TYPE_CHECKING:
    from .comparison import ComparedModel, Comparison, Variant, ablate, compare, make_variants
    from .config import RunConfig, load_preset
    from .evaluation import evaluate
    from .preset_files import preset_names
    from .repeats import ScoredRun, ScoredRuns, ScoredSeeds, repeat
    from .results import EvaluationResult
    from .run import train
    from .run_folder import RunFolder
    from .tasks import TASKS
    from .tasks.base import Task
    from .trained import Trained, open_trained
    from .trainer import TrainSummary

# Loaded on first use: torch takes seconds to import, and `stgcma --help` needs the names of tasks only.
_MODULES = {
    "TASKS": ".tasks",
    "ComparedModel": ".comparison",
    "Comparison": ".comparison",
    "EvaluationResult": ".results",
    "RunConfig": ".config",
    "RunFolder": ".run_folder",
    "ScoredRun": ".repeats",
    "ScoredRuns": ".repeats",
    "ScoredSeeds": ".repeats",
    "Task": ".tasks.base",
    "TrainSummary": ".trainer",
    "Trained": ".trained",
    "Variant": ".comparison",
    "ablate": ".comparison",
    "compare": ".comparison",
    "evaluate": ".evaluation",
    "load_preset": ".config",
    "make_variants": ".comparison",
    "open_trained": ".trained",
    "preset_names": ".preset_files",
    "repeat": ".repeats",
    "train": ".run",
}
__all__ = [
    "TASKS",
    "ComparedModel",
    "Comparison",
    "EvaluationResult",
    "RunConfig",
    "RunFolder",
    "ScoredRun",
    "ScoredRuns",
    "ScoredSeeds",
    "Task",
    "TrainSummary",
    "Trained",
    "Variant",
    "ablate",
    "compare",
    "evaluate",
    "load_preset",
    "make_variants",
    "open_trained",
    "preset_names",
    "repeat",
    "train",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULES)
