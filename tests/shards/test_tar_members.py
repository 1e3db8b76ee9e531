"""One header after the other: what a shard's members may be."""

import io
import random
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from stgcma.shards.clip_checks import Checked, Shapes, clip_faults, expected_shapes
from stgcma.shards.manifest import read_dataset, read_manifest
from stgcma.shards.schema import ClipRecord
from stgcma.shards.tar_members import TarMemberError, extent_members, parse_header, stream_members
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


def header_by_tarfile(block):
    """Name and size of a plain file, or None, by `tarfile` alone."""
    try:
        header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.TarError, ValueError):
        return None
    return (header.name, header.size) if header.type == tarfile.REGTYPE else None


def test_a_header_is_read_as_tarfile_reads_it():
    rng = random.Random(3)
    for number in range(2000):
        header = tarfile.TarInfo(f"clip_{number}.label.npy")
        header.size, header.mtime = rng.randrange(1 << 20), rng.choice((0, 1_700_000_000))
        block = bytearray(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(rng.choice((0, 1, 2))):
            place = rng.choice((rng.randrange(100), rng.randrange(124, 157), rng.randrange(512)))
            block[place] = rng.choice((0, 32, 48, 55, 200, block[place] ^ 1))
        expected = header_by_tarfile(bytes(block))
        try:
            found = parse_header(bytes(block), at=0, end=1 << 40)
        except TarMemberError:
            assert expected is None or not expected[0].isprintable() or not expected[0].startswith("clip_")
        else:
            assert (found.name, found.size_bytes) == expected


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def test_faults_are_found_among_members_that_are_known():
    rng = np.random.default_rng(4)
    shapes = Shapes("avvp", frames=2, fbanks={}, windows=2, classes=3, pixels=224)
    checked = Checked()
    frames = []
    for _ in range(2):
        content = io.BytesIO()
        pixels = rng.integers(0, 255, (224, 224, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(content, "JPEG", quality=95)
        frames.append(content.getvalue())
    for frame in (*frames, *frames):
        assert list(checked.content_faults("frame_00.jpg", frame, shapes)) == []
    (cut,) = checked.content_faults("frame_01.jpg", frames[1][:-9000], shapes)
    assert cut.startswith("has a damaged member: frame_01.jpg is damaged")
    small = io.BytesIO()
    Image.new("RGB", (32, 32)).save(small, "JPEG", quality=95)
    (other,) = checked.content_faults("frame_00.jpg", small.getvalue(), shapes)
    assert "32×32 pixels, expected 224×224" in other
    events = npy(np.ones((2, 2, 3), np.uint8))
    for _ in range(2):
        assert list(checked.content_faults("events.npy", events, shapes)) == []
    (short,) = checked.content_faults("events.npy", events, replace(shapes, frames=1))
    assert "expected uint8 [2, 1, 3]" in short
