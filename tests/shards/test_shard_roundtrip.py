import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

import pytest
import webdataset
from stgcma.errors import StgcmaError
from stgcma.shards.manifest import read_manifest, write_manifest
from stgcma.shards.reader import ClipReader, clip_places
from stgcma.shards.schema import Sample
from stgcma.shards.writer import clip_bytes, end_of_archive, write_shard


def make_sample(key: str, size: int = 700) -> Sample:
    members = {"frame_00.jpg": key.encode() * size, "fbank_128.npy": b"\x93NUMPY" + bytes(size)}
    return Sample(
        key=key,
        members=members,
        fields={"category": "Frying (food)"},
        source=f"AVE/{key}.mp4",
        seconds=10.0,
        fps=29.97,
        has_audio=True,
        decoder="pyav",
        warnings=("one", "two"),
    )


KEYS = ["-begins_with_dash", "b", "A0", "c" * 80]


@pytest.fixture
def written(tmp_path):
    (tmp_path / "shards").mkdir()
    samples = [make_sample(key, 100 + 300 * place) for place, key in enumerate(KEYS)]
    records = write_shard(tmp_path / "shards", "train", 0, samples[:3])
    records += write_shard(tmp_path / "shards", "train", 1, samples[3:])
    return tmp_path, samples, records


def test_reading_by_place_gives_what_was_written(written):
    folder, samples, records = written
    assert [record.key for record in records] == KEYS
    reader = ClipReader(folder)
    for sample, place in zip(samples, clip_places(records), strict=True):
        members = reader.read(place, check=True)
        description = json.loads(members.pop("json"))
        assert members == sample.members
        assert description["source"] == sample.source
        assert description["category"] == "Frying (food)"
        assert description["warnings"] == ["one", "two"]
    reader.close()


def test_a_member_alone_is_that_of_the_whole_clip(written):
    folder, _, records = written
    reader = ClipReader(folder)
    for place in clip_places(records):
        whole = reader.read(place)
        assert {name: reader.read_member(place, name) for name in whole} == whole
    with pytest.raises(StgcmaError, match=rf"{place.shard}: {place.key} has no frame_01.jpg"):
        reader.read_member(place, "frame_01.jpg")
    reader.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves files open
def test_a_part_of_a_member_is_within_it(written):
    folder, _, records = written
    reader, place = ClipReader(folder), clip_places(records)[1]
    name, content = next(iter(reader.read(place).items()))
    size = len(content)
    for begin, end in ((-size, 0), (-3, -1), (-1, 0), (-2, -2)):
        assert reader.read_member(place, name, (begin, end)) == content[size + begin : size + end]
    for span in ((-size - 1, 0), (-1, 1), (-1, -2)):
        with pytest.raises(StgcmaError, match=rf"has {size} bytes, expected"):
            reader.read_member(place, name, span)
    reader.close()


def test_any_webdataset_reader_streams_it(written):
    folder, samples, _ = written
    urls = [str(folder / "shards" / f"train-{index:06d}.tar") for index in (0, 1)]
    streamed = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in streamed] == KEYS
    assert [sample["frame_00.jpg"] for sample in streamed] == [s.members["frame_00.jpg"] for s in samples]


def test_a_clip_is_the_bytes_of_webdatasets_writer():
    sample = make_sample("-a_B0")
    extent = clip_bytes(sample, "train", "train-000000.tar")
    buffer = io.BytesIO(extent + end_of_archive(len(extent)))
    with tarfile.open(fileobj=buffer) as tar:
        members = {name.partition(".")[2]: tar.extractfile(name).read() for name in tar.getnames()}
    theirs = io.BytesIO()
    with webdataset.TarWriter(theirs, encoder=False, mtime=0, user="", group="", mode=0o644) as writer:
        writer.write({"__key__": sample.key, **members})
    assert buffer.getvalue() == theirs.getvalue()


def test_a_shard_is_a_plain_closed_tar(written):
    folder, _, records = written
    path = folder / "shards" / "train-000000.tar"
    content = path.read_bytes()
    assert len(content) % tarfile.RECORDSIZE == 0
    assert content[sum(record.bytes for record in records[:3]) :].strip(b"\0") == b""
    with tarfile.open(path) as archive:
        assert {(member.mtime, member.uid, member.uname) for member in archive} == {(0, 0, "")}


def test_the_same_samples_give_the_same_bytes(written, tmp_path_factory):
    folder, samples, _ = written
    again = tmp_path_factory.mktemp("again")
    write_shard(again, "train", 0, reversed([samples[2], samples[1], samples[0]]))
    name = "train-000000.tar"
    assert (again / name).read_bytes() == (folder / "shards" / name).read_bytes()


