"""AVSBench-semantic as its authors ship it, and its irregularities."""

from __future__ import annotations

import json
import re

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import COLLECTIONS, avss
from stgcma.preprocess.collections.avs_ms3 import video_of
from stgcma.preprocess.collections.avss_classes import CLASSES
from stgcma.preprocess.collections.avss_leaks import span_of
from stgcma.preprocess.collections.preflight import inspect
from stgcma.shards.schema import is_valid_key

HEADER = "vid,uid,s_min,s_sec,a_obj,split,label"
ROWS = (
    "aaaaaaaaaaa,aaaaaaaaaaa_0_5000,0,0,violin,train,v1s",
    "-bbbbbbbbbb,-bbbbbbbbbb_30000_40000,0,30,dog_man,val,v2",
    "_ccccccccc,_ccccccccc_1,0,0,piano_guitar,test,v1m",
    "ddddddddddd,ddddddddddd_5000_10000,0,5,cat,test,v1s",
)


@pytest.fixture
def make(tmp_path):
    """Return a function that writes `rows`, `label2idx.json` with `classes`, and folders of the clips."""

    def write(*rows, classes=None, labels="labels_rgb", sound=True):
        (tmp_path / "metadata.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
        if classes is not None:
            (tmp_path / "label2idx.json").write_text(json.dumps(classes))
        for row in rows:
            *_, uid, _, _, _, _, subset = ["", *row.split(",")][-7:]
            if is_valid_key(uid):
                for folder in ("frames", labels):
                    (tmp_path / subset / uid / folder).mkdir(parents=True, exist_ok=True)
                if sound:
                    (tmp_path / subset / uid / "audio.wav").touch()
        return tmp_path

    return write


def test_subsets_have_5_or_10_frames_and_their_masks(make):
    collection = avss.read(make(*ROWS))
    found = {clip.key: clip for clip in collection.clips}
    assert list(found) == [
        "aaaaaaaaaaa_0_5000",
        "-bbbbbbbbbb_30000_40000",
        "_ccccccccc_1",
        "ddddddddddd_5000_10000",
    ]
    lengths = {key: (len(clip.pictures), len(clip.masks), clip.frames) for key, clip in found.items()}
    assert lengths == {  # of a v1s clip of training only the first frame has a mask
        "aaaaaaaaaaa_0_5000": (5, 1, 5),
        "-bbbbbbbbbb_30000_40000": (10, 10, 0),
        "_ccccccccc_1": (5, 5, 5),
        "ddddddddddd_5000_10000": (5, 5, 5),
    }
    long = found["-bbbbbbbbbb_30000_40000"]
    assert long.source == "v2/-bbbbbbbbbb_30000_40000"
    assert long.pictures[9] == "v2/-bbbbbbbbbb_30000_40000/frames/9.jpg"
    assert long.masks[9] == "v2/-bbbbbbbbbb_30000_40000/labels_rgb/9.png"
    assert long.sound == "v2/-bbbbbbbbbb_30000_40000/audio.wav"
    assert long.fields == {"subset": "v2", "objects": ["dog", "man"]}
    assert (long.mask_kind, long.mask_classes, long.annotated_seconds) == ("colours", 71, 10)
    assert (found["_ccccccccc_1"].windows, long.windows) == (5, 0)


def test_ids_that_begin_with_a_dash_or_an_underscore_are_clips(make):
    clips = avss.read(make(*ROWS)).clips
    assert [clip.problem for clip in clips] == [None] * 4
    preflight = inspect(avss.read(make(*ROWS)), make(*ROWS))
    assert (preflight.splits["all"].found, preflight.splits["all"].missing) == (4, 0)


def test_published_numbers_are_those_counted_in_the_table():
    published = COLLECTIONS["avss"].published
    assert published.clips == {"train": 8498, "val": 1304, "test": 1554}
    assert sum(published.clips.values()) == 11_356
    assert published.classes == 71


def test_classes_have_the_places_of_the_palette():
    assert [CLASSES.index(name) for name in ("background", "guitar", "man", "piano", "woman")] == [
        0, 28, 41, 47, 70,
    ]  # fmt: skip
    assert list(CLASSES[1:]) == sorted(CLASSES[1:])
    assert len(set(CLASSES)) == 71


@pytest.mark.parametrize("first", [0, 1])
def test_classes_are_read_in_the_order_of_their_numbers(make, first):
    numbers = {"dog": first + 2, "background": first, "cat": first + 1}
    assert avss.read(make(*ROWS, classes=numbers)).classes == ("background", "cat", "dog")


def test_classes_are_the_published_ones_without_the_file(make):
    assert avss.read(make(*ROWS)).classes == CLASSES


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"background": 1, "cat": 3}, "are not consecutive from 0 or 1"),
        ({"background": 2, "cat": 3}, "are not consecutive from 0 or 1"),
        ({"cat": 1, "background": 2}, "the first class is 'cat' of 2, expected 'background'"),
        ({}, "the first class is 'missing' of 0"),
        ({"background": 1.5}, "its values must be whole numbers"),
        ({"background": True}, "its values must be whole numbers"),
        ({"background": 0} | {str(n): n for n in range(1, 257)}, "is 'background' of 257, expected"),
        (
            {name: n for n, name in enumerate(("background", *CLASSES[:0:-1]))},
            "class 1 is 'woman', but the masks have 'accordion' in its colour",
        ),
    ],
)
def test_wrong_classes_are_named(make, classes, said):
    with pytest.raises(InputError, match=r"label2idx\.json: .*" + re.escape(said)):
        avss.read(make(*ROWS, classes=classes))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,a_0_5000,0,0,cat,dev,v1s", "metadata.csv:3: split is 'dev', must be one of train, val, test"),
        ("a,a_0_5000,0,0,cat,train,v3", "metadata.csv:3: label is 'v3', must be one of v1s, v1m, v2"),
        ("a,a_0_5000,0,0,cat,train", "metadata.csv:3: 6 cells in"),
    ],
)
def test_wrong_rows_are_named_with_their_line(make, row, said):
    with pytest.raises(InputError, match=re.escape(said)):
        avss.read(make(ROWS[0], row))


