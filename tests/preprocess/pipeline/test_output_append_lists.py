"""Lists of clips that can be added to a directory, and those that are refused."""

import dataclasses
import shutil

import pytest
from stgcma.errors import OtherSettingsError, StgcmaError
from stgcma.shards.manifest import read_dataset, read_manifest, read_planned, read_quarantine

from . import stand_in
from .additions import keys, shard_files, stopped
from .stand_in import build, contents, faults
from .test_output_repair import files


def test_a_longer_list_without_append_is_refused(out, raw):
    with pytest.raises(OtherSettingsError, match=r"labels changed \(the option append adds new ones"):
        build(out, raw, clips=17)
    build(out, raw, clips=17, append=True)
    before = files(out)
    with pytest.raises(
        OtherSettingsError, match=r"26 clips were not planned for it \(the option append adds"
    ):
        build(out, raw, clips=43)
    assert files(out) == before


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": (1, 1)}, r"the annotations of 1 clips \(clip-3\) changed since they were written"),
        ({"source": "other.mp4"}, r"the annotations of 1 clips \(clip-3\) changed"),
        ({"fields": {"n": 4}}, r"the annotations of 1 clips \(clip-3\) changed"),
    ],
)
def test_a_clip_with_other_annotations_is_named(out, raw, collection, times, change, message):
    if times == 2:
        build(out, raw, clips=13, append=True)

    def change_clip(collection):
        clips = [dataclasses.replace(c, **change) if c.key == "clip-3" else c for c in collection.clips]
        return dataclasses.replace(collection, clips=tuple(clips))

    before = files(out)
    collection(change_clip)
    with pytest.raises(OtherSettingsError, match=message):
        build(out, raw, clips=17, append=True)
    assert files(out) == before


@pytest.mark.parametrize("times", [1, 2])
def test_a_quarantined_clip_whose_file_has_another_name_is_no_change(
    out, raw, collection, monkeypatch, times, capsys
):
    """clip-5 is in quarantine."""
    for number in range(1, times):
        build(out, raw, clips=12 + number, append=True)
    shutil.copytree(out, out.with_name("same"))
    build(out.with_name("same"), raw, clips=17, append=True)
    capsys.readouterr()

    def rename(made):
        clips = [dataclasses.replace(c, source="5.mkv") if c.key == "clip-5" else c for c in made.clips]
        return dataclasses.replace(made, clips=tuple(clips))

    collection(rename)
    stopped(out, raw, monkeypatch, clips=17)
    assert "1 clips (clip-5) are in quarantine and have files of other names" in capsys.readouterr().err
    build(out, raw, clips=17, append=True)
    assert contents(out) == contents(out.with_name("same"))


def test_clips_in_another_order_are_refused(out, raw):
    with pytest.raises(OtherSettingsError, match="the order of the clips changed since they were written"):
        build(out, raw, clips=[1, 0, *range(2, 17)], append=True)


def test_other_settings_are_refused(out, raw):
    with pytest.raises(OtherSettingsError, match=r"features\.jpeg_quality is 95 there, 60 here"):
        build(out, raw, clips=17, append=True, features=stand_in.FEATURES | {"jpeg_quality": 60})


def test_clips_that_are_no_longer_listed_stay(out, raw, capsys):
    """As when RAW holds the new files only."""
    before = shard_files(out)
    build(out, raw, clips=range(9, 17), append=True)
    assert (
        "9 clips (clip-0, clip-1, clip-2, …) are no longer in the list; they stay" in capsys.readouterr().err
    )
    assert {name: file for name, file in shard_files(out).items() if name in before} == before
    assert len(keys(out)) == 16
    assert faults(out) == ()
    again = build(out, raw, clips=range(12, 17), append=True, retry_quarantined=True)
    assert again.was_complete
    assert "are not tried again, because the list lacks clips" in capsys.readouterr().err
    with pytest.raises(
        OtherSettingsError, match=r"12 clips \(.*\) are no longer in the list \(with the option"
    ):
        build(out, raw, clips=range(12, 17))
    # With the whole list, everything can be made again.
    (raw / "clip-5.bad").unlink()
    (out / "shards" / "train-000001.tar").unlink()
    build(out, raw, clips=17, retry_quarantined=True)
    assert len(keys(out)) == 17
    assert faults(out) == ()


def test_a_lost_shard_whose_clips_are_not_listed_is_named(out, raw):
    build(out, raw, clips=range(9, 17), append=True)
    (out / "shards" / "train-000001.tar").unlink()
    before = files(out)
    with pytest.raises(
        StgcmaError, match=r"train-000001\.tar is missing or damaged, and cannot be made again"
    ):
        build(out, raw, clips=range(9, 17), append=True)
    assert files(out) == before


def test_clips_that_moved_to_another_split_stay(out, raw, collection, capsys):
    def move(collection):
        clips = [dataclasses.replace(c, split="val") if c.key == "clip-1" else c for c in collection.clips]
        return dataclasses.replace(collection, clips=tuple(clips))

    collection(move)
    build(out, raw, clips=17, append=True)
    assert "1 clips (clip-1) are in other splits now; they stay" in capsys.readouterr().err
    assert {record.key: record.split for record in read_manifest(out)}["clip-1"] == "train"
    assert all(row.clip_sha256 for row in read_planned(out))
    assert faults(out) == ()


def test_classes_can_be_added_at_the_end_only(out, raw, collection):
    def classes(*names):
        collection(lambda made: dataclasses.replace(made, classes=names))

    classes("Bark", "Bell", "Background")
    with pytest.raises(
        OtherSettingsError, match="classes has 'Bell' there, 'Bark' here; labels that are written"
    ):
        build(out, raw, clips=17, append=True)
    classes("Bell")
    with pytest.raises(OtherSettingsError, match="classes has 2 names there, 1 here"):
        build(out, raw, clips=17, append=True)
    classes("Bell", "Background", "Bark")
    build(out, raw, clips=17, append=True)
    assert read_dataset(out).classes == ("Bell", "Background", "Bark")
    assert faults(out) == ()


def test_tags_of_another_number_of_classes_are_refused(tmp_path, raw, collection):
    collection(lambda made: dataclasses.replace(made, task="avc", classes=("Bell",)))
    build(tmp_path / "out", raw, clips=12)
    collection(lambda made: dataclasses.replace(made, task="avc", classes=("Bell", "Horn")))
    with pytest.raises(OtherSettingsError, match=r"2 classes, and tags\.npy of the written clips is for 1"):
        build(tmp_path / "out", raw, clips=17, append=True)


def test_a_key_that_was_used_before_is_a_duplicate(out, raw, collection):
    def twice(collection):
        return dataclasses.replace(collection, clips=(*collection.clips, collection.clips[3]))

    collection(twice)
    build(out, raw, clips=17, append=True)
    assert [(row.key, row.reason) for row in read_quarantine(out)] == [
        ("clip-5", "unreadable"),
        ("clip-3", "duplicate-key"),
    ]
    assert faults(out) == ()
    assert build(out, raw, clips=17, append=True).was_complete