def test_no_samples_no_shard(tmp_path):
    assert write_shard(tmp_path, "val", 0, []) == []
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_nothing_behind(tmp_path):
    def samples():
        yield make_sample("first")
        raise RuntimeError("decoder broke")

    with pytest.raises(RuntimeError, match="decoder broke"):
        write_shard(tmp_path, "val", 0, samples())
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_named(written):
    folder, _, records = written
    path = folder / "shards" / "train-000000.tar"
    content = bytearray(path.read_bytes())
    content[records[0].bytes + 600] ^= 4
    path.write_bytes(content)
    places = clip_places(records)
    reader = ClipReader(folder)
    reader.read(places[0], check=True)
    with pytest.raises(StgcmaError, match=r"train-000000\.tar: b is damaged"):
        reader.read(places[1], check=True)
    reader.close()


def test_a_damaged_header_is_not_the_end_of_a_clip(written):
    """Also without comparing hashes: no member goes missing in silence."""
    folder, samples, records = written
    path = folder / "shards" / "train-000000.tar"
    whole = path.read_bytes()
    places = clip_places(records)
    begin, size = places[1].offset_bytes, places[1].size_bytes
    with tarfile.open(fileobj=io.BytesIO(whole[begin : begin + size] + bytes(1024))) as archive:
        headers = [begin + member.offset for member in archive]
    assert len(headers) == len(samples[1].members) + 1
    for header in headers:
        content = bytearray(whole)
        content[header + 3] ^= 4
        path.write_bytes(content)
        reader = ClipReader(folder)
        with pytest.raises(StgcmaError, match=r"train-000000\.tar is not a readable shard"):
            reader.read(places[1])
        reader.close()


def rewritten(folder, place, names):
    """Makes the clip at `place` one whose members have these names, with their hash for the manifest."""
    content = b""
    for name in names:
        header = tarfile.TarInfo(name)
        header.size = 3
        content += header.tobuf(tarfile.USTAR_FORMAT) + b"abc" + bytes(509)
    path = folder / "shards" / place.shard
    whole = path.read_bytes()
    begin, end = place.offset_bytes, place.offset_bytes + place.size_bytes
    path.write_bytes(whole[:begin] + content + whole[end:])
    return place._replace(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["b.json", "b.label.npy", "b.label.npy"], r"train-000000\.tar: b\.label\.npy is in it twice"),
        (["b.json", "A0.label.npy"], r"train-000000\.tar: found A0 at the place of b"),
    ],
)
def test_members_that_are_there_twice_or_another_clips_are_named(written, names, message):
    """Their hash is right: a shard whose maker was wrong, or was somebody else."""
    folder, _, records = written
    place = rewritten(folder, clip_places(records)[1], names)
    reader = ClipReader(folder)
    with pytest.raises(StgcmaError, match=message):
        reader.read(place, check=True)
    place = rewritten(folder, place, ["b.json", "b.label.npy"])
    reader.close()
    assert reader.read(place, check=True) == {"json": b"abc", "label.npy": b"abc"}
    reader.close()


def test_a_cut_and_a_missing_shard_are_named(written):
    folder, _, records = written
    path = folder / "shards" / "train-000000.tar"
    path.write_bytes(path.read_bytes()[: records[0].bytes + 100])
    (folder / "shards" / "train-000001.tar").unlink()
    places = clip_places(records)
    reader = ClipReader(folder)
    with pytest.raises(StgcmaError, match=r"train-000000\.tar is cut: it ends within b"):
        reader.read(places[1])
    with pytest.raises(StgcmaError, match=r"train-000001\.tar is missing"):
        reader.read(places[3])
    reader.close()


def test_the_manifest_keeps_every_column(written):
    folder, _, records = written
    write_manifest(folder, records)
    assert read_manifest(folder) == records
    assert read_manifest(folder, split="val") == []


READ_AND_COUNT_THREADS = """
import os, sys
import pyarrow.parquet
from stgcma.shards.manifest import read_manifest
before = os.listdir("/proc/self/task")
read_manifest(sys.argv[1])
print(len(before), len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in Linux's /proc")
def test_reading_the_manifest_leaves_no_thread_behind(written):
    """A thread of Arrow that is there when the interpreter ends can abort it."""
    folder, _, records = written
    write_manifest(folder, records)
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_COUNT_THREADS, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = done.stdout.split()
    assert after == before


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "ü", "a b", "x" * 81])
def test_keys_that_no_tar_should_hold(key):
    with pytest.raises(ValueError, match="must match"):
        make_sample(key)


def test_writing_a_shard_loads_no_torch(tmp_path):
    program = (
        "import sys\n"
        "from stgcma.shards.schema import Sample\n"
        "from stgcma.shards.writer import write_shard\n"
        "sample = Sample('a', {'frame_00.jpg': b'x'}, {}, 'a.mp4', 1.0, 1.0, True, 'pyav', ())\n"
        "write_shard(sys.argv[1], 'train', 0, [sample])\n"
        "assert 'webdataset' not in sys.modules and 'torch' not in sys.modules, 'torch was loaded'\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    with tarfile.open(tmp_path / "train-000000.tar") as tar:
        assert tar.getnames() == ["a.frame_00.jpg", "a.json"]
