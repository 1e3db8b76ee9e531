"""Layout of a shard directory: its additions, and the clips of each of its shards."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...console import message
from ...errors import InputError, OtherSettingsError
from ...shards.additions import Addition, ShardRange, planned_ranges
from ...shards.schema import (
    MANIFEST_FILE,
    PLANNED_FILE,
    QUARANTINE_FILE,
    SPLITS,
    DatasetInfo,
    PlannedRecord,
)
from ...shards.task_members import TASK_MEMBERS
from ..collections.specification import ClipSpecification, plan_hash
from .annotations import changed_annotations
from .former import Former
from .matching import Matched, match, planned_rows, rows_of_tables
from .plan import check_same, combined_hash, make_plan, without_clips, without_own_version
from .renamed import as_planned, planned_sources, renamed_clips, take_new_sources
from .shard_plan import ShardTask, plan_shards

_KEYS_SHOWN = 3
# Members with an entry for each class: the written ones would be too short.
_AS_LONG_AS_CLASSES = frozenset({"tags.npy", "events.npy"})
_ANEW = "choose another OUT, or the option overwrite to start anew"


@dataclass(frozen=True)
class Layout:
    """Planned content of a shard directory.

    Attributes:
        info: its description without results; its additions are recorded when there are several.
        tasks: the shards of each addition; None for one whose clips are not all in the list as they were
            planned. Its shards cannot be made again.
        planned: the planned clips of all additions; empty for a directory that is made at once.
        finished: number of additions that are finished; 0 for a directory that is made at once.
        renamed: the new sources, by key, of clips in quarantine that are tried again.
    """

    info: DatasetInfo
    tasks: tuple[tuple[ShardTask, ...] | None, ...]
    planned: tuple[PlannedRecord, ...] = ()
    finished: int = 0
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def additions(self) -> tuple[Addition, ...]:
        """The planned additions, also of a directory with only one."""
        if self.info.additions:
            return self.info.additions
        shards = {}
        for split in SPLITS:
            if count := sum(task.split == split for task in self.tasks[0] or ()):
                shards[split] = ShardRange(0, count)
        return (Addition(self.info.plan_sha256, self.info.features["clips_per_shard"], shards),)


def make_layout(
    former: Former | None,
    request: DatasetInfo,
    clips: Sequence[ClipSpecification],
    *,
    append: bool,
    repair: bool,
    clips_per_shard: int | None,
    retry_quarantined: bool = False,
) -> Layout:
    """Plan a directory: at once, or as additions to finished content.

    Args:
        former: the finished content, if any.
        request: the directory's description without results, of `clips` alone.
        clips: the collection's clips.
        append: put clips that were not planned into a new addition.
        repair: whether damaged tables are made again.
        clips_per_shard: number of clips in each shard of a new addition; None for that of the first one.
        retry_quarantined: take the new files of clips in quarantine whose files have other names now.

    Raises InputError when the directory is of other settings, or of other clips in a way that does not allow
    to add to it.
    """
    if former is None:
        return _at_once(request, clips)
    additions = former.info.all_additions
    first = additions[0].clips_per_shard
    same = former.info.plan_sha256 == request.plan_sha256
    retry = retry_quarantined and not same
    if not (former.begun or former.info.additions or (append and not same) or retry):
        if not same and not former.damaged:
            sources = planned_sources(former)
            _report_renamed(renamed_clips(clips, sources), sources, {})
        return _at_once(request, clips)
    request = dataclasses.replace(request, features=request.features | {"clips_per_shard": first})
    _check_settings(former, request)
    if former.begun:
        return _continued(former, request, clips)
    former.check_whole(repair=repair)
    sources = planned_sources(former)
    renamed = renamed_clips(clips, sources)
    matched = _matched(former, as_planned(clips, sources, renamed))
    taken: dict[str, str] = {}
    if retry_quarantined:
        matched, additions, taken = take_new_sources(matched, additions, renamed)
    _report_renamed(renamed, sources, taken)
    if matched.new and not append:
        raise OtherSettingsError(
            f"{former.store} holds shards of another kind: {len(matched.new)} clips were not planned for it "
            f"(the option append adds them); {_ANEW}"
        )
    _report(former, matched, append=append)
    if matched.new:
        additions = (*additions, _addition(matched.new, additions, clips_per_shard or first))
    layout = _layout(request, additions, matched, finished=len(former.info.all_additions))
    return dataclasses.replace(layout, renamed=taken)


def _at_once(request: DatasetInfo, clips: Sequence[ClipSpecification]) -> Layout:
    return Layout(request, (tuple(plan_shards(clips, request.features["clips_per_shard"])),))


def _addition(
    clips: Sequence[ClipSpecification], former: Sequence[Addition], clips_per_shard: int
) -> Addition:
    first = {split: max(each.shards.get(split, ShardRange(0, 0)).end for each in former) for split in SPLITS}
    shards = planned_ranges(Counter(clip.split for clip in clips), clips_per_shard, first)
    return Addition(plan_hash(clips), clips_per_shard, shards)


def _layout(
    request: DatasetInfo, additions: Sequence[Addition], matched: Matched, *, finished: int
) -> Layout:
    """Return the layout of a directory with several additions, or with one to which nothing is added."""
    clips_of = (*matched.clips, matched.new) if matched.new else matched.clips
    planned = [*matched.planned, *planned_rows(matched.new, finished)] if matched.new else matched.planned
    keys_of: list[list[str]] = [[] for _ in additions]
    for row in planned:
        keys_of[row.addition].append(row.key)
    tasks: list[tuple[ShardTask, ...] | None] = []
    keys: list[str] = []  # of the additions before
    for addition, clips, own_keys in zip(additions, clips_of, keys_of, strict=True):
        first = {split: each.first for split, each in addition.shards.items()}
        tasks.append(
            None
            if clips is None
            else tuple(plan_shards(clips, addition.clips_per_shard, first=first, planned=keys))
        )
        keys += own_keys
    if len(additions) == 1:
        return Layout(
            dataclasses.replace(request, plan_sha256=additions[0].plan_sha256),
            tuple(tasks),
            tuple(planned),
            1,
        )
    info = dataclasses.replace(request, plan_sha256=combined_hash(additions), additions=tuple(additions))
    return Layout(info, tuple(tasks), tuple(planned), finished)


def _continued(former: Former, request: DatasetInfo, clips: Sequence[ClipSpecification]) -> Layout:
    """Return the layout of an addition, a retry or a repair that has not ended."""
    additions, planned = former.additions(), former.planned() or []
    finished = len(former.info.all_additions)
    taken, sources = former.shards().renamed, planned_sources(former)
    renamed = {key: new for key, new in renamed_clips(clips, sources).items() if key not in taken}
    _report_renamed(renamed, sources, {})
    matched = match(as_planned(clips, sources, renamed), planned, additions)
    if matched.new or matched.changed or None in matched.clips[finished:]:
        added = sum(row.addition >= finished for row in planned)
        what = f"an addition of {added} clips" if added else "a retry or repair"
        raise OtherSettingsError(
            f"{former.store}: {what} has not ended, and the list of clips is another one now; repeat it with "
            "its own list first"
        )
    return _layout(request, additions, matched, finished=finished)


def _check_settings(former: Former, request: DatasetInfo) -> None:
    """Raise InputError unless clips of `request` can be added to the directory."""
    info = former.info
    existing, wanted = (without_clips(without_own_version(make_plan(each))) for each in (info, request))
    check_same(existing, wanted, former.decoders, where=str(former.store))
    lists = {f"vocabulary.{name}": info.vocabulary.get(name, []) for name in request.vocabulary}
    for what, old in {"classes": list(info.classes), **lists}.items():
        new = list(request.classes) if what == "classes" else request.vocabulary[what.partition(".")[2]]
        if new[: len(old)] != old:
            raise OtherSettingsError(
                f"{former.store} holds shards of another kind: {what} has {_first_difference(old, new)}; "
                f"labels that are written would be wrong, so names can be added at the end only; {_ANEW}"
            )
    members = TASK_MEMBERS.get(request.task)
    if members and len(info.classes) != len(request.classes):
        for name in _AS_LONG_AS_CLASSES.intersection((*members.required, *members.scored)):
            raise OtherSettingsError(
                f"{former.store} holds shards of another kind: there are {len(request.classes)} classes, and "
                f"{name} of the written clips is for {len(info.classes)}; {_ANEW}"
            )


def _first_difference(old: Sequence[str], new: Sequence[str]) -> str:
    for there, here in zip(old, new, strict=False):
        if there != here:
            return f"{there!r} there, {here!r} here"
    return f"{len(old)} names there, {len(new)} here"


def _report_renamed(renamed: Mapping[str, str], sources: Mapping[str, str], taken: Mapping[str, str]) -> None:
    """Name the clips in quarantine whose files have other names now, on stderr.

    The name of a file that was missing may have been guessed, so another one now is no change of a clip.
    """
    if taken:
        key = next(iter(taken))
        message(
            f"{_named(list(taken))} are in quarantine and have files of other names now, which are tried "
            f"({taken[key]} in place of {sources[key]}, …)"
        )
    if others := [key for key in renamed if key not in taken]:
        message(
            f"{_named(others)} are in quarantine and have files of other names now; they stay there unless "
            f"the files are named as planned ({sources[others[0]]}, …), or a finished directory is given the "
            "option retry_quarantined"
        )


def _matched(former: Former, clips: Sequence[ClipSpecification]) -> Matched:
    additions = former.info.all_additions
    rows = former.planned()
    if rows is None:
        _check_tables(former)
        rows = rows_of_tables(additions, former.manifest, former.quarantine, where=str(former.store))
    matched = match(clips, rows, additions)
    if None not in matched.clips:
        return matched
    others = bool(matched.missing or matched.moved)
    changed = list(matched.changed) or changed_annotations(former, clips, labels=not others)
    if changed or not others:
        what = f"the annotations of {_named(changed)}" if changed else "the order of the clips"
        raise OtherSettingsError(
            f"{former.store} holds shards of another kind: {what} changed since they were written, and an "
            f"addition changes no clip; {_ANEW}"
        )
    return matched


def _check_tables(former: Former) -> None:
    """Raise InputError unless both tables are whole, which tell the planned clips of each addition."""
    bad = next((name for name in (MANIFEST_FILE, QUARANTINE_FILE) if name in former.damaged), None)
    if bad is None:
        return
    where = former.store.where(bad)
    if not former.info.additions:
        raise InputError(
            f"{where} is missing or damaged, and clips are added to whole tables only: first repeat with the "
            "option repair, without append, and with the list of clips that was written"
        )
    raise InputError(
        f"{where} and {PLANNED_FILE} are both missing or damaged: nothing says which clips were planned; "
        f"restore one of them from a copy, {_ANEW.replace('choose', 'or choose')}"
    )


def _report(former: Former, matched: Matched, *, append: bool) -> None:
    """Name the clips that stay as they are. Raises OtherSettingsError for missing ones without `append`."""
    if matched.missing:
        what = f"{_named(matched.missing)} are no longer in the list"
        if not append:
            raise OtherSettingsError(
                f"{former.store} holds shards of another kind: {what} (with the option append they stay as "
                f"they are); {_ANEW}"
            )
        message(f"{what}; they stay as they were written")
    if matched.moved:
        message(
            f"{_named(matched.moved)} are in other splits now; they stay in those in which they were written"
        )


def _named(keys: Sequence[str]) -> str:
    return f"{len(keys)} clips ({', '.join(keys[:_KEYS_SHOWN])}{', …' if len(keys) > _KEYS_SHOWN else ''})"
