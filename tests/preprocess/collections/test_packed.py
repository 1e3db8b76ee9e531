"""Packed sequences of rows and clips behave as tuples of them."""

import hashlib
import inspect
import io
import json
import pickle
import random
from typing import NamedTuple

import numpy as np
import pytest
from stgcma.preprocess.collections import clip_list, question_texts
from stgcma.preprocess.collections.arrays import npy_bytes
from stgcma.preprocess.collections.clip_list import ClipList, by_split, values_by_split
from stgcma.preprocess.collections.event_rows import EventList, EventRow
from stgcma.preprocess.collections.own_files import OwnVideos
from stgcma.preprocess.collections.packed import HashList, PackedRows
from stgcma.preprocess.collections.paths import VideoNames
from stgcma.preprocess.collections.question_texts import QuestionTexts, question_text
from stgcma.preprocess.collections.specification import (
    ClipSpecification,
    clip_values,
    field_values,
    plan_hash,
)
from stgcma.preprocess.pipeline.shard_result import ShardResult
from stgcma.shards.schema import ClipRecord, QuarantineRecord, canonical_json


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


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def test_the_plan_of_a_clip_is_canonical_json():
    fields = {"b": [1, 2.5], "a": 'é "x"'}
    plain = ClipSpecification("k", "train", 'a "b"\n.mp4', labels=(1, 2), fields=fields, event_end_seconds=3)
    full = ClipSpecification(
        "k2", "val", "v.mp4", fields=fields, masks=("m_1.png", ""), members=(("qa.json", b"[]"),),
        pictures=("p.jpg",), sound="s.wav", start_seconds=1.5, end_seconds=4.0, frames=2, windows=1,
        frame_seconds=(0.5, 1.0), mask_kind="indices", mask_classes=4,
    )  # fmt: skip
    members = [["qa.json", hashlib.sha256(b"[]").hexdigest()]]
    first = ["k", "train", 'a "b"\n.mp4', [1, 2], fields, [], [], [], None, 3]
    added = {
        "frames": 2,
        "windows": 1,
        "mask_kind": "indices",
        "mask_classes": 4,
        "frame_seconds": [0.5, 1.0],
    }
    second = [
        "k2", "val", "v.mp4", [], fields, ["m_1.png", ""], members, ["p.jpg"], "s.wav", 0, [1.5, 4.0], added,
    ]  # fmt: skip
    assert plain.plan_text == canonical(first)
    assert full.plan_text == canonical(second)
    lines = "".join(f"{canonical(each)}\n" for each in (first, second, first))
    assert plan_hash([plain, full, plain]) == hashlib.sha256(lines.encode()).hexdigest()


def test_questions_are_canonical_json_and_collected_by_video(monkeypatch):
    asked = {"question_id": 7, "type": ["Audio"], "template": 'a "b"', "words": ["é"], "answer": "x"}
    for number in (7, "q7", True):
        asked["question_id"] = number
        written = question_text(question_id=number, kind=["Audio"], template='a "b"', words=["é"], answer="x")
        assert written == canonical(asked).encode()
    monkeypatch.setattr(question_texts, "_MOST_HELD_BYTES", 12)  # so that several rounds are needed
    texts = QuestionTexts()
    expected = {}
    for number in range(40):
        video = number * 7 % 11
        texts.add(video, b"%d" % number)
        expected.setdefault(video, []).append(number)
    order = random.Random(0).sample(range(11), 11)
    assert list(map(json.loads, texts.lists(order))) == [expected[video] for video in order]


def test_events_in_columns_are_those_that_were_added():
    rows = [EventRow(f"{n % 2}.csv:{n + 2}", n / 3, n / 3 + n % 2, f"label {n % 3}") for n in range(9)]
    rows.append(EventRow("a:b.csv:1", 1.0, 2.0, "dog", "audible"))
    events = EventList()
    for row in rows:
        events.append(row)
    assert list(events) == rows
    assert events[-1] == rows[-1]
    assert (len(events), events.points, events.has_modality) == (10, 5, True)
    assert events.latest == max(row.offset for row in rows)


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype=np.int16), np.ones((2, 3, 4), np.uint8), np.ones((3, 2), order="F").T,
     np.zeros((0, 3)), np.asfortranarray(np.ones((2, 3))), np.float16(3.0)],
)  # fmt: skip
def test_arrays_are_written_as_numpy_writes_them(array):
    content = io.BytesIO()
    np.save(content, array)
    assert npy_bytes(np.asarray(array)) == content.getvalue()


def test_finished_shards_are_read_in_both_forms():
    rows = tuple(
        ClipRecord(
            f"k{n}", "train", "train-000000.tar", 512, "0", "a.mp4", 1.0, 25.0, True, "pyav", ("w",) * n
        )
        for n in range(3)
    )
    failed = (QuarantineRecord("x", "x.mp4", "missing", "it is not there"),)
    for written in (rows, ()):
        result = ShardResult("train", 0, written, failed, {"fbank_128": (1.0, 2.0, 3)})
        content = json.loads(canonical_json(result.to_json()))
        assert ShardResult.from_json(content) == result
        del content["columns"]  # as versions until 0.1 wrote them
        content["written"] = [json.loads(canonical_json(row._asdict())) for row in written]
        assert ShardResult.from_json(content) == result
        assert list(result.packed().written) == list(written)


def test_clips_given_as_values_are_checked_like_objects(monkeypatch):
    """Defaults and order are those of ClipSpecification, and a block names its first clip at fault."""

    def parameters(function):
        each = list(inspect.signature(function).parameters.values())
        return [(p.name, p.default) for p in each if p.name != "fields"], [p.name for p in each]

    assert parameters(clip_values) == parameters(ClipSpecification)
    assert clip_values("k", "val", "a.mp4", frames=3) == field_values(
        ClipSpecification("k", "val", "a.mp4", frames=3)
    )
    monkeypatch.setattr(clip_list, "_CLIPS_PER_BLOCK", 4)
    good = [clip_values(f"k{n}", "train", "a.mp4") for n in range(9)]
    for bad, said in (
        (clip_values("x", "dev", "a.mp4"), "split of x is 'dev'"),
        (clip_values("x", "val", "a.mp4", start_seconds=2.0), "span of x starts at 2.0 s and has no end"),
        (clip_values("x", "val", "a.mp4", start_seconds=2.0, end_seconds=1.0), "span of x is 2.0 to 1.0"),
        (clip_values("x", "val", "a.mp4", mask_kind="indices"), "mask_classes of x is 0"),
        (clip_values("x", "val", "a.mp4", problem=("odd", "it is")), "problem of x has the reason 'odd'"),
    ):
        with pytest.raises(ValueError, match=said):
            ClipList.of_values([*good, bad])
        with pytest.raises(ValueError, match=said):
            values_by_split([*good, bad]).close()


def test_paths_as_beginning_and_ends_are_those_of_the_clip():
    ends = ("0.png", 'ö".png')
    given = [("a/b_", ends), ("a/ö_", ("0.png", "")), ()]
    whole = [("a/b_0.png", 'a/b_ö".png'), ("a/ö_0.png", ""), ()]
    rows = [clip_values("k", "val", "v", masks=one, pictures=two) for one in given for two in given]
    clips = [ClipSpecification("k", "val", "v", masks=one, pictures=two) for one in whole for two in whole]
    packed = ClipList.of_values(rows)
    assert packed == clips
    assert pickle.loads(pickle.dumps(packed[2:5])) == tuple(clips[2:5])
    assert plan_hash(packed) == plan_hash(clips)
