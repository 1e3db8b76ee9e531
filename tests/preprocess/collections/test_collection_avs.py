"""AVSBench-S4 as its authors ship it."""

import errno
import os

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import avs_s4
from stgcma.preprocess.pipeline.raw_storage import clip_files

ROWS = (
    ("aaa_1", "playing_violin", "train"),
    ("bbb_2", "dog_barking", "test"),
    ("ccc_3", "dog_barking", "val"),
)


def test_a_training_clip_has_the_first_mask_and_others_all_five(avs):
    collection = avs_s4.read(avs(ROWS))
    assert [(clip.key, clip.split, len(clip.masks)) for clip in collection.clips] == [
        ("aaa_1", "train", 1),
        ("ccc_3", "val", 5),
        ("bbb_2", "test", 5),
    ]
    test = collection.clips[2]
    assert test.source == "raw_videos/test/dog_barking/bbb_2.mp4"
    assert test.masks[4] == "gt_masks/test/dog_barking/bbb_2/bbb_2_5.png"
    assert test.fields == {"category": "dog_barking"}


def test_categories_stand_in_the_order_of_their_first_appearance(avs):
    assert avs_s4.read(avs(ROWS)).classes == ("playing_violin", "dog_barking")


def test_the_data_may_lie_in_the_authors_folder_beside_the_table(avs):
    clip = avs_s4.read(avs(ROWS, data="s4_data")).clips[0]
    assert clip.source == "s4_data/raw_videos/train/playing_violin/aaa_1.mp4"
    assert clip.masks == ("s4_data/gt_masks/train/playing_violin/aaa_1/aaa_1_1.png",)


def test_columns_are_found_by_name(avs):
    raw = avs(ROWS)
    (raw / "s4_meta_data.csv").write_text("\ufeffsplit,extra,Name,category\r\nval,1,ccc_3,dog_barking\r\n")
    assert avs_s4.read(raw).clips[0].key == "ccc_3"


def test_pictures_stand_in_for_a_missing_video(avs):
    raw = avs(ROWS, videos=False)
    (raw / "visual_frames/train/playing_violin/aaa_1").mkdir(parents=True)
    (raw / "visual_frames/test/dog_barking/bbb_2").mkdir(parents=True)
    (raw / "audio_wav/test/dog_barking").mkdir(parents=True)
    (raw / "audio_wav/test/dog_barking/bbb_2.wav").touch()
    collection = avs_s4.read(raw)
    train, val, test = collection.clips
    assert train.source == "visual_frames/train/playing_violin/aaa_1"
    assert train.pictures[4] == "visual_frames/train/playing_violin/aaa_1/aaa_1_5.png"
    assert (train.sound, test.sound) == (None, "audio_wav/test/dog_barking/bbb_2.wav")
    assert (val.source, val.pictures) == ("raw_videos/val/dog_barking/ccc_3.mp4", ())
    assert collection.findings == (
        "2 clips have no video: their frames are taken from visual_frames "
        "(1 of them have no sound in audio_wav)",
        "1 clips have masks, but neither video nor frames",
    )


def test_a_clip_without_masks_is_reported(avs):
    raw = avs(ROWS)
    (raw / "gt_masks/val/dog_barking/ccc_3").rmdir()
    assert avs_s4.read(raw).findings == ("1 clips have no folder in gt_masks",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "vid,category,split\n",
            r"csv:1: the columns are vid, category, split; there must be name or video_name",
        ),
        ("name,category,split\n", "holds no rows below its header"),
        ("name,category,split\na,b,c\n", r"csv:2: split is 'c', must be one of train, val, test"),
        (f"name,{'x' * 200_000}\n", r"csv:1: not a line of a CSV file \(field larger than field limit"),
        ("name,category,split\na,b\n", r"csv:2: 2 fields in 'a,b', expected 3"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "s4_meta_data.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        avs_s4.read(tmp_path)


def test_a_missing_table_says_what_the_folder_must_hold(tmp_path):
    with pytest.raises(InputError, match=r"s4_meta_data\.csv is missing; RAW must be the AVSBench-S4 folder"):
        avs_s4.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("../x", "dog"),
        ("/x", "dog"),
        ("a\0b", "dog"),
        ("x", "../dog"),
        ("x", "/dog"),
        ("x", ".."),
        ("x", "a\0b"),
        ("x", "d" * 300),
        ("x", "ö" * 128),
    ],
)
def test_hostile_names_are_their_clips_problem(tmp_path, name, category):
    (tmp_path / "s4_meta_data.csv").write_text(f"name,category,split\n{name},{category},test\n")
    (clip,) = avs_s4.read(tmp_path).clips
    assert clip.problem[0] == "unsafe-path"
    assert "\0" not in clip.key + clip.source + clip.fields["category"]


def test_a_name_that_is_not_utf8_is_its_clips_problem(tmp_path):
    (tmp_path / "s4_meta_data.csv").write_bytes(b"name,category,split\na\xff,dog,test\n")
    assert avs_s4.read(tmp_path).clips[0].problem[0] == "unsafe-path"


def test_a_folder_that_may_not_be_listed_is_named(avs, monkeypatch):
    raw = avs(ROWS)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("dog_barking"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"raw_videos/test/dog_barking cannot be listed: Permission denied"):
        avs_s4.read(raw)


def test_masks_of_a_training_clip_beyond_the_first_are_used_where_they_are(avs):
    raw = avs([*ROWS, ("ddd_4", "playing_violin", "train")])
    published = avs_s4.read(raw)
    for number in (1, 3):
        (raw / f"gt_masks/train/playing_violin/ddd_4/ddd_4_{number}.png").touch()
    (raw / "gt_masks/train/playing_violin/aaa_1/aaa_1_1.png").touch()
    collection = avs_s4.read(raw)
    first, second = (clip for clip in collection.clips if clip.split == "train")
    folder = "gt_masks/train/playing_violin"
    assert first.masks == (f"{folder}/aaa_1/aaa_1_1.png",)  # as published, in the plan and its hash
    assert second.masks == (f"{folder}/ddd_4/ddd_4_1.png", "", f"{folder}/ddd_4/ddd_4_3.png")
    assert [line for line in collection.findings if "beyond the first" in line] == [
        "1 training clips have masks beyond the first, which are used as well: as published, training sees "
        "one mask a clip"
    ]
    assert published.clips[0] == first
    assert clip_files(second) == [second.source, second.masks[0], second.masks[2]]
