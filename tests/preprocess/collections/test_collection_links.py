"""Links out of RAW: neither annotations nor folders behind them are looked at, unless that is allowed."""

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import ave as ave_reader
from stgcma.preprocess.collections import avs_s4, folder, music_avqa
from stgcma.preprocess.collections.paths import resolve_source
from stgcma.preprocess.collections.preflight import inspect
from stgcma.preprocess.media.reasons import ClipError


@pytest.fixture
def outside(tmp_path_factory):
    """`outside(path)` moves a file or folder out of RAW and leaves a link to it."""

    def move(path):
        target = tmp_path_factory.mktemp("outside") / path.name
        path.rename(target)
        path.symlink_to(target)
        return target

    return move


@pytest.mark.parametrize("name", ["Annotations.txt", "valSet.txt"])
def test_annotations_of_ave_that_lead_out_are_not_read(ave, outside, name):
    raw = ave()
    plan = ave_reader.read(raw).plan_sha256
    outside(raw / name)
    with pytest.raises(InputError, match=f"{name} is a link that leads out of .*; see the option allow_l"):
        ave_reader.read(raw)
    assert ave_reader.read(raw, allow_links=True).plan_sha256 == plan


def test_row_numbers_that_lead_out_are_not_read(ave, outside):
    raw = ave()
    (raw / "testSet.txt").unlink()
    (raw / "test_order.h5").write_bytes(b"secret")
    outside(raw / "test_order.h5")
    with pytest.raises(InputError, match=r"test_order\.h5 is a link that leads out of"):
        ave_reader.read(raw)


def test_a_table_of_avs_that_leads_out_is_not_read(avs, outside):
    raw = avs([("aaa", "dog", "train")])
    outside(raw / "s4_meta_data.csv")
    with pytest.raises(InputError, match=r"s4_meta_data\.csv is a link that leads out of"):
        avs_s4.read(raw)
    assert len(avs_s4.read(raw, allow_links=True).clips) == 1


def test_questions_that_lead_out_are_not_read(avqa, ask, outside):
    raw = avqa(train=[ask()])
    outside(raw / "avqa-val.json")
    with pytest.raises(InputError, match=r"avqa-val\.json is a link that leads out of"):
        music_avqa.read(raw)
    assert len(music_avqa.read(raw, allow_links=True).clips) == 1


def test_a_link_within_raw_and_a_raw_that_is_a_link_are_followed(ave, tmp_path_factory):
    raw = ave()
    plan = ave_reader.read(raw).plan_sha256
    (raw / "Annotations.txt").rename(raw / "all.txt")
    (raw / "Annotations.txt").symlink_to("all.txt")
    other = tmp_path_factory.mktemp("other") / "raw"
    other.symlink_to(raw)
    assert ave_reader.read(other).plan_sha256 == plan


def test_videos_that_lead_out_are_not_counted_as_found(ave, outside):
    raw = ave()
    outside(raw / "AVE" / "ccccccccccc.mp4")
    assert inspect(ave_reader.read(raw), raw).splits["all"].missing == 1
    outside(raw / "AVE")
    collection = ave_reader.read(raw)
    assert inspect(collection, raw).splits["all"].found == 0
    assert inspect(collection, raw, allow_links=True).splits["all"].found == 5
    for source in (collection.clips[0].source, "AVE/not-there.mp4"):
        with pytest.raises(ClipError, match=f"unsafe-path: {source} is a link that leads out of the raw"):
            resolve_source(raw, source)


def test_a_link_in_a_circle_is_missing(tmp_path):
    (tmp_path / "a.mp4").symlink_to("a.mp4")
    with pytest.raises(ClipError, match=r"missing: a\.mp4 is not in the raw folder"):
        resolve_source(tmp_path, "a.mp4")


def touch(raw, *names):
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).touch()


def test_folders_without_videos_do_not_turn_splits_into_classes(tmp_path):
    touch(tmp_path, *(f"{split}/dog/{split}.mp4" for split in ("train", "val", "test")))
    plan = folder.read(tmp_path).plan_sha256
    touch(tmp_path, "annotations/labels.csv", "out/shards/train-000000.tar", ".cache/train/dog/x.mp4")
    collection = folder.read(tmp_path)
    assert collection.plan_sha256 == plan
    assert collection.classes == ("dog", "Background")
    assert collection.findings == (
        "3 files are not clips in a class folder and were left out: 1 .mp4, 1 .csv, 1 .tar",
    )


def test_splits_beside_classes_are_refused(tmp_path):
    touch(tmp_path, "train/dog/a.mp4", "cat/b.mp4")
    with pytest.raises(InputError, match="holds videos in 'train', which names a split, and in 'cat'; put"):
        folder.read(tmp_path)


@pytest.mark.parametrize("source", ["../a.mp4", "AVE/../../a.mp4", "/etc/hostname", "AVE/a\0.mp4"])
@pytest.mark.parametrize("allow_links", [False, True])
def test_a_path_that_leads_out_is_none_whether_links_are_allowed_or_not(tmp_path, source, allow_links):
    (tmp_path / "raw" / "AVE").mkdir(parents=True)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(ClipError, match=r"unsafe-path: '.*' leads out of the raw folder"):
        resolve_source(tmp_path / "raw", source, allow_links=allow_links)