def test_unsafe_ids_are_problems_of_their_clips(make):
    (clip,) = avss.read(make("a,../a,0,0,cat,train,v2")).clips
    assert clip.problem is not None
    assert clip.problem[0] == "unsafe-path"


def findings(collection, start):
    return [finding for finding in collection.findings if finding.startswith(start)]


def test_objects_that_are_no_classes_are_counted(make):
    rows = [
        "a,aaaaaaaaaaa_0_10000,0,0,man_off-the-screen,train,v2",
        "b,bbbbbbbbbbb_0_10000,0,0,off-the-screen,train,v2",
        "c,zVfLHhs9uv8_0_10000,0,0,h orse_man,train,v2",
        "d,baby_dog_2_1,0,0,background,train,v1m",
    ]
    collection = avss.read(make(*rows))
    assert findings(collection, "objects in a_obj") == [
        "objects in a_obj that are no classes, by clips: 'off-the-screen' (2), 'h orse' (1); masks decide "
        "alone"
    ]
    assert [clip.fields["objects"] for clip in collection.clips] == [["man"], [], ["man"], ["background"]]


def test_classes_that_a_split_lacks_are_named(make):
    classes = {name: n for n, name in enumerate(("background", "cat", "dog", "man", "violin"))}
    collection = avss.read(make(*ROWS, classes=classes))
    assert findings(collection, "classes without a val clip") == [
        "classes without a val clip by a_obj: 2: cat, violin; the official mIoU counts a class that never "
        "occurs as 0"
    ]


def test_leaks_between_splits_are_found_by_id(make):
    rows = [
        "KQAR_64a35I,KQAR_64a35I_0_5000,0,0,cat,train,v1s",
        "KQAR_64a35I,KQAR_64a35I_0_10000,0,0,cat,test,v2",  # seconds 0 to 5 are in both
        "b_b-bbbbbbb,b_b-bbbbbbb_0_10000,0,0,cat,train,v2",
        "b_b-bbbbbbb,b_b-bbbbbbb_10000_20000,0,10,cat,val,v2",  # they only touch
        "ccccccccccc,ccccccccccc_1,0,0,cat,train,v1m",
        "ccccccccccc,ccccccccccc_2,0,0,cat,test,v1m",
        "KQAR_64a35I,KQAR_64a35I_3,0,0,cat,test,v1m",
        "ddddddddddd,ddddddddddd_1,0,0,cat,test,v1m",
    ]
    collection = avss.read(make(*rows))
    assert findings(collection, "videos of v1s") == [
        "videos of v1s and v2 that clips of two splits are cut from: 1 in val and train, "
        "1 in train and test; in 1 pairs of such clips the seconds overlap"
    ]
    assert findings(collection, "test clips of v1m") == [
        "test clips of v1m whose video has a training clip: 1 of 3 in v1m, 1 in v1s or v2"
    ]
    assert findings(collection, "val clips of v1m") == []


def test_index_masks_stand_in_for_coloured_ones(make):
    collection = avss.read(make(*ROWS, labels="labels_semantic"))
    assert {clip.mask_kind for clip in collection.clips} == {"indices"}
    assert collection.clips[0].masks == ("v1s/aaaaaaaaaaa_0_5000/labels_semantic/0.png",)
    assert "4 clips have no labels_rgb: their masks are taken from labels_semantic" in collection.findings


def test_further_masks_of_v1s_training_clips_are_used_and_counted(make):
    raw = make(*ROWS)
    folder = raw / "v1s/aaaaaaaaaaa_0_5000/labels_rgb"
    for name in ("0.png", "3.png"):
        (folder / name).touch()
    collection = avss.read(raw)
    assert [bool(mask) for mask in collection.clips[0].masks] == [True, False, False, True]
    assert any(finding.startswith("1 training clips of v1s have masks") for finding in collection.findings)


def test_clips_without_sound_are_counted(make):
    collection = avss.read(make(*ROWS, sound=False))
    assert {clip.sound for clip in collection.clips} == {None}
    assert "4 clips have no audio.wav" in collection.findings


def test_clips_of_v1m_are_of_the_videos_that_ms3_tells():
    for name in ("-aBcDeFgHiJ_1", "aBcDeFgHi_7", "baby_dog_2_1"):
        assert span_of(name, "train", multiple=True).video == video_of(name)
