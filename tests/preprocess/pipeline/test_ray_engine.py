"""The Ray engine: the same bytes, its waiting, its losses, and the tools of its nodes."""

import sys
import time
import uuid
from types import SimpleNamespace

import pytest
from stgcma.errors import InputError, StgcmaError
from stgcma.preprocess import preprocess
from stgcma.preprocess.pipeline import ray_engine
from stgcma.preprocess.pipeline.shard_plan import ShardTask, plan_shards

from . import local_ray
from .stand_in import CLIPS_PER_SHARD, build, contents
from .stand_in import make_collection as made_up_clips
from .whole_runs import REAL


@pytest.mark.slow
def test_ray_counts_lost_workers_by_shard(tmp_path, raw):
    """The one worker is lost once at each of four shards, more often than a shard may be tried again."""
    pytest.importorskip("ray")
    build(tmp_path / "whole", raw, clips=12)
    shards = plan_shards(made_up_clips(12).clips, CLIPS_PER_SHARD)
    assert len(shards) == 4
    for shard in shards:
        key = next(clip.key for clip in shard.clips if not (raw / f"{clip.key}.bad").exists())
        (raw / f"{key}.kill-once").touch()
    build(tmp_path / "out", raw, clips=12, engine="ray", serial=False)
    assert len(list(raw.glob("*.killed"))) == 4
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_busy_cluster_is_waited_for_with_a_message(tmp_path, raw, capsys, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray_engine, "_PATIENCE_SECONDS", 2.0)
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:

        @ray.remote(num_cpus=1)
        def work():
            time.sleep(15)

        busy = work.remote()
        build(tmp_path / "out", raw, clips=3, engine="ray", serial=False)
        ray.get(busy)
    finally:
        ray.shutdown()
    said = "waiting for the Ray cluster: a worker needs a CPU, 0 of its 1 are free; end other work there"
    assert capsys.readouterr().err.count(said) == 1
    build(tmp_path / "whole", raw, clips=3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


class WaitingRay:
    """A cluster in which an actor finds a place at the third look."""

    exceptions = local_ray.exceptions

    def __init__(self):
        self.waits = []
        self.killed = []

    def wait(self, references, *, num_returns, timeout):
        assert num_returns == 1
        self.waits.append(timeout)
        return ([], references) if len(self.waits) < 3 else (references[:1], references[1:])

    versions = None

    def get(self, reference):
        return (
            (self.versions or ray_engine.tool_versions())
            if reference == "ready"
            else (f"result {reference}", [])
        )

    def kill(self, actor):
        self.killed.append(actor)

    def available_resources(self):
        return {"memory": 1.0}

    def cluster_resources(self):
        return {"CPU": 8.0}


class PlacedActor:
    ready = SimpleNamespace(remote=lambda: "ready")
    make_shard = SimpleNamespace(remote=lambda task: task.index)


def test_who_waits_for_a_cpu_is_told_and_reminded(capsys):
    ray = WaitingRay()
    tasks = [ShardTask("train", index, ()) for index in range(2)]
    actor = PlacedActor()
    made = list(ray_engine._dispatch(ray, [actor], tasks, lambda *_: None))
    assert made == ["result 0", "result 1"]
    assert ray.killed == [actor]  # so that another one, whose node was lost, finds a CPU
    assert ray.waits == [10.0, 60.0, 60.0, None, None]
    line = (
        "waiting for the Ray cluster: a worker needs a CPU, 0 of its 8 are free; end other work there or add "
        "a node, or use the local engine\n"
    )
    assert capsys.readouterr().err == line * 2


def test_every_node_is_asked_for_its_tools():
    ray = WaitingRay()
    ray.versions = {"pyav": "0"}
    with pytest.raises(StgcmaError, match="the shards would depend on where they are made"):
        list(ray_engine._dispatch(ray, [PlacedActor()], [ShardTask("train", 0, ())], lambda *_: None))


def test_an_actor_may_be_lost_any_number_of_times_and_a_shard_three(monkeypatch):
    asked = {}

    def remote(**options):
        asked.update(options)
        raise StgcmaError("seen")

    fake = SimpleNamespace(remote=remote, is_initialized=lambda: True)
    monkeypatch.setattr(ray_engine, "_import_ray", lambda: fake)
    made = ray_engine.RayEngine()([], None, "out", workers=1, limits=None, on_clip=None)
    with pytest.raises(StgcmaError, match="seen"):
        next(made)
    assert asked == {"num_cpus": 1, "max_restarts": -1, "max_task_retries": 3}


@pytest.mark.parametrize("running", [False, True])
def test_a_cluster_is_started_and_ended_unless_one_is_running(monkeypatch, running):
    calls = []
    fake = SimpleNamespace(
        is_initialized=lambda: running,
        init=lambda *arguments, **options: calls.append((*arguments, options)),
        shutdown=lambda: calls.append("shutdown"),
        remote=lambda **_: lambda kind: kind,
    )
    monkeypatch.setattr(ray_engine, "_import_ray", lambda: fake)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    made = ray_engine.RayEngine()([], None, "out", workers=3, limits=None, on_clip=None)
    assert list(made) == []
    chosen = {"num_cpus": 3, "include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    assert calls == ([] if running else [("local", chosen), "shutdown"])


@pytest.mark.slow
@pytest.mark.usefixtures("real_cluster")
def test_ray_asks_its_nodes_for_their_tools(ave, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "tool_versions", lambda: {"pyav": "0"})
    with pytest.raises(StgcmaError, match="the shards would depend on where they are made"):
        preprocess("ave", ave[0], tmp_path / "out", REAL(workers=1, engine="ray"))


@pytest.mark.usefixtures("cluster")
def test_ray_makes_the_same_bytes(ave, tmp_path):
    raw, out = ave
    outcome = preprocess("ave", raw, tmp_path / "out", REAL(workers=2, engine="ray"))
    assert (outcome.written, outcome.quarantined) == (11, 1)
    assert contents(tmp_path / "out") == contents(out)


@pytest.mark.usefixtures("cluster")
def test_an_error_in_rays_cluster_is_raised_as_it_was(tmp_path, raw):
    """A sample that no shard can hold is refused where the shard is written: in the cluster."""
    (raw / "clip-0.odd").touch()
    with pytest.raises(ValueError, match=r"label\.npy of clip-0 is .*int.*, must be bytes") as raised:
        build(tmp_path / "out", raw, clips=3, engine="ray", serial=False)
    assert raised.value.__notes__ == ["This happened at clip clip-0 of train-000000.tar."]
    assert not list((tmp_path / "out" / "shards").glob("*"))


class FakeRay:
    """The part of Ray that `ray_engine` uses, with a cluster that is lost or answers with an error."""

    exceptions = SimpleNamespace(RayTaskError=type("RayTaskError", (Exception,), {"cause": None}))
    exceptions.RayError = type("RayError", (Exception,), {})
    exceptions.RayActorError = type("RayActorError", (exceptions.RayError,), {})

    def __init__(self, answer):
        self.answer = answer

    def get(self, _reference):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_what_a_lost_cluster_and_a_failed_task_come_to():
    lost = FakeRay.exceptions.RayError("the node\ndied")
    with pytest.raises(StgcmaError, match=r"^Ray lost shard 3 of val: the node died$"):
        ray_engine._answer(FakeRay(lost), None, ShardTask("val", 3, ()))
    with pytest.raises(StgcmaError, match=r"^Ray lost a worker: the node died$"):
        ray_engine._answer(FakeRay(lost), None, None)
    failed = FakeRay.exceptions.RayTaskError("far away")
    failed.cause = StgcmaError("the disk is full")
    with pytest.raises(StgcmaError, match=r"^the disk is full$"):
        ray_engine._answer(FakeRay(failed), None, None)


class LosingRay(WaitingRay):
    """A cluster that loses the actor at its first shard, as often as `times`."""

    exceptions = FakeRay.exceptions

    def __init__(self, times):
        super().__init__()
        self.times = times

    def wait(self, references, *, num_returns, timeout):
        assert (num_returns, timeout is None or timeout > 0) == (1, True)
        return references[:1], references[1:]

    def get(self, reference):
        if reference == 0 and self.times:
            self.times -= 1
            raise self.exceptions.RayActorError("its node died")
        return super().get(reference)


@pytest.mark.parametrize("times", [1, 3, 4])
def test_a_shard_of_a_lost_node_is_given_again(monkeypatch, times):
    monkeypatch.setattr(ray_engine, "_PAUSE_SECONDS", 0.0)
    tasks = [ShardTask("train", index, ()) for index in range(3)]
    made = ray_engine._dispatch(LosingRay(times), [PlacedActor()], tasks, lambda *_: None)
    if times > 3:
        with pytest.raises(StgcmaError, match="Ray lost shard 0 of train: its node died"):
            list(made)
    else:
        assert sorted(made) == ["result 0", "result 1", "result 2"]


def test_a_node_with_other_tools_is_refused(monkeypatch):
    monkeypatch.setattr(ray_engine, "tool_versions", lambda: {"numpy": "2.0", "pyav": "18.1.0"})
    ray_engine._check_versions({"numpy": "2.0", "pyav": "18.1.0"})
    with pytest.raises(StgcmaError, match=r"node of the Ray cluster has pyav 17, this machine has 18\.1\.0"):
        ray_engine._check_versions({"numpy": "2.0", "pyav": "17"})


def test_ray_that_is_not_installed_is_a_wrong_request(ave, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"engine ray needs Ray; pip install 'stgcma\[ray\]'"):
        preprocess("ave", ave[0], tmp_path / "out", REAL(engine="ray"))


def test_ray_cannot_write_into_this_processs_memory(ave):
    with pytest.raises(InputError, match=r"OUT memory://.* is in this process alone"):
        preprocess("ave", ave[0], f"memory://{uuid.uuid4().hex}", REAL(engine="ray"))
