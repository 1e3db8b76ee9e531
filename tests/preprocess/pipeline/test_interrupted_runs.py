"""Whenever a run is killed, the same command brings it to the same bytes."""

import shutil
import time

import pytest
from stgcma.preprocess.pipeline import finishing as pipeline
from stgcma.preprocess.pipeline.output import open_output
from stgcma.preprocess.pipeline.shard_result import ShardResult
from stgcma.shards.manifest import read_quarantine
from stgcma.shards.schema import QuarantineRecord
from stgcma.shards.storage import LocalStore
from stgcma.shards.verification import verify

from .killing import before_operations, check_kills, kill_at_random
from .stand_in import build, contents

SEED = 20260918
KILLS = 8


@before_operations
def test_killed_before_any_operation_on_files(finish, tmp_path, raw, every):
    check_kills(finish, tmp_path, raw, every, operations=50)


@pytest.mark.slow
@before_operations
def test_killed_anywhere_while_overwriting(finish, tmp_path, raw, every):
    build(tmp_path / "before", raw, clips=14, features={"another": "kind"})
    check_kills(finish, tmp_path, raw, every, "--overwrite", operations=50)


@pytest.mark.slow
@before_operations
def test_killed_anywhere_while_retrying(finish, tmp_path, raw, every):
    build(tmp_path / "before", raw, clips=12)
    (raw / "clip-5.bad").unlink()
    check_kills(finish, tmp_path, raw, every, "--retry-quarantined", operations=30)


def test_an_overwrite_cut_short_goes_on_without_the_flag(tmp_path, raw, monkeypatch):
    """Wherever it is cut: before the plan is replaced OUT is as it was, afterwards it is of the new plan."""
    build(tmp_path / "before", raw, clips=43, features={"another": "kind"})
    build(tmp_path / "whole", raw, clips=12)
    remove = LocalStore.remove
    for number in (1, 2, 4, 12):
        out = tmp_path / f"cut-{number}"
        shutil.copytree(tmp_path / "before", out)
        removed = []

        def cut(store, name, removed=removed, number=number):
            removed.append(name)
            if len(removed) > number:
                raise KeyboardInterrupt
            remove(store, name)

        with monkeypatch.context() as patched:
            patched.setattr(LocalStore, "remove", cut)
            with pytest.raises(KeyboardInterrupt):
                build(out, raw, clips=12, overwrite=True)
        assert not (out / "dataset.json").exists()
        build(out, raw, clips=12)
        assert contents(out) == contents(tmp_path / "whole")


def test_progress_of_a_plan_that_is_gone_is_not_believed(tmp_path, raw):
    """A shard without clips has no file that could be missing: only its record says what became of it."""
    out = tmp_path / "out"
    for number in range(3):
        (raw / f"clip-{number}.bad").touch()
    with open_output(out) as output:
        output.begin({"another": "plan"}, overwrite=False)
        gone = QuarantineRecord("gone", "gone.mp4", "missing", "of another plan")
        output.record(ShardResult("train", 0, (), (gone,), {}))
    (out / ".progress" / "plan.json").unlink()
    build(out, raw, clips=3)
    assert [record.key for record in read_quarantine(out)] == ["clip-0", "clip-1", "clip-2"]


@pytest.mark.parametrize(
    ("kills", "seconds"),
    [(KILLS, 0.02), pytest.param(60, 0.05, marks=(pytest.mark.slow, pytest.mark.timeout(900)))],
    ids=["few", "many"],
)
def test_killed_at_random_with_real_processes(start, tmp_path, raw, kills, seconds):
    build(tmp_path / "whole", raw)
    wanted = contents(tmp_path / "whole")

    def start_run(out, workers):
        return start("run", out, raw, "--workers", workers, "--seconds", seconds)

    kill_at_random(start_run, wanted, tmp_path / "out", kills=kills, longest_seconds=50 * seconds, seed=SEED)
    result = verify(tmp_path / "out", on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (41, ())


def test_finished_shards_are_not_made_again(start, tmp_path, raw):
    """At most one shard a worker is: those that were being made."""
    out = tmp_path / "out"
    waits = [raw / f"clip-{number}.wait" for number in (32, 40)]  # of the sixth and the seventh shard
    for path in waits:
        path.touch()
    process = start("run", out, raw, "--workers", 2)
    progress = out / ".progress"
    deadline = time.monotonic() + 120
    while len(list(progress.glob("*.tar.json"))) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    for path in waits:
        path.unlink()
    done = {path.name.removesuffix(".json") for path in progress.glob("*.tar.json")}
    begun = {path.name for path in (out / "shards").glob("*.tar")}
    assert len(begun - done) <= 2
    before = {name: (out / "shards" / name).stat().st_ino for name in done & begun}
    build(out, raw)
    assert {name: (out / "shards" / name).stat().st_ino for name in before} == before


@pytest.mark.parametrize("workers", [*(pytest.param(few, marks=pytest.mark.slow) for few in (1, 2)), 4])
def test_the_number_of_workers_changes_nothing(finish, tmp_path, raw, workers):
    build(tmp_path / "whole", raw)
    status, _, stderr = finish("run", tmp_path / "out", raw, "--workers", workers)
    assert status == 0, stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_shard_that_went_missing_is_made_again(tmp_path, raw, monkeypatch):
    build(tmp_path / "whole", raw)
    out = tmp_path / "out"

    def stop(*_):
        raise RuntimeError("just before the end")

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "write_dataset", stop)
        with pytest.raises(RuntimeError, match="just before the end"):
            build(out, raw)
    (out / "shards" / "train-000001.tar").unlink()
    (out / "shards" / "train-000002.tar").write_bytes(b"cut")
    build(out, raw)
    assert contents(out) == contents(tmp_path / "whole")
