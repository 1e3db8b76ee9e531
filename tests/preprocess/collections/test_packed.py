"""Packed sequences of rows and clips behave as tuples of them."""

import pickle
import random
from typing import NamedTuple

import pytest
from stgcma.preprocess.collections.clip_list import ClipList, by_split
from stgcma.preprocess.collections.own_files import OwnVideos
from stgcma.preprocess.collections.packed import HashList, PackedRows
from stgcma.preprocess.collections.paths import VideoNames
from stgcma.preprocess.collections.specification import ClipSpecification


class Row(NamedTuple):
    name: str
    number: int


def clips_of(splits):
    return [ClipSpecification(f"k{number}", split, f"{number}.mp4") for number, split in enumerate(splits)]


@pytest.mark.parametrize("count", [0, 1, 255, 256, 700])
def test_packed_rows_are_those_that_were_added(count):
    rows = [Row(f"row {number}", number) for number in range(count)]
    packed = PackedRows(rows, make=Row._make)
    assert packed == rows
    assert len(packed) == count
    rng = random.Random(count)
    for _ in range(20):
        start, stop = rng.randrange(-count - 1, count + 2), rng.randrange(-count - 1, count + 2)
        assert list(packed[start:stop]) == rows[start:stop]
        assert list(packed[start:stop:2]) == rows[start:stop:2]
    for place in rng.sample(range(count), min(count, 9)):
        assert packed[place] == rows[place]
        assert packed[place - count] == rows[place]
    places = rng.sample(range(count), count)
    assert list(packed.chosen(places)) == [rows[place] for place in places]
    with pytest.raises(IndexError):
        packed[count]


def test_a_part_is_pickled_alone():
    part = ClipList(clips_of(["train"] * 1000))[300:303]
    content = pickle.dumps(part)
    assert pickle.loads(content) == tuple(part)
    assert [clip.key for clip in part] == ["k300", "k301", "k302"]
    assert len(content) < 2000


def test_clips_are_ordered_by_split_as_a_stable_sort_does():
    rng = random.Random(0)
    clips = clips_of(rng.choices(("train", "val", "test"), k=900))
    ordered = by_split(clips)
    expected = sorted(clips, key=lambda clip: ("train", "val", "test").index(clip.split))
    assert ordered == expected
    assert ordered[500] == expected[500]
    assert {split: len(places) for split, places in ordered.ranges().items()} == ordered.counts()
    assert ClipList(clips).ranges() is None
    assert ordered.keys_differ
    assert not ClipList([*clips, clips[7]]).keys_differ


def test_hashes_find_repeated_values():
    hashes = HashList()
    for value in ("a", "b", "c", "b"):
        hashes.add(value)
    assert hashes.repeated() == {hash("b")}
    assert not hashes.all_different()


def test_names_of_videos_are_found_by_their_stems():
    names = {"a.mp4", "b.MP4", "b.mkv", "c.webm", "c.avi", "d.mkv", "d.mp4", ".mp4", "e.txt", "f"}
    found = VideoNames(names)
    assert dict(found) == {"a": "a.mp4", "b": "b.MP4", "c": "c.avi", "d": "d.mp4"}
    assert len(found) == 4
    assert found.get("") is None
    assert "e" not in found


def test_own_videos_are_found_as_by_a_search_over_all(tmp_path):
    names = ("a.mp4", "videos/b.mkv", "videos/x/c.mp4", "d/a.mkv", "b.mp4.mkv", "e.mp4", ".h/f.mp4", "n.txt")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos = OwnVideos(tmp_path)
    assert videos.paths == ["a.mp4", "b.mp4.mkv", "d/a.mkv", "e.mp4", "videos/b.mkv", "videos/x/c.mp4"]
    assert videos.unused == "1 .txt"
    found = {
        name: videos.find(name, where="f:1")
        for name in ("a", "a.mp4", "a.mkv", "b", "b.mp4", "x/c", "c", "d/a", "videos/b", "f", "x/a", "./e")
    }
    assert found == {
        "a": "a.mp4",
        "a.mp4": "a.mp4",
        "a.mkv": "d/a.mkv",
        "b": "videos/b.mkv",
        "b.mp4": "b.mp4.mkv",
        "x/c": "videos/x/c.mp4",
        "c": "videos/x/c.mp4",
        "d/a": "d/a.mkv",
        "videos/b": "videos/b.mkv",
        "f": None,
        "x/a": None,
        "./e": "e.mp4",
    }
