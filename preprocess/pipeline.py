"""`stgcma preprocess`: plan the shards of a collection, make them, account for every clip."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..console import message, progress
from ..errors import InputError
from ..shards.manifest import read_dataset, read_quarantine, write_dataset, write_manifest, write_quarantine
from ..shards.schema import SPLITS, AudioStatistics, DatasetInfo, Sample
from ..versions import package_versions
from .datasets import reader
from .engines import Limits, ShardTask, run_local
from .output import OutputFolder, ShardResult, make_plan, open_output
from .preflight import inspect
from .reasons import ClipError
from .sample import SampleMaker
from .specification import ClipSpecification, Collection, FeatureSettings
from .video import decoder_versions

# Enough shards for many workers in a small collection, few enough files in a large one: some 50 MB each.
CLIPS_PER_SHARD = 32


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to preprocess.

    Attributes:
        features: which backbones' fbanks to make: `clip`, `swin` or both.
        workers: decoding processes.
        decoder: video decoder, or `auto`.
        missing_audio: what becomes of a clip without an audio stream.
        allow_links: whether clips may be links that lead out of the raw folder.
        limit: make at most this many clips, taken from all splits alike.
        overwrite: discard what the output folder holds.
    """

    features: tuple[str, ...] = ("clip", "swin")
    workers: int = 1
    decoder: str = "auto"
    missing_audio: Literal["quarantine", "silence"] = "quarantine"
    allow_links: bool = False
    limit: int | None = None
    overwrite: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"--workers is {self.workers}, must be at least 1")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit is {self.limit}, must be at least 1")


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        info: the finished directory's description.
        failures: quarantined clips by reason.
        was_complete: whether there was nothing left to do.
    """

    info: DatasetInfo
    failures: dict[str, int]
    was_complete: bool

    @property
    def written(self) -> int:
        """Clips in the shards."""
        return sum(count["written"] for count in self.info.counts.values())

    @property
    def quarantined(self) -> int:
        """Clips that could not be made."""
        return sum(count["quarantined"] for count in self.info.counts.values())

    @property
    def failed_share(self) -> float:
        """Quarantined clips over all clips."""
        return self.quarantined / max(self.written + self.quarantined, 1)


def preprocess(name: str, raw: Path, out: Path, options: Options) -> Outcome:
    """Makes the shard directory `out` of the collection `name` under `raw`.

    Raises InputError for a wrong request or collection; a clip that cannot be read is quarantined.
    """
    read = reader(name)
    if not raw.is_dir():
        raise InputError(f"RAW {raw} is not a folder; give the folder of the {name} collection")
    collection = whole = read(raw)
    if options.limit is not None:
        collection = limited(collection, options.limit)
    settings = FeatureSettings(collection.sampling, options.features)
    features = {**settings.to_json(), "decoder": options.decoder, "missing_audio": options.missing_audio}
    versions = tool_versions()
    with open_output(out) as output:
        output.begin(
            make_plan(collection.name, features, collection.plan_sha256, versions),
            overwrite=options.overwrite,
        )
        if output.is_complete():
            output.end()
            failures = Counter(record.reason for record in read_quarantine(out))
            return Outcome(read_dataset(out), dict(failures), was_complete=True)
        message("\n".join(inspect(whole, raw).lines()))
        make = SampleMaker(
            raw, settings, options.decoder, options.missing_audio, allow_links=options.allow_links
        )
        results = _make_shards(plan_shards(collection.clips), make, output, options)
        return _finish(collection, features, versions, results, output)


def limited(collection: Collection, limit: int) -> Collection:
    """The collection with at most `limit` clips, from every split in proportion, one at least of each."""
    share = limit / max(len(collection.clips), 1)
    kept: list[ClipSpecification] = []
    for split in SPLITS:
        clips = [clip for clip in collection.clips if clip.split == split]
        kept += clips[: max(math.floor(len(clips) * share), 1)]
    return dataclasses.replace(collection, clips=tuple(kept[:limit]))


def plan_shards(clips: tuple[ClipSpecification, ...]) -> list[ShardTask]:
    """Divides the clips of each split into shards, in order. A key's second use becomes a failure."""
    seen: set[str] = set()
    by_split: dict[str, list[ClipSpecification]] = {split: [] for split in SPLITS}
    for clip in clips:
        if clip.key in seen:
            clip = dataclasses.replace(clip, problem=("duplicate-key", f"{clip.key} is planned twice"))
        seen.add(clip.key)
        by_split[clip.split].append(clip)
    return [
        ShardTask(split, index, tuple(planned[start : start + CLIPS_PER_SHARD]))
        for split, planned in by_split.items()
        for index, start in enumerate(range(0, len(planned), CLIPS_PER_SHARD))
    ]


def tool_versions() -> dict[str, str]:
    """Versions of the tools that write the shards."""
    packages = package_versions("torch", "torchaudio", "numpy", "pillow", "webdataset", "pyarrow")
    return packages | decoder_versions()


def _make_shards(
    tasks: list[ShardTask], make: SampleMaker, output: OutputFolder, options: Options
) -> list[ShardResult]:
    done = {(task.split, task.index): output.finished(task.split, task.index) for task in tasks}
    results = [result for result in done.values() if result is not None]
    remaining = [task for task in tasks if done[task.split, task.index] is None]
    failures: Counter[str] = Counter()
    with progress("clips") as bar:
        total = sum(len(task.clips) for task in tasks)
        skipped = total - sum(len(task.clips) for task in remaining)
        row = bar.add_task("preprocess", total=total, completed=skipped, note="")

        def on_clip(_clip: ClipSpecification, outcome: Sample | ClipError) -> None:
            if isinstance(outcome, ClipError):
                failures[outcome.reason] += 1
            bar.update(row, advance=1, note=f"{failures.total()} failed" if failures else "")

        for result in run_local(
            remaining, make, output.shards, workers=options.workers, limits=options.limits, on_clip=on_clip
        ):
            output.record(result)
            results.append(result)
    return sorted(results, key=lambda result: (SPLITS.index(result.split), result.index))


def _finish(
    collection: Collection,
    features: dict[str, object],
    versions: dict[str, str],
    results: list[ShardResult],
    output: OutputFolder,
) -> Outcome:
    counts = {
        split: {
            "written": sum(len(result.written) for result in results if result.split == split),
            "quarantined": sum(len(result.quarantined) for result in results if result.split == split),
        }
        for split in SPLITS
    }
    info = DatasetInfo(
        name=collection.name,
        task=collection.task,
        features=features,
        classes=collection.classes,
        counts=counts,
        audio=audio_statistics(results),
        versions=versions,
        plan_sha256=collection.plan_sha256,
        vocabulary=collection.vocabulary,
    )
    quarantined = [record for result in results for record in result.quarantined]
    write_manifest(output.path, [record for result in results for record in result.written])
    write_quarantine(output.path, quarantined)
    write_dataset(output.path, info)
    output.end()
    return Outcome(info, dict(Counter(record.reason for record in quarantined)), was_complete=False)


def audio_statistics(results: list[ShardResult]) -> dict[str, AudioStatistics]:
    """Mean and standard deviation of each fbank's values over the training clips, in shard order."""
    statistics = {}
    training = [result.sums for result in results if result.split == "train"]
    for name in sorted({name for sums in training for name in sums}):
        parts = [sums[name] for sums in training if name in sums]
        total, squares, count = (math.fsum(column) for column in zip(*parts, strict=True))
        mean = total / count
        statistics[name] = AudioStatistics(mean, math.sqrt(max(squares / count - mean * mean, 0.0)))
    return statistics
