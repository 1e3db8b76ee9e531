"""An fbank as a column, from the sound of the clips: no picture is decoded."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..console import message, progress
from ..errors import InputError
from ..preprocess.collections import COLLECTIONS
from ..preprocess.collections.specification import (
    FBANK_ALIASES,
    FBANK_KINDS,
    ClipSpecification,
    FeatureSettings,
    Sampling,
)
from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.reasons import ClipError
from ..preprocess.media.tools import tool_versions
from ..preprocess.media.video import deciding_versions
from ..preprocess.pipeline.engines import MakeSample, OnClip, run_threads
from ..preprocess.pipeline.options import Limits, Options
from ..preprocess.pipeline.raw_storage import ClipMaker, opened_raw
from ..preprocess.pipeline.run import for_recordings
from ..preprocess.pipeline.shard_plan import ShardTask
from ..preprocess.samples.sound import SoundMaker, WrittenClip
from ..shards.column_writer import write_column_shard
from ..shards.columns import ColumnShard
from ..shards.manifest import read_dataset
from ..shards.schema import ClipRecord, DatasetInfo, QuarantineRecord, Sample, shard_name
from ..shards.storage import Location
from .output import Added, ColumnOutput, open_column

# Tools whose versions decide no byte of an fbank.
_IDLE_TOOLS = ("stgcma", "pillow", "pyarrow")


def add_fbank(
    location: Location,
    member: str,
    *,
    raw: Location,
    workers: int = 1,
    retry_quarantined: bool = False,
    repair: bool = False,
    limits: Limits | None = None,
) -> Added:
    """Add an fbank to all clips of a finished directory, with the bytes that `preprocess` would have written.

    An interrupted call continues when it is repeated; a complete column is left as it is, and completed where
    the directory has grown.

    Args:
        location: the directory, a path or a URL.
        member: `fbank_128` or `fbank_224`, or an alias (`clip`, `swin`).
        raw: the collection that the directory was made of, a folder or a URL.
        workers: number of decoding processes.
        retry_quarantined: make the shards again that lack a clip.
        repair: compare every shard with its hashes, and make those again that are missing or damaged.
        limits: time and memory for each clip.

    Raises:
        InputError: for a directory or collection that does not fit.
        StgcmaError: when the directory cannot be written.
    """
    info = read_dataset(location)
    member = fbank_member(member)
    _check_new(info, member, location)
    with open_column(location, member) as output:
        settings, versions = _settings(output, info, member)
        kept = output.begin(settings, versions, retry_quarantined=retry_quarantined, repair=repair)
        options = _options(info, member, workers, limits)
        return output.complete(kept, lambda missing: _made(output, info, raw, options, missing))


def fbank_member(name: str) -> str:
    """Return the member of an fbank by its name or alias. Raises InputError for another name."""
    member = FBANK_ALIASES.get(name, name)
    if member not in FBANK_KINDS:
        known = ", ".join((*FBANK_ALIASES, *FBANK_KINDS))
        raise InputError(
            f"column is {name!r}, must be an fbank: {known}; tokens of a backbone are added with "
            "`stgcma shards add-tokens`"
        )
    return member


def _check_new(info: DatasetInfo, member: str, location: Location) -> None:
    if any(f"fbank_{kind['mel_bins']}" == member for kind in info.features["fbanks"].values()):
        raise InputError(f"{location} has {member} in its shards; nothing is to be added")
    if info.name not in COLLECTIONS.names:
        raise InputError(
            f"{location} is of the collection {info.name!r}, whose annotations cannot be read again; "
            f"known are {', '.join(COLLECTIONS.names)}"
        )


def _options(info: DatasetInfo, member: str, workers: int, limits: Limits | None) -> Options:
    """Return the options that the directory was made with; those that earlier versions lack by default."""
    features = info.features
    names = ("decoder", "missing_audio", "allow_links", "audio_stream", "trim")
    recorded: dict[str, Any] = {name: features[name] for name in names if name in features}
    values = features.get("collection_options") or {}
    chosen = {name: value for name, value in values.items() if value is not None}
    return Options(
        features=(member,), workers=workers, limits=limits or Limits(), collection=chosen, **recorded
    )


def _settings(output: ColumnOutput, info: DatasetInfo, member: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings and the versions of the tools that decide the column's bytes."""
    settings = {
        "kind": "fbank",
        "fbank": FBANK_KINDS[member].to_json(),
        "sampling": info.features["sampling"],
    }
    decoders = {clip.decoder for clips in output.clips.values() for clip in clips}
    versions = deciding_versions(tool_versions(), decoders)
    return settings, {name: version for name, version in versions.items() if name not in _IDLE_TOOLS}


