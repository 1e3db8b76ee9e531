"""Additions to shards that a run was trained without."""

from __future__ import annotations

from ..errors import StgcmaError
from ..shards.manifest import read_dataset
from ..shards.schema import DatasetInfo
from ..shards.storage import Location, is_url
from .run_folder import RunFolder


def unseen_additions(trained: DatasetInfo, present: DatasetInfo) -> str | None:
    """Return the additions to a directory since a run was trained on it, as text; None without any.

    Args:
        trained: description of the directory when the run was trained.
        present: its present description; that of another directory has no additions to it.
    """
    seen = [addition.plan_sha256 for addition in trained.all_additions]
    additions = present.all_additions
    if [addition.plan_sha256 for addition in additions[: len(seen)]] != seen:
        return None
    unseen = []
    for number, addition in enumerate(additions[len(seen) :], len(seen) + 1):
        clips = ", ".join(f"{count['written']} {split}" for split, count in addition.counts.items())
        unseen.append(f"addition {number} ({clips})")
    return ", ".join(unseen) or None


def unseen_by_run(run: RunFolder, present: DatasetInfo | None = None) -> str | None:
    """Return a line on the additions to a run's shards that it has not seen; None without any.

    `present` describes the shards; by default they are looked at where the run was trained, when that is a
    folder of this machine.
    """
    try:
        shards: Location = run.read_json("run.json", texts=("shards",))["shards"]
        if present is None:
            if not shards or is_url(shards):
                return None
            present = read_dataset(shards)
        unseen = unseen_additions(run.read_dataset(), present)
    except (StgcmaError, OSError):  # neither the shards nor a complete run need be there
        return None
    return f"{run.path} has not seen {unseen} of its shards" if unseen else None
