"""Readers of large annotation files: their work is proportional to the input, counted in operations."""

import itertools
import random
import sys
from collections import Counter

import pytest
from stgcma.bounded import unique_object
from stgcma.errors import InputError
from stgcma.preprocess.collections import named_videos
from stgcma.preprocess.collections.avss_leaks import ClipSpan, leak_findings
from stgcma.preprocess.collections.event_windows import marked_steps


def calls_of(function, *arguments):
    """Return the number of calls, of Python and of C functions, that `function` makes."""
    count = 0

    def note(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function(*arguments)
    finally:
        sys.setprofile(before)
    return count


class Key(str):
    """A key that counts comparisons."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Key.compared += 1
        return str.__eq__(self, other)


def test_a_repeated_key_is_found_among_many():
    pairs = [(Key(number), 0) for number in range(500)]
    pairs.append((Key(499), 0))
    Key.compared = 0
    with pytest.raises(ValueError, match="key '499' twice"):
        unique_object(pairs)
    assert Key.compared < 1000


def test_names_without_suffix_do_not_scan_the_folder(tmp_path, monkeypatch):
    names = {f"clip{number}.mp4" for number in range(300)}
    monkeypatch.setattr(named_videos, "folder_names", lambda *_, **__: names)
    checked = Counter()
    is_video = named_videos.is_video_name
    monkeypatch.setattr(named_videos, "is_video_name", lambda name: checked.update([name]) or is_video(name))
    videos = named_videos.NamedVideos(tmp_path, allow_links=False)
    assert [videos.find(f"clip{number}", "x") for number in range(300)] == [
        f"clip{number}.mp4" for number in range(300)
    ]
    assert max(checked.values()) <= 2
    with pytest.raises(InputError, match="is not a file"):
        videos.find("clip300", "x") or videos.check_all_found()


def test_an_event_is_compared_with_the_steps_around_it_alone():
    steps = tuple((float(k), k + 1.0) for k in range(20_000))
    assert calls_of(marked_steps, 10_000.2, 10_002.1, steps) < 200
    assert list(marked_steps(10_000.2, 10_002.1, steps)) == [10_000, 10_001]


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_of_clips_are_those_of_all_pairs(seed):
    rng = random.Random(seed)
    spans = []
    for _ in range(120):
        start = rng.randrange(60)
        video, split = rng.choice("ab"), rng.choice(("train", "val", "test"))
        spans.append(ClipSpan(video, split, start, start + rng.randrange(-2, 9), multiple=False))
    spans += [ClipSpan("a", "val", None, None, multiple=False), ClipSpan("c", "test", 0, 5, multiple=False)]
    expected = sum(
        one.video == other.video
        and one.split != other.split
        and None not in (one.start, other.start)
        and max(one.start, other.start) < min(one.end, other.end)
        for one, other in itertools.combinations(spans, 2)
    )
    (said,) = leak_findings(spans)
    assert f"in {expected} pairs of such clips" in said


def test_clips_of_one_video_are_not_compared_in_pairs():
    many = [ClipSpan("a", ("train", "val")[k % 2], k, k + 2, multiple=bool(k % 3)) for k in range(1200)]
    assert calls_of(list, leak_findings(many)) < 60 * len(many)
