"""Findings on a collection before anything is decoded."""

import os

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import ave as ave_reader
from stgcma.preprocess.collections import avs_s4, folder, music_avqa
from stgcma.preprocess.collections.preflight import inspect

ROWS = (
    "Clock&aaaaaaaaaaa&good&0&5",
    "Clock&bbbbbbbbbbb&good&0&5",
    "Clock&ccccccccccc&good&0&5",
    "Bell&aaaaaaaaaaa&good&5&9",
    "Bell&../etc&good&5&9",
)


def test_found_missing_unreferenced_duplicates_and_leaks_of_ave(ave):
    raw = ave(ROWS, splits=((0, 1, 1, 4), (2,), (3,)), videos=("aaaaaaaaaaa", "bbbbbbbbbbb", "unused"))
    result = inspect(ave_reader.read(raw), raw)
    train, whole = result.splits["train"], result.splits["all"]
    assert (train.clips, train.found, train.missing, train.unusable, train.duplicate_keys) == (4, 3, 0, 1, 1)
    assert (whole.clips, whole.found, whole.missing) == (6, 4, 1)
    assert (train.expected_clips, whole.expected_clips) == (3339, 4143)
    assert result.unreferenced == 1
    assert result.leaks == {"train and test": 1}
    text = "\n".join(result.lines())
    assert "videos that no clip uses: 1; videos in two splits: 1 in train and test" in text
    assert "1 videos carry more than one annotation row" in text
    assert "classes: 3 (published: 29)" in text  # background included, there and here


def test_questions_are_counted_beside_videos(avqa, ask):
    raw = avqa(train=[ask(), ask(), ask("00000002")], test=[ask()])
    result = inspect(music_avqa.read(raw), raw)
    assert (result.unit, result.splits["train"].rows, result.splits["train"].clips) == ("questions", 3, 2)
    assert result.splits["train"].expected_rows is None
    assert (result.splits["all"].expected_rows, result.splits["all"].expected_clips) == (45867, 9288)
    assert result.leaks == {"train and test": 1}
    assert not any("classes" in line for line in result.lines())  # its answers are among the findings


def test_pictures_count_as_found_and_other_categories_as_unreferenced(avs):
    raw = avs([("aaa", "dog", "train")], videos=False)
    (raw / "visual_frames/train/dog/aaa").mkdir(parents=True)
    (raw / "raw_videos/val/cat").mkdir(parents=True)
    (raw / "raw_videos/val/cat/x.mp4").touch()
    result = inspect(avs_s4.read(raw), raw)
    assert (result.splits["train"].found, result.splits["all"].expected_clips, result.unreferenced) == (
        1,
        4932,
        1,
    )
    assert "  classes: 1 (published: 23)" in result.lines()


def test_every_folder_is_listed_once(ave, monkeypatch):
    raw = ave()
    collection = ave_reader.read(raw)
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    inspect(collection, raw)
    assert listed == [raw / "AVE"]


def test_a_class_folder_is_not_taken_for_raw(tmp_path):
    (tmp_path / "a.mp4").touch()
    message = r"RAW/CLASS/\*.mp4, .* \(videos found: 1, too high; is RAW the folder above\?\)"
    with pytest.raises(InputError, match=message):
        folder.read(tmp_path)


def test_any_folder_of_clips_can_be_inspected(tmp_path):
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.mp4").touch()
    (tmp_path / os.fsdecode(b"dog/\xff.mp4")).touch()
    result = inspect(folder.read(tmp_path), tmp_path)
    assert (result.splits["all"].found, result.splits["all"].unusable) == (1, 1)
    assert result.splits["all"].expected_clips is None
    assert "  classes: 1" not in result.lines()  # dog and background
    assert "  classes: 2" in result.lines()
