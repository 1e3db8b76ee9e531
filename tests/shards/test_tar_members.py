"""One header after the other: what a shard's members may be."""

import io
import tarfile
from dataclasses import replace

import pytest
from stgcma.shards.clip_checks import clip_faults, expected_shapes
from stgcma.shards.manifest import read_dataset, read_manifest
from stgcma.shards.schema import ClipRecord
from stgcma.shards.tar_members import TarMemberError, extent_members, stream_members
from stgcma.shards.writer import end_of_archive

ODD = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "folder": tarfile.DIRTYPE,
    "pipe": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
    "sparse": tarfile.GNUTYPE_SPARSE,
    "extended": tarfile.XHDTYPE,
    "long name": tarfile.GNUTYPE_LONGNAME,
    "of before POSIX": tarfile.AREGTYPE,
}


def member(kind, name="a.json"):
    header = tarfile.TarInfo(name)
    header.size, header.type = 3, kind
    return header.tobuf(tarfile.USTAR_FORMAT) + b"abc" + bytes(509)


def test_plain_files_are_members():
    assert list(extent_members(member(tarfile.REGTYPE))) == [("a.json", b"abc")]


@pytest.mark.parametrize("kind", ODD.values(), ids=ODD)
def test_nothing_else_is_a_member(kind):
    with pytest.raises(TarMemberError, match="shards hold plain files only"):
        list(extent_members(member(kind)))


def streamed(content):
    return list(stream_members(io.BytesIO(content), len(content), frozenset({"json", "label.npy"})))


def test_a_header_of_zeros_is_no_end_of_a_shard():
    first, second = member(tarfile.REGTYPE), member(tarfile.REGTYPE, "b.json")
    whole = first + second + end_of_archive(len(first + second))
    assert streamed(whole) == [("a.json", b"abc"), ("b.json", b"abc")]
    blank = first + bytes(512) + second[512:] + end_of_archive(len(first + second))
    for content in (blank, whole[:-1], whole + b"x", whole[: len(first)]):
        with pytest.raises(TarMemberError, match=r"the tar header at byte (1024|2048) is damaged"):
            streamed(content)


def test_a_member_of_a_clip_is_there_once():
    twice = member(tarfile.REGTYPE) * 2
    with pytest.raises(TarMemberError, match=r"a\.json is in it twice"):
        streamed(twice + end_of_archive(len(twice)))


def test_verify_names_a_member_that_is_there_twice():
    record = ClipRecord("a", "train", "train-000000.tar", 0, "", "a.mp4", 1.0, 25.0, True, "pyav", ())
    twice = member(tarfile.REGTYPE, "a.label.npy") * 2
    assert "has the member a.label.npy twice" in list(clip_faults(twice, record, None))


def test_members_are_those_of_the_task_and_free_for_a_task_of_one_s_own(kept_shards):
    shards = kept_shards("ave")
    record = read_manifest(shards, split="test")[0]
    extent = (shards / "shards" / record.shard).read_bytes()[: record.bytes]
    shapes = expected_shapes(read_dataset(shards))
    assert list(clip_faults(extent, record, shapes)) == []
    assert list(clip_faults(extent, record, replace(shapes, task="tags"))) == []
    of_avqa = list(clip_faults(extent, record, replace(shapes, task="avqa")))
    assert of_avqa == ["lacks qa.json", "has label.npy, which does not belong to task avqa"]
    (fewer,) = clip_faults(extent, record, replace(shapes, task="tags", classes=1))
    assert "expected int16 [seconds] from 0 to 0" in fewer
