"""Files of a run and of a shard directory that are pushed; all others stay on this machine."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ..model.checkpoint import ADAPTERS, BACKBONE, DESCRIPTION
from ..shards.columns import COLUMN_FOLDER
from ..shards.schema import DATASET_FILE, MANIFEST_FILE, PLANNED_FILE, QUARANTINE_FILE, SHARD_FOLDER
from ..train.run_folder import SUMMARY
from ..train.run_records import METRICS

CARD = "README.md"
PICTURE = "prediction.png"
CONFIG, ABOUT = "config.yaml", "run.json"
EVALUATIONS = "evaluation-*.json"

RUN_PATTERNS = (
    CARD,
    PICTURE,
    ADAPTERS,
    DESCRIPTION,
    BACKBONE,
    CONFIG,
    DATASET_FILE,
    ABOUT,
    SUMMARY,
    METRICS,
    EVALUATIONS,
)
"""Files of a pushed run, all in one folder."""

SHARD_PATTERNS = (
    CARD,
    DATASET_FILE,
    MANIFEST_FILE,
    QUARANTINE_FILE,
    PLANNED_FILE,
    f"{SHARD_FOLDER}/*.tar",
    f"{COLUMN_FOLDER}/*",
)
"""Files of a pushed shard directory."""


SPACE_RUN = "run"
SPACE_PATTERNS = (CARD, "Dockerfile", "requirements.txt", "app.py", f"{SPACE_RUN}/*")
"""Files of a Space: the page, and the folder of the run that it serves."""


def is_pushed_file(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a file of a repository matches one of `patterns`: a push replaces or removes it."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
