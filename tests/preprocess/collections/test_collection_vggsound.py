"""VGGSound as its authors ship it: the published file, names of videos, the split for val."""

import io
from collections import Counter

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import vggsound
from stgcma.preprocess.collections.divisions import hash_position
from stgcma.preprocess.collections.preflight import inspect

# As in the published file: ids with dashes and underscores, quotes where a label has commas, an id twice.
ROWS = (
    "---g-f_I2yQ,1,people marching,train",
    '--0PQM4-hqg,30,"bird chirping, tweeting",train',
    "B5KE79I2f-A,188,wind noise,test",
    "B5KE79I2f-A,220,wind noise,test",
    "_547JTmvb9g,0,people marching,train",
)


@pytest.fixture
def read(tmp_path):
    """Writes `vggsound.csv` and empty videos, and reads the collection."""

    def made(rows=ROWS, *, videos=(), encoding="utf-8", head=""):
        (tmp_path / "vggsound.csv").write_bytes((head + "".join(f"{row}\n" for row in rows)).encode(encoding))
        for video in videos:
            (tmp_path / video).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / video).touch()
        return vggsound.read(tmp_path)

    made.raw = tmp_path
    return made


def test_the_published_file(read):
    collection = read()
    clips = {clip.key: clip for clip in collection.clips}
    assert list(clips) == [
        "---g-f_I2yQ_000001",
        "--0PQM4-hqg_000030",
        "_547JTmvb9g_000000",
        "B5KE79I2f-A_000188",
        "B5KE79I2f-A_000220",
    ]
    assert collection.classes == ("bird chirping, tweeting", "people marching", "wind noise")
    clip = clips["--0PQM4-hqg_000030"]
    ((name, content),) = clip.members
    assert (name, np.load(io.BytesIO(content)).tolist()) == ("tags.npy", [1, 0, 0])
    assert clip.fields == {"category": "bird chirping, tweeting"}
    assert clip.annotated_seconds == 10
    assert clip.source == "video/--0PQM4-hqg_000030.mp4"
    assert collection.features == {"labels_per_clip": "one"}
    assert collection.sampling.frames == 10


@pytest.mark.parametrize("folder", ["video/", "videos/", "clips/", "", "video/train/", "train/"])
@pytest.mark.parametrize("name", ["--0PQM4-hqg_000030", "--0PQM4-hqg_30", "--0PQM4-hqg_30_40"])
def test_videos_are_found_by_the_names_of_usual_copies(read, folder, name):
    collection = read(videos=[f"{folder}{name}.mkv", f"{folder}other.mp4"])
    sources = {clip.key: clip.source for clip in collection.clips}
    assert sources["--0PQM4-hqg_000030"] == f"{folder}{name}.mkv"
    found = inspect(collection, read.raw)
    assert (found.splits["all"].found, found.splits["all"].missing, found.unreferenced) == (1, 4, 1)


def test_a_whole_video_is_no_clip_of_it(read):
    assert inspect(read(videos=["video/--0PQM4-hqg.mp4"]), read.raw).splits["all"].found == 0


@pytest.mark.parametrize(
    ("encoding", "head"),
    [
        ("utf-8-sig", ""),
        ("utf-8", "# YouTube ID, start seconds, label, train/test split. \n"),
        ("utf-8", "youtube_id,start,label,split\n"),
    ],
)
def test_copies_with_a_mark_or_a_header_are_the_same(read, encoding, head):
    plain = read()
    assert read(encoding=encoding, head=head).plan_sha256 == plain.plan_sha256


def test_val_is_a_twentieth_of_the_training_ids(read):
    rows = [f"id{number // 2:08d}_,{10 * (number % 2)},rain,train" for number in range(4000)]
    collection = read([*rows, "test0000000,0,rain,test"])
    counts = Counter(clip.split for clip in collection.clips)
    assert counts["test"] == 1
    assert counts["val"] == 2 * sum(hash_position(f"id{number:08d}_") < 0.05 for number in range(2000))
    assert 0.04 < counts["val"] / 4000 < 0.06
    of_id = {}
    for clip in collection.clips:
        of_id.setdefault(clip.key[:11], set()).add(clip.split)
    assert all(len(splits) == 1 for splits in of_id.values()), "clips of one video are in one split"
    said = f"no val split: {counts['val']} training clips, 5% of the YouTube ids, are used as val"
    assert collection.findings == (said,)


def test_a_copy_with_its_own_val_keeps_it(read):
    collection = read(["aaaaaaaaaaa,0,rain,train", "bbbbbbbbbbb,0,rain,val", "ccccccccccc,0,rain,test"])
    assert [clip.split for clip in collection.clips] == ["train", "val", "test"]
    assert collection.findings == ()


def test_a_video_in_training_and_test_is_reported(read):
    collection = read(["aaaaaaaaaaa,0,rain,train", "aaaaaaaaaaa,30,rain,test", "ccccccccccc,0,rain,val"])
    assert collection.findings == ("1 YouTube videos have clips in training and in test",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("ccccccccccc,1.5,rain,train", r"vggsound.csv:2: start is '1.5', must be whole seconds"),
        ("ccccccccccc,-1,rain,train", r"vggsound.csv:2: start is '-1'"),
        ("ccccccccccc,1,rain,dev", r"vggsound.csv:2: split is 'dev', must be train or test"),
        ("ccccccccccc,1,,train", r"vggsound.csv:2: the label is empty"),
        ("ccccccccccc,1,bird chirping, tweeting,train", r"vggsound.csv:2: 5 cells in .*, expected 4"),
        ("ccccccccccc,1,Rain,train", r"vggsound.csv: the classes 'Rain' and 'rain' differ only"),
    ],
)
def test_a_row_at_fault_is_named_by_its_line(read, row, said):
    with pytest.raises(InputError, match=said):
        read(["aaaaaaaaaaa,0,rain,train", row])


def test_an_id_that_leads_out_is_its_clips_problem(read):
    problems = [clip.problem for clip in read(["../../../x,0,rain,test"]).clips]
    assert problems[0][0] == "unsafe-path"


def test_an_empty_or_missing_file_is_named(read, tmp_path):
    with pytest.raises(InputError, match=r"vggsound.csv holds no rows"):
        read([])
    (tmp_path / "vggsound.csv").unlink()
    with pytest.raises(InputError, match=r"vggsound.csv is missing; RAW must be a folder with vggsound.csv"):
        vggsound.read(tmp_path)
