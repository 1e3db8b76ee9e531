"""A stored collection is used while nothing differs that reading it depends on, and never otherwise."""

import dataclasses
import hashlib
import os
import pickle
import zlib

import pytest
from stgcma.preprocess import Options, preprocess
from stgcma.preprocess.collections import COLLECTIONS, labels
from stgcma.preprocess.pipeline import build as building
from stgcma.preprocess.pipeline import raw_state, run, stored_plan
from stgcma.preprocess.pipeline.stored_plan import STORED_PLAN_FILE, StoredPlan

LINES = ("labels: before decoding", "  a finding")


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Twelve clips in a folder behind a link, and a table behind another."""
    monkeypatch.setattr(raw_state, "SETTLED_SECONDS", -3600.0)  # as if all was written long ago
    for name in ("clips", "others"):
        (tmp_path / "disk" / name).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "disk" / name / f"{number}.mp4").touch()
    rows = "".join(f"clips/{n}.mp4,class {n % 3},{('train', 'val', 'test')[n % 3]}\n" for n in range(12))
    (tmp_path / "disk" / "table.csv").write_text(f"file,label,split\n{rows}")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "clips").symlink_to(tmp_path / "disk" / "clips")
    (raw / "labels.csv").symlink_to(tmp_path / "disk" / "table.csv")
    return raw


def stored(raw, **request):
    return StoredPlan(
        raw.parent / "out", raw, {"collection": "labels", "raw": str(raw)} | request, every_file=False
    )


@pytest.fixture
def kept(raw):
    """The collection, after it was stored."""
    plan = stored(raw)
    plan.begin()
    collection = COLLECTIONS["labels"].read(raw, allow_links=True)
    plan.keep(collection, LINES)
    return collection


def test_a_stored_collection_is_the_one_that_was_read(raw, kept):
    found = stored(raw).load()
    assert found.preflight == LINES
    assert found.collection == kept
    assert list(found.collection.clips) == list(kept.clips)
    assert found.collection.plan_sha256 == kept.plan_sha256
    clips = found.collection.clips
    assert (clips.counts(), clips.ranges()) == (kept.clips.counts(), kept.clips.ranges())
    assert clips.keys_differ
    assert [clip.key for clip in clips[3:9]] == [clip.key for clip in kept.clips[3:9]]


def edit_table(raw):
    """Change a label to another of the same length, and set the time of the change back."""
    path = raw.parent / "disk" / "table.csv"
    before = path.stat()
    path.write_text(path.read_text().replace("class 1", "class 0", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def retarget(raw, name, target):
    (raw / name).unlink()
    (raw / name).symlink_to(raw.parent / "disk" / target)


def copy_raw(raw):
    """Move RAW away, and put a copy in its place."""
    raw.rename(raw.with_name("moved"))
    raw.mkdir()
    retarget_names = {"clips": "clips", "labels.csv": "table.csv"}
    for name, target in retarget_names.items():
        (raw / name).symlink_to(raw.parent / "disk" / target)


CHANGES = {
    "table": edit_table,
    "file added": lambda raw: (raw / "clips" / "12.mp4").touch(),
    "file removed": lambda raw: (raw / "clips" / "3.mp4").unlink(),
    "file renamed": lambda raw: (raw / "clips" / "3.mp4").rename(raw / "clips" / "3.mkv"),
    "folder added": lambda raw: (raw / "more").mkdir(),
    "table added": lambda raw: (raw / "labels.tsv").write_text("file\tlabel\n"),
    "link to another folder": lambda raw: retarget(raw, "clips", "others"),
    "copy of the table": lambda raw: (
        (raw / "labels.csv").unlink(),
        (raw / "labels.csv").write_bytes((raw.parent / "disk" / "table.csv").read_bytes()),
    ),
    "target gone": lambda raw: (raw.parent / "disk" / "clips").rename(raw.parent / "disk" / "away"),
    "another RAW": copy_raw,
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_raw_is_seen(raw, kept, change):
    assert stored(raw).load().collection == kept
    CHANGES[change](raw)
    assert stored(raw).load() is None


def test_files_that_are_opened_count_where_reading_opens_them(raw):
    (raw / "clips" / "0.mp4").write_bytes(b"1")
    state, every = raw_state.raw_state(raw, every_file=False), raw_state.raw_state(raw, every_file=True)
    (raw / "clips" / "0.mp4").write_bytes(b"2")
    assert state.holds(raw)
    assert not every.holds(raw)


def test_folders_that_link_to_each_other_end(raw):
    (raw / "clips" / "up").symlink_to(raw)
    state = raw_state.raw_state(raw, every_file=True)
    assert len(zlib.decompress(state.paths).split(b"\0")) < 40
    assert state.holds(raw)


def test_a_link_to_itself_hides_nothing_beside_it(raw):
    for name in ("a", "m", "z"):
        (raw / name).symlink_to(name)
    for name in ("b.csv", "n.csv", "y.csv"):
        (raw / name).write_text("1")
    paths = zlib.decompress(raw_state.raw_state(raw, every_file=False).paths).decode().split("\0")
    assert {"a", "m", "z", "b.csv", "n.csv", "y.csv", "clips", "labels.csv"} <= set(paths)


def test_folders_whose_times_tell_nothing_are_read_again(raw, monkeypatch):
    device = (raw.parent / "disk").stat().st_dev
    line = f"27 1 {os.major(device)}:{os.minor(device)} / /mnt\\040x rw,nosuid shared:7 - {{}} bucket rw\n"
    read = raw_state.Path.read_text
    for system, is_told in (("ext4", True), ("fuseblk", True), ("fuse", False), ("fuse.gcsfuse", False)):
        text = line.format(system)
        monkeypatch.setattr(
            raw_state.Path,
            "read_text",
            lambda path, text=text, **more: text if str(path).startswith("/proc/") else read(path, **more),
        )
        assert (raw_state.raw_state(raw, every_file=False) is not None) == is_told, system


def test_a_folder_that_fails_to_be_listed_is_not_passed_over(raw, monkeypatch):
    scan = os.scandir

    def fail(folder):
        if str(folder).endswith("clips"):
            raise OSError(5, "Input/output error")
        return scan(folder)

    monkeypatch.setattr(raw_state.os, "scandir", fail)
    assert raw_state.raw_state(raw, every_file=False) is None


def test_other_options_and_other_code_are_seen(raw, kept, monkeypatch):
    assert stored(raw, allow_links=True).load() is None
    assert stored(raw).load().collection == kept
    versions = stored_plan._versions()
    for other in (
        {"packages": versions["packages"] | {"stgcma": "99.0"}},
        {"code": "0" * 64},
        {"python": "3.99"},
    ):
        monkeypatch.setattr(stored_plan, "_versions", lambda other=other: versions | other)
        assert stored(raw).load() is None


def test_a_raw_of_very_many_folders_is_read_again(raw, monkeypatch):
    monkeypatch.setattr(raw_state, "_MOST_PATHS", 5)  # RAW, two links, and what is behind each
    assert raw_state.raw_state(raw, every_file=False) is not None
    (raw / "more").mkdir()
    assert raw_state.raw_state(raw, every_file=False) is None


def test_a_change_just_now_is_not_trusted(raw, monkeypatch):
    monkeypatch.setattr(raw_state, "SETTLED_SECONDS", 60.0)
    plan = stored(raw)
    plan.begin()
    plan.keep(COLLECTIONS["labels"].read(raw, allow_links=True), LINES)
    assert not (raw.parent / "out" / STORED_PLAN_FILE).exists()


def test_a_damaged_file_is_not_used(raw, kept):
    path = raw.parent / "out" / STORED_PLAN_FILE
    content = path.read_bytes()
    for at in range(0, len(content), 97):
        path.write_bytes(content[:at])
        assert stored(raw).load() is None
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert stored(raw).load() is None
    path.write_bytes(content)
    assert stored(raw).load().collection == kept


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.usefixtures("kept")
def test_stored_rows_run_no_code(raw, monkeypatch, tmp_path):
    """Whoever can write to OUT can store rows with a hash that fits."""
    monkeypatch.chdir(tmp_path)
    path = raw.parent / "out" / STORED_PLAN_FILE
    head, line, _ = path.read_bytes().split(b"\n", 2)
    described = stored_plan.json.loads(line)
    state = raw_state.raw_state(raw, every_file=False)
    block = zlib.compress(pickle.dumps([(Harmful(),)]))
    described["sizes"] = [len(state.paths), len(block)]
    body = stored_plan.json.dumps(described).encode() + b"\n" + state.paths + block
    request = stored_plan.json.loads(head)["request"]
    new = {"request": request, "sha256": hashlib.sha256(body).hexdigest()}
    path.write_bytes(stored_plan.canonical_json(new) + b"\n" + body)
    clips = stored(raw).load().collection.clips
    with pytest.raises(ValueError, match="no plain value"):
        list(clips)
    assert not (tmp_path / "harm").exists()


def test_what_cannot_be_stored_as_it_is_is_not_stored(raw):
    plan = stored(raw)
    plan.begin()
    collection = COLLECTIONS["labels"].read(raw, allow_links=True)
    plan.keep(dataclasses.replace(collection, features={"labels_per_clip": ("one",)}), LINES)
    assert not (raw.parent / "out" / STORED_PLAN_FILE).exists()


def test_a_repeated_command_reads_no_annotations(raw, tmp_path, monkeypatch, capsys):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(building, "run_local", interrupted)
    options = Options(allow_links=True)
    with pytest.raises(KeyboardInterrupt):
        preprocess("labels", raw, tmp_path / "out", options)
    said = capsys.readouterr().err

    def read_again(*_args, **_options):
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(labels, "read_table", read_again)
        patched.setattr(run, "inspect", read_again)
        with pytest.raises(KeyboardInterrupt):
            preprocess("labels", raw, tmp_path / "out", options)
        assert capsys.readouterr().err == said
        with pytest.raises(AssertionError):
            preprocess("labels", raw, tmp_path / "out", Options(allow_links=True, overwrite=True))
    (raw / "clips" / "3.mp4").rename(raw / "clips" / "3.mkv")
    with pytest.raises(Exception, match=r"clips/3.mp4' is not a file"):
        preprocess("labels", raw, tmp_path / "out", options)
