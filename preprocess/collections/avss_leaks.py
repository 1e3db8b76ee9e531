"""Videos of AVSS that clips of several splits are cut from, told by the ids of the clips."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from ...shards.schema import SPLITS
from .avs_ms3 import video_of
from .packed import HashList, PackedRows

_MILLISECONDS = re.compile(r"(.+)_([0-9]{1,12})_([0-9]{1,12})")


class ClipSpan(NamedTuple):
    """The video that a clip was cut from, and its span in milliseconds where the id states it.

    `multiple` is True for clips of v1m.
    """

    video: str
    split: str
    start: int | None
    end: int | None
    multiple: bool


def span_of(uid: str, split: str, *, multiple: bool) -> ClipSpan:
    """Return the video and the span of a clip.

    Ids of v1s and v2 are `VIDEO_START_END`, in milliseconds, those of v1m `VIDEO_NUMBER` or other words.
    """
    if multiple:
        return ClipSpan(video_of(uid), split, None, None, multiple=True)
    timed = _MILLISECONDS.fullmatch(uid)
    if timed is None:
        return ClipSpan(uid, split, None, None, multiple=False)
    return ClipSpan(timed[1], split, int(timed[2]), int(timed[3]), multiple=False)


def leak_findings(spans: Iterable[ClipSpan]) -> Iterator[str]:
    """Yield notes on videos in two splits: of v1s and v2, with overlapping clips, and of v1m."""
    packed = PackedRows(spans, make=ClipSpan._make)
    shared: dict[str, int] = defaultdict(int)
    overlapping = 0
    for clips in _of_several(packed):
        single = [clip for clip in clips if not clip.multiple]
        for pair in combinations(sorted({clip.split for clip in single}), 2):
            shared[" and ".join(sorted(pair, reverse=True))] += 1
        timed = [clip for clip in single if clip.start is not None]
        overlapping += _overlaps(timed)
        overlapping -= sum(_overlaps([c for c in timed if c.split == split]) for split in SPLITS)
    if shared:
        said = ", ".join(f"{count} in {pair}" for pair, count in sorted(shared.items(), reverse=True))
        yield (
            f"videos of v1s and v2 that clips of two splits are cut from: {said}; in {overlapping} pairs of "
            "such clips the seconds overlap"
        )
    wanted = {span.video for span in packed if span.multiple and span.split != "train"}
    training = [span for span in packed if span.split == "train" and span.video in wanted]
    trained = {span.video for span in training if span.multiple}
    trained_single = {span.video for span in training if not span.multiple}
    for split in ("val", "test"):
        multiple = [span for span in packed if span.multiple and span.split == split]
        within = sum(span.video in trained for span in multiple)
        across = sum(span.video in trained_single for span in multiple)
        if within or across:
            yield (
                f"{split} clips of v1m whose video has a training clip: {within} of {len(multiple)} in v1m, "
                f"{across} in v1s or v2"
            )


def _of_several(spans: PackedRows[ClipSpan]) -> Iterable[list[ClipSpan]]:
    """Return the clips of each video that has several; the others can share nothing."""
    hashes = HashList()
    for span in spans:
        hashes.add(span.video)
    repeated = hashes.repeated()
    by_video: dict[str, list[ClipSpan]] = defaultdict(list)
    for span in spans if repeated else ():
        if hash(span.video) in repeated:
            by_video[span.video].append(span)
    return by_video.values()


def _overlaps(clips: Sequence[ClipSpan]) -> int:
    """Return the number of pairs of clips whose spans overlap. A span that does not end later counts none."""
    spans = [(clip.start or 0, clip.end or 0) for clip in clips]
    spans = [(start, end) for start, end in spans if start < end]
    ends = sorted(end for _, end in spans)
    apart = sum(bisect_right(ends, start) for start, _ in spans)
    return len(spans) * (len(spans) - 1) // 2 - apart
