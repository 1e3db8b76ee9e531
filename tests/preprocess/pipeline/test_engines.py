"""The engines make the same bytes, wherever OUT and RAW are."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from types import SimpleNamespace

import pytest
from stgcma.cli import main
from stgcma.errors import InputError, StgcmaError
from stgcma.preprocess import Options, preprocess
from stgcma.preprocess.pipeline import locking, ray_engine
from stgcma.preprocess.pipeline.locking import LOCK_FILE, exclusive
from stgcma.preprocess.pipeline.shard_plan import ShardTask, plan_shards
from stgcma.shards.manifest import read_quarantine
from stgcma.shards.storage import open_store
from stgcma.shards.verification import verify

from . import local_ray
from .real_clips import make_collection
from .stand_in import CLIPS_PER_SHARD, build, contents
from .stand_in import make_collection as made_up_clips

REAL = functools.partial(Options, features=("clip",))


@pytest.fixture(scope="session")
def ave(made_once):
    """A collection of twelve real clips, one of them damaged, and what one worker makes of it."""

    def make(folder):
        make_collection(folder / "raw", clips=12)
        preprocess("ave", folder / "raw", folder / "out", REAL())

    folder = made_once("engines", make)
    return folder / "raw", folder / "out"


@pytest.fixture(scope="module")
def real_cluster(s3_server):  # noqa: ARG001 (its environment)
    """A Ray cluster on this machine; its workers know the S3 stand-in."""
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.slow)])
def cluster(request, monkeypatch):
    """The engine `ray`, on a stand-in in this process or on a cluster."""
    if request.param == "real":
        request.getfixturevalue("real_cluster")
    else:
        monkeypatch.setattr(ray_engine, "_import_ray", lambda: local_ray)


def names_and_contents(location):
    store = open_store(location)
    return {name: store.read(name) for name in store.names()}


@pytest.mark.parametrize(
    ("workers", "locale", "zone"),
    [
        pytest.param(2, "C.utf8", "Asia/Tokyo", marks=pytest.mark.slow),
        (4, "POSIX", "America/St_Johns"),
        pytest.param(1, "C", "UTC", marks=pytest.mark.slow),
    ],
)
def test_workers_locale_and_time_zone_change_nothing(ave, tmp_path, environment, workers, locale, zone):
    raw, out = ave
    command = [
        sys.executable,
        "-m",
        "stgcma",
        "preprocess",
        "ave",
        raw,
        tmp_path / "out",
        "--features",
        "clip",
    ]
    command += ["--workers", str(workers), "--max-failed", "50%"]
    surroundings = environment | {"LC_ALL": locale, "LANG": locale, "TZ": zone}
    done = subprocess.run(
        command, env=surroundings, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == contents(out)


def test_the_collection_has_written_and_quarantined_clips(ave):
    result = verify(ave[1], on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (11, ())


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

    def __init__(self):
        self.waits = []

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
    made = list(ray_engine._dispatch(ray, [PlacedActor()], tasks, lambda *_: None))
    assert made == ["result 0", "result 1"]
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


def test_out_in_memory_has_the_same_bytes(ave):
    raw, out = ave
    url = f"memory://{uuid.uuid4().hex}/out"
    preprocess("ave", raw, url, REAL(workers=2))
    assert names_and_contents(url) == names_and_contents(out)
    assert preprocess("ave", raw, url, REAL()).was_complete


def test_raw_in_memory_is_refused(tmp_path):
    with pytest.raises(InputError, match="RAW memory://x is in this process alone"):
        preprocess("ave", "memory://x", tmp_path / "out", REAL())


def test_file_urls_are_folders(ave, tmp_path):
    raw, out = ave
    preprocess("ave", f"file://{raw}", f"file://{tmp_path}/out", REAL())
    assert contents(tmp_path / "out") == contents(out)


@pytest.fixture(scope="session")
def s3_server():
    """An S3 stand-in on loopback; child processes find it by the environment."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patched.setenv("AWS_ACCESS_KEY_ID", "test")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield
    server.stop()


