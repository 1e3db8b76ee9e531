"""Comparison of a shard directory's size with the published collection whose layout it has."""

from __future__ import annotations

from ..preprocess.collections import published
from ..shards.published import ALL
from ..shards.schema import DatasetInfo

NOT_PUBLISHED_TAG = "data:not-the-published-collection"
"""Tag of cards of clips that are not the published collection of their name."""
# Part of the published clips from which on a directory with all classes counts as the published collection:
# the lists of some collections name a few clips fewer than their publications.
_FEWEST, _MOST = 0.9, 1.1


def other_than_published(info: DatasetInfo) -> str:
    """Return the counts of clips that are not the published collection of their name; empty when they are.

    Nothing in `dataset.json` says that clips are synthetic: their number of classes and of clips, quarantined
    ones included, does. The text is also empty for a collection without published counts.

    The text is such as `7 of 29 classes, 160 of 4,143 clips`.
    """
    known = published(info.name)
    if known is None:
        return ""
    classes = len(info.vocabulary.get("answers") or info.classes)
    clips, clips_published = sum(sum(count.values()) for count in info.counts.values()), known.clips_of(ALL)
    alike = [classes == known.classes] if known.classes else []
    parts = [f"{classes:,} of {known.classes:,} {_noun(info)}"] if known.classes else []
    if clips_published:
        alike.append(_FEWEST <= clips / clips_published <= _MOST)
        parts.append(f"{clips:,} of {clips_published:,} clips")
    return "" if all(alike) else ", ".join(parts)


def _noun(info: DatasetInfo) -> str:
    return "answers" if info.vocabulary else "classes"