def _made(
    output: ColumnOutput,
    info: DatasetInfo,
    raw: Location,
    options: Options,
    missing: Mapping[str, list[ClipRecord]],
) -> list[ColumnShard]:
    """Make the shards `missing`, and record each when it is finished."""
    with opened_raw(raw, info.name) as (folder, url):
        COLLECTIONS[info.name].check_raw(url, info.name)
        planned = _planned(info, folder, options)
        if not any(clip.source_files for clips in missing.values() for clip in clips):
            message(f"{output.location} records no hashes of source files: changed files are not detected")
        longest = max((clip.end_seconds or 0.0 for clip in planned.values()), default=0.0)
        options = for_recordings(options, longest) if longest else options
        maker = SoundMaker(
            folder,
            FeatureSettings(Sampling(**info.features["sampling"]), options.features),
            options.decoder,
            options.missing_audio,
            allow_links=options.allow_links,
            audio_stream=options.audio_stream,
            trim=options.trim,
        )
        tasks = [_task(shard, clips, planned) for shard, clips in missing.items()]
        made = []
        with progress("clips") as bar:
            total = sum(map(len, output.clips.values()))
            done = total - sum(map(len, missing.values()))
            row = bar.add_task(f"add {output.member}", total=total, completed=done, note="")
            failures: Counter[str] = Counter()

            def on_clip(_clip: ClipSpecification, outcome: ClipError | None) -> None:
                failures.update([] if outcome is None else [outcome.reason])
                bar.update(row, advance=1, note=f"{failures.total()} failed" if failures else "")

            work = _ShardMaker(output, ClipMaker(maker, url, folder.parent), on_clip)
            shards = run_threads(tasks, work, workers=options.workers, limits=options.limits)
            with contextlib.closing(shards):
                for shard in shards:
                    output.record(shard)
                    made.append(shard)
        return made


def _planned(info: DatasetInfo, folder: Any, options: Options) -> dict[str, ClipSpecification]:
    """Return the clips of the collection by key, the first of several with one key."""
    entry = COLLECTIONS[info.name]
    chosen = entry.parse_options(options.collection)
    more = {} if chosen is None else {"options": chosen}
    clips = entry.read(folder, allow_links=options.allow_links, **more).clips
    planned: dict[str, ClipSpecification] = {}
    for clip in clips:
        planned.setdefault(clip.key, clip)
    return planned


def _task(shard: str, clips: list[ClipRecord], planned: Mapping[str, ClipSpecification]) -> ShardTask:
    split, _, index = shard.removesuffix(".tar").rpartition("-")
    return ShardTask(split, int(index), tuple(_written(clip, planned.get(clip.key)) for clip in clips))


def _written(record: ClipRecord, planned: ClipSpecification | None) -> WrittenClip:
    if planned is None or planned.source != record.source:
        problem = "changed", f"the annotations under RAW do not name {record.key} of {record.source}"
        planned = ClipSpecification(record.key, record.split, record.source, problem=problem)
    return WrittenClip.of(planned, record)


@dataclass(frozen=True)
class _ShardMaker:
    """Makes the shards of a column; `on_clip` is called for every clip."""

    output: ColumnOutput
    make: MakeSample
    on_clip: OnClip

    def __call__(self, task: ShardTask, pool: IsolatedPool) -> ColumnShard:
        name = shard_name(task.split, task.index)
        quarantined: list[QuarantineRecord] = []

        def samples() -> Iterator[tuple[ClipRecord, Sample]]:
            outcomes = iter(pool.map(self.make, task.clips))
            for clip, record in zip(task.clips, self.output.clips[name], strict=True):
                _, outcome = next(outcomes)
                self.on_clip(clip, outcome if isinstance(outcome, ClipError) else None)
                if isinstance(outcome, ClipError):
                    row = QuarantineRecord(clip.key, clip.source, outcome.reason, outcome.message)
                    quarantined.append(row)
                else:
                    yield record, outcome

        member = self.output.member
        made = ((clip, sample.members, sample.fbank_sums[member]) for clip, sample in samples())
        rows = write_column_shard(self.output.store.location, name, made)
        return ColumnShard(name, tuple(rows), tuple(quarantined))
