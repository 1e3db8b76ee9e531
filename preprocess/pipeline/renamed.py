"""Quarantined clips whose files have other names now, such as another suffix after a new download.

A retry takes the new files: the clips are then planned with them, as if their names had been these from the
first run on.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from ...shards.additions import Addition
from ...shards.schema import MANIFEST_FILE, QUARANTINE_FILE
from ...shards.table_checks import DUPLICATE_KEY
from ..collections.specification import ClipSpecification, plan_hash
from .former import Former
from .matching import Matched, planned_rows


def planned_sources(former: Former) -> dict[str, str]:
    """Return the planned source of each clip that is in quarantine, by key; none when a table is damaged."""
    if {MANIFEST_FILE, QUARANTINE_FILE}.intersection(former.damaged) or not former.quarantine:
        return {}
    sources = {row.key: row.source for row in former.quarantine if row.reason != DUPLICATE_KEY}
    for row in former.manifest:
        sources.pop(row.key, None)
    return sources


def renamed_clips(clips: Sequence[ClipSpecification], sources: Mapping[str, str]) -> dict[str, str]:
    """Return the source of each of `clips` that has another one than in `sources`, by key.

    Keys that are used with several sources are left out: the uses after the first are in quarantine for that,
    and none of the sources is known to be the new one.
    """
    found = {clip.key: clip.source for clip in clips if sources.get(clip.key, clip.source) != clip.source}
    if found:
        uses: dict[str, set[str]] = defaultdict(set)
        for clip in clips:
            if clip.key in found:
                uses[clip.key].add(clip.source)
        found = {key: source for key, source in found.items() if len(uses[key]) == 1}
    return found


def as_planned(
    clips: Sequence[ClipSpecification], sources: Mapping[str, str], renamed: Collection[str]
) -> Sequence[ClipSpecification]:
    """Return `clips` with the planned sources of those that are `renamed`."""
    if not renamed:
        return clips
    return [
        dataclasses.replace(clip, source=sources[clip.key]) if clip.key in renamed else clip for clip in clips
    ]


def take_new_sources(
    matched: Matched, additions: Sequence[Addition], renamed: Mapping[str, str]
) -> tuple[Matched, tuple[Addition, ...], dict[str, str]]:
    """Plan the clips in `renamed` with their new sources.

    Those of an addition of which the list lacks clips stay as planned: its plan cannot be written again.

    Returns:
        The clips, the additions, and the part of `renamed` that was taken.
    """
    clips_of, changed, rows = list(matched.clips), list(additions), list(matched.planned)
    taken: dict[str, str] = {}
    for number, clips in enumerate(matched.clips):
        keys = dict.fromkeys(clip.key for clip in clips or () if clip.key in renamed)
        if clips is None or not keys:
            continue
        new = tuple(
            dataclasses.replace(clip, source=renamed[clip.key]) if clip.key in keys else clip
            for clip in clips
        )
        clips_of[number] = new
        changed[number] = dataclasses.replace(additions[number], plan_sha256=plan_hash(new))
        first = bisect.bisect_left(rows, number, key=lambda row: row.addition)  # in the order of additions
        rows[first : first + len(new)] = planned_rows(new, number)
        taken.update((key, renamed[key]) for key in keys)
    return (
        dataclasses.replace(matched, planned=tuple(rows), clips=tuple(clips_of)),
        tuple(changed),
        taken,
    )
