"""AVSBench-MS3 as its authors ship it."""

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import avs_ms3
from stgcma.preprocess.collections.preflight import inspect
from stgcma.shards.schema import SPLITS

ROWS = (("-aBcDeFgHiJ_1", "train"), ("_aBcDeFgHi9", "val"), ("baby_dog_2_1", "test"))


@pytest.fixture
def ms3(tmp_path):
    """`ms3(rows)` writes an AVSBench-MS3 folder of (name, split) with videos, or pictures, and masks."""

    def write(rows=ROWS, *, data="", header="video_id,split\n", videos=True):
        lines = "".join(f"{name},{split}\n" for name, split in rows)
        (tmp_path / "ms3_meta_data.csv").write_text(header + lines, encoding="utf-8")
        for name, split in rows:
            files = [f"gt_masks/{split}/{name}/{name}_{second}.png" for second in range(1, 6)]
            files += (
                [f"raw_videos/{name}.mp4"]
                if videos
                else [f"visual_frames/{name}/{name}.mp4_{second}.png" for second in range(1, 6)]
            )
            for file in files:
                (tmp_path / data / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / data / file).touch()
        return tmp_path

    return write


@pytest.mark.parametrize("data", ["", "ms3_data/"])
def test_clips_of_every_split_have_five_masks_and_videos_lie_in_one_folder(ms3, data):
    raw = ms3(data=data)
    collection = avs_ms3.read(raw)
    assert [clip.key for clip in collection.clips] == [name for name, _ in ROWS]
    for clip, (name, split) in zip(collection.clips, ROWS, strict=True):
        assert clip.source == f"{data}raw_videos/{name}.mp4"
        assert clip.masks == tuple(f"{data}gt_masks/{split}/{name}/{name}_{k}.png" for k in range(1, 6))
        assert (clip.mask_kind, clip.annotated_seconds) == ("two-values", 5)
    assert (collection.task, collection.classes, collection.findings) == ("avs", (), ())
    counts = inspect(collection, raw).splits
    assert [(counts[split].found, counts[split].expected_clips) for split in (*SPLITS, "all")] == [
        (1, 296), (1, 64), (1, 64), (3, 424)
    ]  # fmt: skip


def test_pictures_are_named_after_the_video_and_sounds_lie_by_split(ms3):
    raw = ms3(videos=False)
    (raw / "audio_wav/val").mkdir(parents=True)
    (raw / "audio_wav/val/_aBcDeFgHi9.wav").touch()
    train, val, _ = avs_ms3.read(raw).clips
    name = "-aBcDeFgHiJ_1"
    assert train.source == f"visual_frames/{name}"
    assert train.pictures == tuple(f"visual_frames/{name}/{name}.mp4_{k}.png" for k in range(1, 6))
    assert (train.sound, val.sound) == (None, "audio_wav/val/_aBcDeFgHi9.wav")


@pytest.mark.parametrize(
    "table",
    [
        "video_id,split\nxxxxxxxxxxx_1,test\n",
        "xxxxxxxxxxx_1,test\n",  # no names
        "\ufeffname;split\r\nxxxxxxxxxxx_1;test\r\n",
        "split,name\ntest,xxxxxxxxxxx_1\n",
        "name,start,split\nxxxxxxxxxxx_1,0,test\n",
        "xxxxxxxxxxx_1,Test,guitar\n",
    ],
)
def test_columns_are_found_by_place_or_by_known_names(tmp_path, table):
    (tmp_path / "ms3_meta_data.csv").write_bytes(table.encode())
    collection = avs_ms3.read(tmp_path)
    assert [(clip.key, clip.split) for clip in collection.clips] == [("xxxxxxxxxxx_1", "test")]
    assert not any("names of the columns" in finding for finding in collection.findings)


def test_an_unknown_header_is_read_by_place_and_reported(tmp_path):
    (tmp_path / "ms3_meta_data.csv").write_text("clip,subset\nxxxxxxxxxxx_1,val\n")
    collection = avs_ms3.read(tmp_path)
    assert [(clip.key, clip.split) for clip in collection.clips] == [("xxxxxxxxxxx_1", "val")]
    assert collection.findings[0] == (
        "ms3_meta_data.csv:1 is taken for the names of the columns: 'clip,subset'"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,split\n", "holds no rows"),
        ("", "holds no rows"),
        ("name,split\na,b\n", r"csv:2: split is 'b', must be one of train, val, test"),
        ("name,split\na\n", r"csv:2: 1 fields in 'a', expected 2"),
        ("a,train\nb,trian\n", r"csv:2: split is 'trian'"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "ms3_meta_data.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        avs_ms3.read(tmp_path)


def test_a_missing_table_says_what_the_folder_must_hold(tmp_path):
    with pytest.raises(InputError, match=r"ms3_meta_data\.csv is missing; RAW must be the AVSBench-MS3"):
        avs_ms3.read(tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/b", "ä", "x" * 300])
def test_hostile_names_are_their_clips_problem(tmp_path, name):
    (tmp_path / "ms3_meta_data.csv").write_text(f"name,split\n{name},test\n")
    (clip,) = avs_ms3.read(tmp_path).clips
    assert clip.problem[0] == "unsafe-path"


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("-aBcDeFgHiJ_1", "-aBcDeFgHiJ"),
        ("aBcDeFgHi_J_12", "aBcDeFgHi_J"),
        ("aBcDeFgHiJ_", "aBcDeFgHiJ_"),
        ("aBcDeFgHi_7", "aBcDeFgHi_7"),  # a plain id of eleven characters
        ("baby_dog_2_1", "baby_dog_2"),
    ],
)
def test_the_video_of_a_clip_is_its_name_up_to_the_number(name, video):
    assert avs_ms3.video_of(name) == video


def test_videos_with_clips_in_several_splits_are_counted(ms3):
    ids = [letter * 11 for letter in "abc"]
    rows = [
        *((f"{ids[0]}_{number}", split) for number, split in enumerate(("train", "train", "val", "test"))),
        (f"{ids[1]}_1", "test"),
        (ids[1], "val"),
        (f"{ids[2]}_1", "test"),
        (ids[2], "train"),
    ]
    assert avs_ms3.read(ms3(rows)).findings == (
        "8 clips are of 3 videos by their names: 1 of 2 val clips and 2 of 3 test clips are of a video of "
        "which training has clips too",
    )
