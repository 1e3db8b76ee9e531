"""Parts of a directory, made by processes that do not know each other, and the writing of their tables."""

import contextlib
import shutil
import time

import pytest
from stgcma.commands.data import _read_part
from stgcma.errors import InputError, OtherSettingsError, StgcmaError
from stgcma.preprocess import Options, finish_parts
from stgcma.preprocess.pipeline.output import open_output
from stgcma.preprocess.pipeline.parts import Part, part_number
from stgcma.shards.locking import exclusive
from stgcma.shards.manifest import read_manifest, read_quarantine
from stgcma.shards.storage import open_store

from .killing import check_random_kills, random_kills
from .stand_in import build, contents, faults
from .test_output_append import shard_files
from .test_output_repair import files, flip


@pytest.fixture
def whole(tmp_path, raw):
    build(tmp_path / "whole", raw)
    return contents(tmp_path / "whole")


@pytest.mark.parametrize("parts", [1, 3, 20])
def test_parts_in_any_order_give_the_bytes_of_one_run(tmp_path, raw, whole, parts):
    out = tmp_path / "out"
    written = 0
    for number in reversed(range(1, parts + 1)):
        outcome = build(out, raw, part=(number, parts))
        assert not outcome.was_complete
        written += outcome.written
    assert written == 41
    assert not (out / "dataset.json").exists()
    outcome = finish_parts(out)
    assert (outcome.written, outcome.quarantined, outcome.failures) == (41, 2, {"unreadable": 2})
    assert contents(out) == whole
    assert finish_parts(out).was_complete
    assert build(out, raw, part=(1, parts)).was_complete
    assert contents(out) == whole


def test_the_shards_of_all_splits_are_dealt_out_in_turn():
    ends = {"train": 7, "val": 3, "test": 4}
    dealt = [part_number(split, index, ends, 4) for split in ends for index in range(ends[split])]
    assert dealt == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2]


def test_parts_at_the_same_time(start, tmp_path, raw, whole):
    out = tmp_path / "out"
    processes = [start("run", out, raw, "--serial", "--part", f"{number}/3") for number in (1, 2, 3)]
    for process in processes:
        _, stderr = process.communicate(timeout=240)
        assert process.returncode == 0, stderr
    finish_parts(out)
    assert contents(out) == whole


def test_missing_shards_are_named_with_the_parts_that_make_them(tmp_path, raw, whole):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="holds no parts; make them with `stgcma preprocess`"):
        finish_parts(out)
    assert not out.exists()
    build(out, raw, part=(2, 3))
    (out / "shards" / "val-000000.tar").unlink()
    with pytest.raises(StgcmaError) as refused:
        finish_parts(out)
    assert str(refused.value) == (
        f"{out} lacks 8 shards (train-000000.tar, train-000002.tar, train-000003.tar, train-000005.tar, "
        "train-000006.tar, …); make the parts 1/3, 2/3, 3/3"
    )
    for number in (1, 2, 3):
        build(out, raw, part=(number, 3))
    finish_parts(out)
    assert contents(out) == whole


def test_a_whole_run_continues_parts_and_parts_a_whole_run(tmp_path, raw, whole):
    out = tmp_path / "out"
    build(out, raw, part=(2, 3))
    made = shard_files(out)
    build(out, raw)
    assert contents(out) == whole
    assert {name: file for name, file in shard_files(out).items() if name in made} == made


def test_parts_of_another_list_or_other_settings_are_refused(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, part=(1, 2))
    before = files(out)
    with pytest.raises(OtherSettingsError, match="the list of clips or their labels changed"):
        build(out, raw, clips=12, part=(2, 2))
    assert files(out) == before


@contextlib.contextmanager
def held(out, part):
    with open_output(out, part):
        yield


