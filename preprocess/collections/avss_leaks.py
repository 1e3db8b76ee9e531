"""Videos of AVSS that clips of several splits are cut from, told by the ids of the clips."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from ...shards.schema import SPLITS
from .avs_ms3 import video_of
from .packed import HashList

_MOST_DIGITS = 12


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
    parts = uid.rsplit("_", 2)
    if len(parts) != 3 or not (parts[0] and all(map(_is_milliseconds, parts[1:]))):
        return ClipSpan(uid, split, None, None, multiple=False)
    return ClipSpan(parts[0], split, int(parts[1]), int(parts[2]), multiple=False)


def _is_milliseconds(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def leak_findings(spans: Iterable[ClipSpan]) -> Iterator[str]:
    """Yield notes on videos in two splits: of v1s and v2, with overlapping clips, and of v1m.

    `spans` are iterated over several times.
    """
    shared: dict[str, int] = defaultdict(int)
    overlapping = 0
    for clips in _of_several(spans):
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
    wanted = {span.video for span in spans if span.multiple and span.split != "train"}
    training = [span for span in spans if span.split == "train" and span.video in wanted] if wanted else []
    trained = {span.video for span in training if span.multiple}
    trained_single = {span.video for span in training if not span.multiple}
    for split in ("val", "test"):
        multiple = [span for span in spans if span.multiple and span.split == split] if wanted else []
        within = sum(span.video in trained for span in multiple)
        across = sum(span.video in trained_single for span in multiple)
        if within or across:
            yield (
                f"{split} clips of v1m whose video has a training clip: {within} of {len(multiple)} in v1m, "
                f"{across} in v1s or v2"
            )


def _of_several(spans: Iterable[ClipSpan]) -> Iterable[list[ClipSpan]]:
    """Return the clips of each video that has several; the others can share nothing."""
    hashes = HashList()
    hashes.add_all(span.video for span in spans)
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
