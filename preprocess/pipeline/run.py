"""`stgcma preprocess`: plan the shards of a collection, make them, account for every clip."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from ...console import message, progress
from ...errors import InputError
from ...shards.manifest import read_dataset, read_quarantine, write_dataset, write_manifest, write_quarantine
from ...shards.schema import MANIFEST_FILE, QUARANTINE_FILE, SPLITS, AudioStatistics, DatasetInfo
from ...shards.storage import Location, open_store
from ..collections import COLLECTIONS
from ..collections.preflight import inspect
from ..collections.specification import FBANK_KINDS, ClipSpecification, Collection, FeatureSettings
from ..media.reasons import ClipError
from ..media.sound_choice import check_choice
from ..media.tools import tool_versions
from ..media.video import deciding_versions, decoder_choices
from ..samples.sample import SampleMaker
from .engines import Engine, Limits, MakeSample, ShardTask, run_local
from .finished import kept_shards, whole_results
from .output import OutputFolder, ShardResult, open_output
from .plan import make_plan
from .raw_storage import ClipMaker, opened_raw
from .ray_engine import RayEngine

# Enough shards for many workers in a small collection, few enough files in a large one: some 50 MB each.
CLIPS_PER_SHARD = 32

MISSING_AUDIO = ("quarantine", "silence")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to preprocess.

    Attributes:
        features: the fbanks to make: `fbank_128` (alias `clip`), `fbank_224` (alias `swin`).
        workers: decoding processes.
        decoder: video decoder, or `auto`.
        missing_audio: what becomes of a clip without an audio stream.
        allow_links: whether clips may be links that lead out of the raw folder.
        audio_stream: the sound stream of a clip that is taken: `default`, `loudest`, or a number, from 0.
        trim: take the first span of a clip that is longer than its annotation, rather than put it aside.
        limit: make at most this many clips, taken from all splits alike.
        overwrite: discard what the output folder holds.
        retry_quarantined: make the shards again that lack a clip, and nothing else that is whole.
        repair: compare every shard and table with its hash, and make again what is missing or damaged.
        engine: `local` processes, or `ray`.
        ray_address: of the Ray cluster; without it RAY_ADDRESS, else a Ray of this machine alone.
    """

    features: tuple[str, ...] = tuple(FBANK_KINDS)
    workers: int = 1
    decoder: str = "auto"
    missing_audio: Literal["quarantine", "silence"] = "quarantine"
    allow_links: bool = False
    audio_stream: str = "default"
    trim: bool = False
    limit: int | None = None
    overwrite: bool = False
    retry_quarantined: bool = False
    repair: bool = False
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"--workers is {self.workers}, must be at least 1")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit is {self.limit}, must be at least 1")
        if self.decoder not in decoder_choices():
            raise InputError(f"--decoder is {self.decoder!r}, must be one of {', '.join(decoder_choices())}")
        if self.missing_audio not in MISSING_AUDIO:
            raise InputError(
                f"--missing-audio is {self.missing_audio!r}, must be one of {', '.join(MISSING_AUDIO)}"
            )
        check_choice(self.audio_stream)
        if self.overwrite and self.retry_quarantined:
            raise InputError("--overwrite makes every clip again; leave out --retry-quarantined")
        if self.overwrite and self.repair:
            raise InputError("--overwrite makes every clip again; leave out --repair")
        if self.engine not in ("local", "ray"):
            raise InputError(f"--engine is {self.engine!r}, must be local or ray")
        if self.ray_address is not None and self.engine != "ray":
            raise InputError("--ray-address is for --engine ray")


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


def preprocess(name: str, raw: Location, out: Location, options: Options) -> Outcome:
    """Makes the shard directory `out` of the collection `name` under `raw`; both are folders or URLs.

    Raises InputError for a wrong request or collection; a clip that cannot be read is quarantined.
    """
    read = COLLECTIONS[name].read
    with opened_raw(raw, name) as (folder, url):
        folder = folder.absolute() if options.engine == "ray" else folder
        collection = whole = read(folder, allow_links=options.allow_links)
        if options.limit is not None:
            collection = limited(collection, options.limit)
        settings = FeatureSettings(collection.sampling, options.features)
        make = SampleMaker(
            folder,
            settings,
            options.decoder,
            options.missing_audio,
            allow_links=options.allow_links,
            audio_stream=options.audio_stream,
            trim=options.trim,
        )
        features = {
            **settings.to_json(),
            "decoder": options.decoder,
            "missing_audio": options.missing_audio,
            "allow_links": options.allow_links,
            "audio_stream": options.audio_stream,
            "trim": options.trim,
        }
        return build(
            collection,
            ClipMaker(make, url, folder.parent),
            features,
            out,
            options,
            preflight=lambda: inspect(whole, folder, allow_links=options.allow_links).lines(),
        )


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
    """Makes the shard directory `out` of the samples that `make` makes of the collection's clips.

    `features` are the settings that decide what `make` makes; the lines of `preflight` are told before any
    work. Raises InputError when `out` holds another result, StgcmaError when it cannot be written.
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


def limited(collection: Collection, limit: int) -> Collection:
    """The collection with at most `limit` clips, from every split in proportion, one at least of each."""
    share = limit / max(len(collection.clips), 1)
    kept: list[ClipSpecification] = []
    for split in SPLITS:
        clips = [clip for clip in collection.clips if clip.split == split]
        kept += clips[: max(math.floor(len(clips) * share), 1)]
    return dataclasses.replace(collection, clips=tuple(kept[:limit]))


def plan_shards(
    clips: tuple[ClipSpecification, ...], clips_per_shard: int = CLIPS_PER_SHARD
) -> list[ShardTask]:
    """Divides the clips of each split into shards, in order. A key's second use becomes a failure."""
    seen: set[str] = set()
    by_split: dict[str, list[ClipSpecification]] = {split: [] for split in SPLITS}
    for clip in clips:
        if clip.key in seen:
            clip = dataclasses.replace(clip, problem=("duplicate-key", f"{clip.key} is planned twice"))
        seen.add(clip.key)
        by_split[clip.split].append(clip)
    return [
        ShardTask(split, index, tuple(planned[start : start + clips_per_shard]))
        for split, planned in by_split.items()
        for index, start in enumerate(range(0, len(planned), clips_per_shard))
    ]


def _finished(output: OutputFolder, options: Options, *, check: bool) -> list[ShardResult]:
    """The shards that are made already and stay; `check` compares them with their hashes."""
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
    """Mean and standard deviation of each fbank's values over the training clips, in shard order."""
    statistics = {}
    training = [result.sums for result in results if result.split == "train"]
    for name in sorted({name for sums in training for name in sums}):
        parts = [sums[name] for sums in training if name in sums]
        total, squares, count = (math.fsum(column) for column in zip(*parts, strict=True))
        mean = total / count
        statistics[name] = AudioStatistics(mean, math.sqrt(max(squares / count - mean * mean, 0.0)))
    return statistics
