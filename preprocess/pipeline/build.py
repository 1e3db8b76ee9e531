"""Make a shard directory: plan the shards, make those that are missing, write the tables."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ...console import message, progress
from ...shards.manifest import read_dataset, read_quarantine, write_dataset, write_manifest, write_quarantine
from ...shards.schema import MANIFEST_FILE, QUARANTINE_FILE, SPLITS, AudioStatistics, DatasetInfo
from ...shards.storage import Location, open_store
from ..collections.specification import ClipSpecification, Collection
from ..media.reasons import ClipError
from ..media.tools import tool_versions
from ..media.video import deciding_versions
from .engines import Engine, MakeSample, run_local
from .finished import kept_shards, whole_results
from .options import Options
from .output import OutputFolder, open_output
from .plan import make_plan
from .ray_engine import RayEngine
from .shard_plan import CLIPS_PER_SHARD, ShardTask, plan_shards
from .shard_result import ShardResult


@dataclass(frozen=True)
class Outcome:
    """Result of preprocessing.

    Attributes:
        info: the content of `dataset.json`.
        failures: number of quarantined clips by reason.
        was_complete: whether the directory was complete before.
    """

    info: DatasetInfo
    failures: dict[str, int]
    was_complete: bool

    @property
    def written(self) -> int:
        """Number of clips in the shards."""
        return sum(count["written"] for count in self.info.counts.values())

    @property
    def quarantined(self) -> int:
        """Number of clips that could not be made."""
        return sum(count["quarantined"] for count in self.info.counts.values())

    @property
    def failed_share(self) -> float:
        """Quarantined clips as a share of all clips."""
        return self.quarantined / max(self.written + self.quarantined, 1)


def build(
    collection: Collection,
    make: MakeSample,
    features: dict[str, Any],
    out: Location,
    options: Options,
    *,
    preflight: Callable[[], Iterable[str]] | None = None,
    engine: Engine | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
) -> Outcome:
    """Make the shard directory `out` from the clips of a collection.

    Args:
        collection: the clips.
        make: makes the sample of a clip.
        features: settings that decide the bytes of the samples.
        out: the folder or URL to write.
        options: workers, limits, and how to treat the content of `out`.
        preflight: returns lines that are shown before any work.
        engine: makes the shards; by default the engine of `options`.
        clips_per_shard: number of clips in each shard.

    Raises:
        InputError: when `out` holds another result.
        StgcmaError: when `out` cannot be written.
    """
    info = DatasetInfo(
        name=collection.name,
        task=collection.task,
        features=features | {"clips_per_shard": clips_per_shard},
        classes=collection.classes,
        counts={},
        audio={},
        versions=tool_versions(),
        plan_sha256=collection.plan_sha256,
        vocabulary=collection.vocabulary,
    )
    plan = make_plan(info)
    with open_output(out) as output:
        output.begin(plan, overwrite=options.overwrite, repair=options.repair)
        tasks = plan_shards(collection.clips, clips_per_shard)
        unchecked = options.repair
        if output.is_complete():
            kept = kept_shards(out, tasks, retry_quarantined=options.retry_quarantined, repair=options.repair)
            if kept is None:
                output.end()
                failures = Counter(record.reason for record in read_quarantine(out))
                return Outcome(read_dataset(out), dict(failures), was_complete=True)
            output.reopen(plan, kept)
            unchecked = False
        if preflight is not None:
            message("\n".join(preflight()))
        done = _finished(output, options, check=unchecked)
        results = _make_shards(tasks, done, make, output, options, engine or _engine(options))
        return _finish(info, results, output)


def _engine(options: Options) -> Engine:
    return RayEngine(options.ray_address) if options.engine == "ray" else run_local


def _finished(output: OutputFolder, options: Options, *, check: bool) -> list[ShardResult]:
    """Return the results of finished shards that are kept; with `check`, compare them with their hashes."""
    results = [
        result
        for result in output.finished().values()
        if not (options.retry_quarantined and result.quarantined)
    ]
    return list(whole_results(open_store(output.location), results)) if check else results


def _make_shards(
    tasks: list[ShardTask],
    done: list[ShardResult],
    make: MakeSample,
    output: OutputFolder,
    options: Options,
    engine: Engine,
) -> list[ShardResult]:
    results = list(done)
    places = {(result.split, result.index) for result in done}
    remaining = [task for task in tasks if (task.split, task.index) not in places]
    failures: Counter[str] = Counter()
    with progress("clips") as bar:
        total = sum(len(task.clips) for task in tasks)
        skipped = total - sum(len(task.clips) for task in remaining)
        row = bar.add_task("preprocess", total=total, completed=skipped, note="")

        def on_clip(_clip: ClipSpecification, outcome: ClipError | None) -> None:
            if outcome is not None:
                failures[outcome.reason] += 1
            bar.update(row, advance=1, note=f"{failures.total()} failed" if failures else "")

        made = engine(
            remaining, make, output.shards, workers=options.workers, limits=options.limits, on_clip=on_clip
        )
        with contextlib.closing(made):
            for result in made:
                output.record(result)
                results.append(result)
    return sorted(results, key=lambda result: (SPLITS.index(result.split), result.index))


def _finish(info: DatasetInfo, results: list[ShardResult], output: OutputFolder) -> Outcome:
    counts = {
        split: {
            "written": sum(len(result.written) for result in results if result.split == split),
            "quarantined": sum(len(result.quarantined) for result in results if result.split == split),
        }
        for split in SPLITS
    }
    written = [record for result in results for record in result.written]
    quarantined = [record for result in results for record in result.quarantined]
    files = {
        MANIFEST_FILE: write_manifest(output.location, written),
        QUARANTINE_FILE: write_quarantine(output.location, quarantined),
    }
    versions = deciding_versions(info.versions, (record.decoder for record in written))
    info = dataclasses.replace(
        info, counts=counts, audio=audio_statistics(results), files=files, versions=versions
    )
    if not output.restore(info):
        write_dataset(output.location, info)
    output.end()
    return Outcome(info, dict(Counter(record.reason for record in quarantined)), was_complete=False)


def audio_statistics(results: list[ShardResult]) -> dict[str, AudioStatistics]:
    """Return mean and standard deviation of each fbank's values over the training clips, in shard order."""
    statistics = {}
    training = [result.sums for result in results if result.split == "train"]
    for name in sorted({name for sums in training for name in sums}):
        parts = [sums[name] for sums in training if name in sums]
        total, squares, count = (math.fsum(column) for column in zip(*parts, strict=True))
        mean = total / count
        statistics[name] = AudioStatistics(mean, math.sqrt(max(squares / count - mean * mean, 0.0)))
    return statistics
