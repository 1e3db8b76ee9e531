"""Clips in quarantine that are tried again with files of other names."""

import dataclasses

import pytest
from stgcma.errors import OtherSettingsError
from stgcma.preprocess.pipeline import finishing
from stgcma.preprocess.pipeline.renamed import renamed_clips
from stgcma.shards.manifest import read_manifest, read_quarantine

from .stand_in import build, contents, faults, make_collection


@pytest.fixture
def rename(collection):
    """`rename(**SOURCES)` gives clips, named `clip_5`, other sources from now on."""

    def rename(**sources):
        new = {key.replace("_", "-"): source for key, source in sources.items()}

        def change(made):
            clips = [dataclasses.replace(c, source=new.get(c.key, c.source)) for c in made.clips]
            return dataclasses.replace(made, clips=tuple(clips))

        collection(change)

    return rename


def test_a_retry_takes_the_new_file_and_gives_the_bytes_of_a_run_on_it(out, raw, rename, tmp_path, capsys):
    rename(clip_5="5.mkv")
    with pytest.raises(OtherSettingsError, match="the list of clips or their labels changed"):
        build(out, raw)
    (raw / "clip-5.bad").unlink()
    build(tmp_path / "direct", raw, clips=12)
    capsys.readouterr()
    with pytest.raises(OtherSettingsError, match="the list of clips or their labels changed"):
        build(out, raw, clips=12)
    assert "1 clips (clip-5) are in quarantine and have files of other names" in capsys.readouterr().err
    assert build(out, raw, clips=12, retry_quarantined=True).written == 12
    said = capsys.readouterr().err
    assert (
        "1 clips (clip-5) are in quarantine and have files of other names now, which are tried (5.mkv" in said
    )
    assert contents(out) == contents(tmp_path / "direct")
    assert {row.key: row.source for row in read_manifest(out)}["clip-5"] == "5.mkv"
    assert faults(out) == ()
    assert build(out, raw, clips=12).was_complete


@pytest.mark.parametrize("stopped_first", [False, True])
def test_an_addition_takes_new_files_of_all_former_ones(
    out, raw, rename, tmp_path, monkeypatch, stopped_first
):
    """clip-5 is of the first list, clip-14 of the second, and clip-16 fails with its new file as well."""
    for key in (14, 16):
        (raw / f"clip-{key}.bad").touch()
    build(out, raw, clips=17, append=True)
    rename(clip_5="5.mkv", clip_14="14.webm", clip_16="16.avi")
    for key in (5, 14):
        (raw / f"clip-{key}.bad").unlink()
    for clips in (12, 17, 25):
        build(tmp_path / "direct", raw, clips=clips, append=True)
    options = {"clips": 25, "append": True}
    if stopped_first:

        def stop(*_):
            raise RuntimeError("just before the end")

        with monkeypatch.context() as patched:
            patched.setattr(finishing, "write_dataset", stop)
            with pytest.raises(RuntimeError, match="just before the end"):
                build(out, raw, retry_quarantined=True, **options)
        build(out, raw, **options)
    else:
        build(out, raw, retry_quarantined=True, **options)
    assert contents(out) == contents(tmp_path / "direct")
    assert [(row.key, row.source) for row in read_quarantine(out)] == [("clip-16", "16.avi")]
    assert faults(out) == ()
    assert build(out, raw, **options).was_complete


def test_a_file_that_is_renamed_again_meanwhile_is_another_list(out, raw, rename, monkeypatch):
    rename(clip_5="5.mkv")

    def stop(*_):
        raise RuntimeError("just before the end")

    with monkeypatch.context() as patched:
        patched.setattr(finishing, "write_dataset", stop)
        with pytest.raises(RuntimeError, match="just before the end"):
            build(out, raw, clips=12, retry_quarantined=True)
    rename(clip_5="5.webm")
    with pytest.raises(OtherSettingsError, match="a retry or repair has not ended, and the list"):
        build(out, raw, clips=12, retry_quarantined=True)
    rename(clip_5="5.mkv")
    build(out, raw, clips=12)
    assert [(row.key, row.source) for row in read_quarantine(out)] == [("clip-5", "5.mkv")]


def test_a_key_that_is_used_with_two_files_has_no_new_one():
    """Its second use is in quarantine for that, whatever its file."""
    clips = make_collection(3).clips
    twice = [*clips, dataclasses.replace(clips[0], source="other.mkv")]
    sources = {clip.key: clip.source for clip in clips}
    assert renamed_clips(twice, sources) == {}
    assert renamed_clips(twice[1:], sources) == {clips[0].key: "other.mkv"}
    assert renamed_clips([twice[-1], *twice[1:]], sources) == {clips[0].key: "other.mkv"}


@pytest.mark.parametrize("append", [False, True])
def test_a_retry_takes_the_new_file_of_a_clip_with_two_rows(raw, collection, tmp_path, append):
    source = "5.mp4"

    def with_two_rows(made):
        clips = [dataclasses.replace(c, source=source) if c.key == "clip-5" else c for c in made.clips]
        again = next(clip for clip in clips if clip.key == "clip-5")
        return dataclasses.replace(made, clips=(*clips[:9], again, *clips[9:]))

    collection(with_two_rows)
    out, direct = tmp_path / "out", tmp_path / "direct"
    build(out, raw, clips=12)
    (raw / "clip-5.bad").unlink()
    source = "5.mkv"
    counts = (12, 20) if append else (12,)
    for clips in counts:
        build(direct, raw, clips=clips, append=append)
    build(out, raw, clips=counts[-1], append=append, retry_quarantined=True)
    assert contents(out) == contents(direct)
    assert {row.key: row.source for row in read_manifest(out)}["clip-5"] == "5.mkv"
    assert [(row.key, row.source) for row in read_quarantine(out)] == [("clip-5", "5.mkv")]
    assert faults(out) == ()


def test_clips_of_an_addition_that_the_list_lacks_stay_as_planned(out, raw, rename, capsys):
    rename(clip_5="5.mkv")
    (raw / "clip-5.bad").unlink()
    build(out, raw, clips=range(1, 14), append=True, retry_quarantined=True)
    said = capsys.readouterr().err
    assert "1 clips (clip-5) are in quarantine and have files of other names now; they stay" in said
    assert [(row.key, row.source) for row in read_quarantine(out)] == [("clip-5", "5.mp4")]