def test_parts_and_whole_runs_exclude_each_other(tmp_path, raw):
    out = tmp_path / "out"
    with held(out, Part(1, 2)):
        for refused in (lambda: build(out, raw), lambda: finish_parts(out)):
            with pytest.raises(
                InputError, match=r"part 1/2 of .* is being made by another process; wait for it"
            ):
                refused()
        with pytest.raises(InputError, match=r"part 1/2 of .* is being made by another process"):
            build(out, raw, part=(1, 2))
        with pytest.raises(InputError, match=r"part 1/2 of .* is being made, and this is part 2/3"):
            build(out, raw, part=(2, 3))
        build(out, raw, part=(2, 2))
    with exclusive(open_store(out)), pytest.raises(InputError, match="is being written by another process"):
        build(out, raw, part=(1, 2))
    build(out, raw, part=(1, 2))
    finish_parts(out)
    assert faults(out) == ()


def test_parts_and_whole_runs_exclude_each_other_in_an_object_store(raw):
    pytest.importorskip("fsspec")
    out = f"memory://parts-{time.time_ns()}"
    with held(out, Part(1, 2)):
        with pytest.raises(InputError, match=r"part 1/2 of .* is being made by another process"):
            build(out, raw)
        build(out, raw, part=(2, 2))
    build(out, raw, part=(1, 2))
    finish_parts(out)
    assert [record.key for record in read_quarantine(out)] == ["clip-5", "clip-42"]
    assert len(read_manifest(out)) == 41
    assert faults(out) == ()
    assert not [name for name in open_store(out).names() if name.startswith(".")]


def test_clips_are_added_in_parts(tmp_path, raw):
    for name in ("out", "whole"):
        build(tmp_path / name, raw, clips=12)
    build(tmp_path / "whole", raw, append=True)
    out = tmp_path / "out"
    before = shard_files(out)
    for number in (2, 1, 3):
        build(out, raw, append=True, part=(number, 3))
    finish_parts(out)
    assert contents(out) == contents(tmp_path / "whole")
    assert {name: file for name, file in shard_files(out).items() if name in before} == before


@pytest.mark.parametrize("times", [1, 2])
def test_failed_clips_are_tried_again_in_parts(tmp_path, raw, times):
    """In a directory that was made at once, and in one of two additions."""
    lists = (12, 43) if times == 2 else (43,)
    for clips in lists:
        build(tmp_path / "out", raw, clips=clips, append=True)
    (raw / "clip-42.bad").unlink()
    shutil.copytree(tmp_path / "out", tmp_path / "whole")
    build(tmp_path / "whole", raw, retry_quarantined=True)
    flip(tmp_path / "out" / "shards" / "val-000000.tar")
    for number in (1, 2):
        build(tmp_path / "out", raw, retry_quarantined=True, repair=True, part=(number, 2))
    finish_parts(tmp_path / "out")
    assert [record.key for record in read_quarantine(tmp_path / "out")] == ["clip-5"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@random_kills
def test_killed_at_random_while_making_parts_and_finishing(finish, tmp_path, raw, kills):
    check_random_kills(finish, tmp_path, raw, kills, "--parts", 3)


@random_kills
def test_killed_at_random_while_appending(finish, tmp_path, raw, kills):
    build(tmp_path / "before", raw, clips=7)
    check_random_kills(finish, tmp_path, raw, kills, "--append")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_while_appending_in_parts(finish, tmp_path, raw):
    build(tmp_path / "before", raw, clips=7)
    check_random_kills(finish, tmp_path, raw, 100, "--append", "--parts", 3)


def test_numbers_that_are_no_part_are_refused():
    assert _read_part("3/8") == (3, 8)
    assert _read_part(None) is None
    for text in ("3", "a/8", "3/", "-1/8", "1/2/3"):
        with pytest.raises(InputError, match=r"^--part is '.*', must be I/N with 1 ≤ I ≤ N, such as 3/8"):
            _read_part(text)
    for part in ((0, 2), (3, 2)):
        with pytest.raises(InputError, match=r"part is \d/2, must be I/N with 1 ≤ I ≤ N"):
            Options(part=part)
    with pytest.raises(InputError, match="leave out part or overwrite"):
        Options(part=(1, 2), overwrite=True)
