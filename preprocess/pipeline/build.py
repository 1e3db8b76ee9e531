"""Make a shard directory: plan the shards, make those that are missing, write the tables."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...console import message, progress
from ...shards.manifest import read_dataset, read_quarantine
from ...shards.schema import ClipRecord, DatasetInfo
from ...shards.storage import Location, open_store
from ..collections.specification import ClipSpecification, Collection
from ..media.reasons import ClipError
from ..media.tools import tool_versions
from .amendment import Amendment, amend
from .description import Description
from .engines import Engine, MakeSample, run_local
from .finished import kept_shards, whole_results
from .finishing import Outcome, finish, part_outcome
from .former import Former
from .layout import Layout, make_layout
from .options import Options
from .output import OutputFolder, open_output
from .parts import shard_ends
from .plan import make_plan
from .ray_engine import RayEngine
from .shard_chunks import has_chunks
from .shard_plan import ShardTask, default_clips_per_shard
from .shard_result import ShardResult
from .source_changes import SourceNotes


def build(
    collection: Collection,
    make: MakeSample,
    features: dict[str, Any],
    out: Location,
    options: Options,
    *,
    preflight: Callable[[], Iterable[str]] | None = None,
    engine: Engine | None = None,
    clips_per_shard: int | None = None,
    sources: SourceNotes | None = None,
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
        clips_per_shard: number of clips in each shard; by default that of the directory, or one
            that follows from the collection.
        sources: returns notes about the sources of written clips; called when clips are appended.

    Raises:
        InputError: when `out` holds another result.
        StgcmaError: when `out` cannot be written.
    """
    part = options.part_of
    with open_output(out, part) as output:
        while True:
            state = output.state()
            former = None if options.overwrite else output.former()
            layout = planned_layout(output, former, collection, features, options, clips_per_shard)
            if options.append and former is not None and sources is not None:
                listed = {clip.key for clip in collection.clips}
                for note in sources(record for record in former.trusted_manifest if record.key in listed):
                    message(note)
            with output.beginning():
                if output.state() == state:  # else another part has begun meanwhile
                    work = _begin(output, former, layout, options)
                    break
        if work is None:
            if part is None:
                output.end()
            failures = Counter(record.reason for record in read_quarantine(out))
            return Outcome(read_dataset(out), dict(failures), was_complete=True)
        if preflight is not None:
            message("\n".join(preflight()))
        results = _make_shards(work, make, output, options, engine or _engine(options))
        if part is not None:
            return part_outcome(layout.info, results)
        return finish(output, layout.info, results, layout.planned, work.amendment)


def planned_layout(
    output: OutputFolder,
    former: Former | None,
    collection: Collection,
    features: dict[str, Any],
    options: Options,
    wanted_per_shard: int | None,
) -> Layout:
    """Return the layout that a run with these arguments makes; see `build` and `make_layout`."""
    recorded = None if options.overwrite else output.recorded_clips_per_shard(former)
    # In an addition, `wanted_per_shard` is for its clips alone.
    clips_per_shard = recorded if options.append and former is not None else wanted_per_shard or recorded
    if clips_per_shard is None:
        clips_per_shard = default_clips_per_shard(len(collection.clips), features)
    request = DatasetInfo(
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
    return make_layout(
        former,
        request,
        collection.clips,
        append=options.append,
        repair=options.repair,
        clips_per_shard=wanted_per_shard,
        retry_quarantined=options.retry_quarantined,
    )


@dataclass(frozen=True)
class _Work:
    """Shards to make, and the results of those among them that are made."""

    tasks: Sequence[ShardTask]
    done: Sequence[ShardResult]
    amendment: Amendment | None = None


def _begin(output: OutputFolder, former: Former | None, layout: Layout, options: Options) -> _Work | None:
    """Begin or continue the work; None when the directory is complete."""
    plan = make_plan(layout.info)
    flags = {"retry_quarantined": options.retry_quarantined, "repair": options.repair}
    amendment = None
    unchecked = options.repair
    if former is not None and layout.finished:
        amendment = amend(output, former, layout, plan, **flags)
        if amendment is None:
            return None
        tasks = amendment.tasks
    else:
        output.begin(plan, overwrite=options.overwrite, repair=options.repair)
        tasks = layout.tasks[0] or ()
        if output.is_complete():
            kept = kept_shards(output.location, tasks, **flags)
            if kept is None:
                return None
            output.reopen(plan, kept)
            unchecked = False
    if output.part is not None:
        output.describe(Description.of_layout(layout, output.part.of))
        tasks = output.part.share(tasks, shard_ends([each.shards for each in layout.additions]))
    done = _finished(output, tasks, options, check=unchecked)
    return _Work(_with_former(output, former, tasks, done, options), done, amendment)


def _with_former(
    output: OutputFolder,
    former: Former | None,
    tasks: Sequence[ShardTask],
    done: Sequence[ShardResult],
    options: Options,
) -> list[ShardTask]:
    """Give the tasks that are not done the rows of the shards that are there."""
    finished = {result.name for result in done}
    remaining = {task.name for task in tasks} - finished
    rows: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in output.former_rows(former) if remaining else ():
        if record.shard in remaining:
            rows[record.shard].append(record)
    # Tried again; the new file may be in place already.
    for result in output.finished(remaining, replaced=True).values() if remaining else ():
        rows[result.name] = list(result.written)
    retry = options.retry_quarantined
    return [dataclasses.replace(task, former=tuple(rows.get(task.name, ())), retry=retry) for task in tasks]


def _engine(options: Options) -> Engine:
    return RayEngine(options.ray_address) if options.engine == "ray" else run_local


def _finished(
    output: OutputFolder, tasks: Sequence[ShardTask], options: Options, *, check: bool
) -> list[ShardResult]:
    """Return the results of finished shards of `tasks`; with `check`, compare them with their hashes."""
    results = [
        result
        for result in output.finished({task.name for task in tasks}).values()
        if not (options.retry_quarantined and result.quarantined)
    ]
    return list(whole_results(open_store(output.location), results)) if check else results


def _make_shards(
    work: _Work,
    make: MakeSample,
    output: OutputFolder,
    options: Options,
    engine: Engine,
) -> list[ShardResult]:
    results = list(work.done)
    places = {result.name for result in results}
    remaining = [task for task in work.tasks if task.name not in places]
    chunked = {task.name for task in remaining if has_chunks(task)}
    failures: Counter[str] = Counter()
    with progress("clips") as bar:
        total = sum(len(task.clips) for task in work.tasks)
        skipped = total - sum(len(task.clips) for task in remaining)
        row = bar.add_task("preprocess", total=total, completed=skipped, note="")

        def on_clip(_clip: ClipSpecification, outcome: ClipError | None) -> None:
            if outcome is not None:
                failures[outcome.reason] += 1
            bar.update(row, advance=1, note=f"{failures.total()} failed" if failures else "")

        made = engine(
            remaining, make, output.location, workers=options.workers, limits=options.limits, on_clip=on_clip
        )
        with contextlib.closing(made):
            for result in made:
                output.record(result)
                if result.name in chunked:
                    output.remove_chunks(result.name)
                results.append(result.packed())
    return results