@pytest.fixture
def s3(s3_server):  # noqa: ARG001 (its environment)
    """A bucket of its own, as a URL."""
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()
    bucket = f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(bucket)
    yield f"s3://{bucket}"
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def upload(folder, url):
    store = open_store(url)
    for path in folder.rglob("*"):
        if path.is_file():
            store.publish(path.relative_to(folder).as_posix(), path.read_bytes())


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_raw_and_out_in_s3_give_the_same_bytes(ave, s3, engine, request):
    if engine == "ray":
        request.getfixturevalue("real_cluster")
    raw, out = ave
    upload(raw, f"{s3}/raw")
    preprocess("ave", f"{s3}/raw", f"{s3}/out", REAL(workers=2, engine=engine))
    assert names_and_contents(f"{s3}/out") == names_and_contents(out)
    result = verify(f"{s3}/out", on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (11, ())


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("avs-s4", {"duplicate-key": 1, "mask-mismatch": 1}),
        pytest.param("music-avqa", {"missing": 1}, marks=pytest.mark.slow),
    ],
)
def test_other_collections_are_whole_wherever_they_are(name, broken, tmp_path, s3, raw_collection):
    """Masks and questions on their whole way: to shards, with other workers, and from behind a URL."""
    raw = tmp_path / "raw"
    shutil.copytree(raw_collection(name), raw)
    if name == "avs-s4":
        next((raw / "gt_masks" / "test").rglob("*_3.png")).unlink()
        table = raw / "s4_meta_data.csv"
        table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    else:
        next(raw.rglob("*.mp4")).unlink()
    outcome = preprocess(name, raw, tmp_path / "out", REAL())
    assert outcome.failures == broken
    assert {record.reason for record in read_quarantine(tmp_path / "out")} == set(broken)
    result = verify(tmp_path / "out", on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (9, ())
    upload(raw, f"{s3}/raw")
    preprocess(name, f"{s3}/raw", tmp_path / "from-url", REAL(workers=2))
    assert contents(tmp_path / "from-url") == contents(tmp_path / "out")


def test_the_commands_take_urls(ave, s3, monkeypatch, capsys):
    upload(ave[1], f"{s3}/out")
    for arguments in (("verify", f"{s3}/out"), ("stats", f"{s3}/out", "--json")):
        monkeypatch.setattr(sys, "argv", ["stgcma", "shards", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    assert '"task": "ave"' in capsys.readouterr().out


def test_a_bucket_that_is_not_there_is_named(s3):
    with pytest.raises(InputError, match=f"^{s3}-missing/out cannot be listed: .*bucket does not exist"):
        build(f"{s3}-missing/out", "raw", clips=3)


def test_s3_is_written_by_one_at_a_time(s3, tmp_path, raw):
    busy = pytest.raises(InputError, match="is being written by another process")
    with exclusive(open_store(f"{s3}/out")), busy:
        build(f"{s3}/out", raw, clips=12)
    build(f"{s3}/out", raw, clips=12)
    build(tmp_path / "whole", raw, clips=12)
    assert names_and_contents(f"{s3}/out") == names_and_contents(tmp_path / "whole")


def test_killed_while_writing_to_s3(s3, start, tmp_path, raw):
    build(tmp_path / "whole", raw)
    for delay in (0.05, 0.4, 0.9):
        process = start("run", f"{s3}/out", raw, "--seconds", 0.03)
        store = open_store(f"{s3}/out")
        deadline = time.monotonic() + 60
        while not store.exists(".progress/plan.json"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    build(f"{s3}/out", raw)
    assert names_and_contents(f"{s3}/out") == names_and_contents(tmp_path / "whole")


def test_an_object_that_locks_is_stale_when_its_owner_is_gone_or_silent(monkeypatch):
    store = open_store(f"memory://{uuid.uuid4().hex}")

    def owner(**changes):
        content = json.loads(locking._owner_bytes("theirs")) | changes
        store.publish(LOCK_FILE, json.dumps(content).encode())

    owner()
    with pytest.raises(InputError, match="another process"), exclusive(store):
        pass
    for gone in ({"pid": 4194305}, {"started": "1"}):
        owner(**gone)
        with exclusive(store):
            assert json.loads(store.read(LOCK_FILE))["pid"] == os.getpid()
        assert not store.exists(LOCK_FILE)
    owner(machine="elsewhere")
    with pytest.raises(InputError, match="another process"), exclusive(store):
        pass
    monkeypatch.setattr(locking, "STALE_SECONDS", -1)
    with exclusive(store):
        pass


def test_a_lock_that_was_taken_over_stops_its_owner(monkeypatch):
    monkeypatch.setattr(locking, "REFRESH_SECONDS", 0.01)
    store = open_store(f"memory://{uuid.uuid4().hex}")
    with exclusive(store) as lock:
        lock.check()
        store.publish(LOCK_FILE, locking._owner_bytes("theirs"))
        lock._refresher.join(timeout=30)
        with pytest.raises(StgcmaError, match="was taken over by another process"):
            lock.check()
    assert store.exists(LOCK_FILE)  # theirs
