"""RAW and OUT in memory and in an object store: the same bytes, and one writer at a time."""

import http.server
import json
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
import uuid
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import s3fs
from stgcma.cli import main
from stgcma.errors import InputError, StgcmaError
from stgcma.preprocess import preprocess
from stgcma.preprocess.pipeline.parts import check_no_parts
from stgcma.shards import object_lock, retries
from stgcma.shards.locking import LOCK_FILE, exclusive
from stgcma.shards.manifest import read_quarantine
from stgcma.shards.reader import iterate_clips
from stgcma.shards.storage import ObjectStore, open_store
from stgcma.shards.verification import verify

from .stand_in import build, contents
from .whole_runs import REAL, names_and_contents, upload


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


@pytest.mark.slow
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


def put_lock(store, name=LOCK_FILE, **changes):
    """Write the lock of another owner."""
    content = json.loads(object_lock._owner_bytes("theirs")) | changes
    store.publish(name, json.dumps(content).encode())


@pytest.fixture
def quick_locks(monkeypatch):
    """Locks are stale soon."""
    for name, seconds in (("REFRESH", 0.01), ("STALE", 0.3), ("POLL", 0.02)):
        monkeypatch.setattr(object_lock, f"{name}_SECONDS", seconds)


def test_locks_of_dead_parts_are_watched_together(monkeypatch, capsys):
    """On a clock that only sleeping moves, five dead parts cost one watch; one at work ends it at once."""
    now, beats = [0.0], []
    store = open_store(f"memory://{uuid.uuid4().hex}")

    def sleep(seconds):
        now[0] += seconds
        if beats:
            put_lock(store, f".parts/00003-of-00005/{LOCK_FILE}", machine="elsewhere", beats=beats.pop())

    clock = mock.Mock(sleep=sleep, monotonic=lambda: now[0])
    monkeypatch.setattr(object_lock, "time", clock)
    names = [f".parts/{number:05d}-of-00005/{LOCK_FILE}" for number in range(1, 6)]
    for name in names:
        put_lock(store, name, machine="elsewhere")
    beats.append(1)
    with pytest.raises(InputError, match=r"part 3/5 of .* is being made by another process"):
        check_no_parts(store)
    assert now == [object_lock.POLL_SECONDS]
    assert store.names() == names
    check_no_parts(store)
    assert now[0] <= object_lock.STALE_SECONDS + 2 * object_lock.POLL_SECONDS
    assert store.names() == []
    assert ".lock and 4 others are of another machine" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_locks")
def test_an_object_that_locks_is_stale_when_its_owner_is_gone_or_silent():
    store = open_store(f"memory://{uuid.uuid4().hex}")
    put_lock(store)
    with pytest.raises(InputError, match="another process"), exclusive(store):
        pass
    for gone in ({"pid": 4194305}, {"started": "1"}, {"machine": "elsewhere"}):
        put_lock(store, **gone)
        with exclusive(store):
            assert store.names() == [".lock-000001"]
            assert json.loads(store.read(".lock-000001"))["pid"] == os.getpid()
        assert store.names() == []


@pytest.mark.usefixtures("quick_locks")
def test_a_lock_of_another_machine_is_watched(capsys):
    """Clocks are not compared: an owner is at work when its object changes."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    put_lock(store, machine="elsewhere")
    over = threading.Event()

    def rewrite():
        beats = 0
        while not over.wait(0.05):
            beats += 1
            put_lock(store, machine="elsewhere", beats=beats)

    owner = threading.Thread(target=rewrite)
    owner.start()
    try:
        with pytest.raises(InputError, match="another process"), exclusive(store):
            pass
    finally:
        over.set()
        owner.join()
    assert ".lock is of another machine; waiting for at most 0.3 s" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_locks")
def test_one_of_many_successors_takes_a_lock_over(monkeypatch):
    """All find the lock stale before any creates its own."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    put_lock(store, machine="elsewhere")
    together = threading.Barrier(6)
    create = ObjectStore.create
    guard = threading.Lock()

    def late(self, name, content):
        together.wait()
        with guard:  # the memory's own check and write are two steps
            return create(self, name, content)

    monkeypatch.setattr(ObjectStore, "create", late)
    over = threading.Event()
    outcomes = []

    def take():
        try:
            with exclusive(store):
                outcomes.append("held")
                over.wait(30)
        except InputError:
            outcomes.append("busy")

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while len(outcomes) < 6:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    over.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["busy"] * 5 + ["held"]
    assert store.names() == []


@pytest.mark.usefixtures("quick_locks")
def test_a_lock_that_began_anew_meanwhile_is_not_taken_over(monkeypatch):
    """Between the watch and the creation, the stale owner ends and another process begins."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    put_lock(store, machine="elsewhere")
    create = ObjectStore.create

    def late(self, name, content):
        put_lock(store, machine="a third", token="another's")
        return create(self, name, content)

    monkeypatch.setattr(ObjectStore, "create", late)
    with pytest.raises(InputError, match="another process"), exclusive(store):
        pass
    assert store.names() == [LOCK_FILE]


@pytest.mark.usefixtures("quick_locks")
@pytest.mark.parametrize("change", ["another token", "a later lock", "removed"])
def test_a_lock_that_was_taken_over_stops_its_owner(change):
    store = open_store(f"memory://{uuid.uuid4().hex}")
    with exclusive(store) as lock:
        lock.check()
        if change == "another token":
            put_lock(store)
        elif change == "a later lock":
            put_lock(store, ".lock-000001")
        else:
            store.remove(LOCK_FILE)
        lock._refresher.join(timeout=30)
        with pytest.raises(StgcmaError, match="was taken over by another process"):
            lock.check()
    theirs = {"another token": [LOCK_FILE], "a later lock": [".lock-000001"], "removed": []}
    assert store.names() == theirs[change]


@pytest.mark.usefixtures("quick_locks")
@pytest.mark.parametrize("error", [StgcmaError("it cannot be reached"), OSError("connection reset")])
def test_a_lock_that_cannot_be_renewed_stops_its_owner_in_time(monkeypatch, error):
    """Long before another process may take it over; after that it is renewed again."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    with exclusive(store) as lock:
        with monkeypatch.context() as broken:

            def fail(_):
                raise error

            broken.setattr(object_lock, "_generations", fail)
            for _ in range(500):
                if not lock._is_fresh():
                    break
                time.sleep(0.01)
            with pytest.raises(StgcmaError, match=r"could not be renewed for 0\.15 s: another process may"):
                lock.check()
        for _ in range(500):
            if lock._is_fresh():
                break
            time.sleep(0.01)
        lock.check()
        assert store.names() == [LOCK_FILE]
    assert store.names() == []


class Faults:
    """A WSGI application in front of the S3 stand-in: counts requests, and lets a share of them fail."""

    ANSWERS = (
        ("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>"),
        ("500 Internal Server Error", b"<Error><Code>InternalError</Code></Error>"),
        ("429 Too Many Requests", b""),
    )

    def __init__(self, application, share):
        self.application, self.share = application, share
        self.draws = random.Random(0)
        self.requests = self.failed = 0

    def __call__(self, environment, start_response):
        self.requests += 1
        if self.draws.random() >= self.share:
            return self.application(environment, start_response)
        self.failed += 1
        status, content = self.ANSWERS[self.failed % len(self.ANSWERS)]
        environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))])
        return [content]


@pytest.fixture
def faulty(s3, s3_server, monkeypatch):  # noqa: ARG001 (its bucket)
    """`faulty(SHARE)` puts `Faults` before the stand-in; drivers repeat nothing by themselves."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    server, plain = s3_server._server, s3_server._server.app

    def put(share):
        server.app = Faults(plain, share)
        return server.app

    yield put
    server.app = plain


def test_a_tenth_of_all_requests_fails_and_the_bytes_are_the_same(s3, faulty, tmp_path, raw):
    build(tmp_path / "whole", raw, clips=12)
    faults = faulty(0.1)
    build(f"{s3}/out", raw, clips=12)
    assert names_and_contents(f"{s3}/out") == names_and_contents(tmp_path / "whole")
    result = verify(f"{s3}/out", on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (11, ())
    assert faults.failed > 5


def test_requests_of_a_shard(s3, faulty, raw):
    """The numbers that docs/shard-format.md states."""

    def requests(work):
        faults = faulty(0.0)
        work()
        return faults.requests

    written, read = {}, {}
    for clips in (40, 80):
        url = f"{s3}/{clips}"
        written[clips] = requests(lambda url=url, clips=clips: build(url, raw, clips=clips))
        read[clips] = requests(lambda url=url: list(iterate_clips(url)))
    assert 3 <= (written[80] - written[40]) / 10 <= 4
    assert (read[80] - read[40]) / 10 == 2


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves files, with the ranges that are asked for, and lists no folder."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2] or len(content))) if asked else (0, len(content))
        part = content[start : end + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path):
    """The URL of a read-only server of the files below `tmp_path`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_finished_directory_opens_behind_a_web_server(web, tmp_path, raw):
    build(tmp_path / "out", raw, clips=12)
    url = f"{web}/out"
    assert list(iterate_clips(url, check=True)) == list(iterate_clips(tmp_path / "out"))
    result = verify(url, on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (11, ())
    first = next((tmp_path / "out" / "shards").iterdir())
    first.write_bytes(first.read_bytes()[:-1024])
    assert {fault.file for fault in verify(url).faults} == {f"shards/{first.name}"}
    first.unlink()
    assert [fault.file for fault in verify(url).faults] == [f"shards/{first.name}"]
    with pytest.raises(InputError, match="cannot be written: over http files can be read only"):
        build(f"{web}/new", raw, clips=12)


def test_errors_that_pass_are_told_from_others():
    class ClientError(Exception):
        def __init__(self, status, code):
            super().__init__(code)
            self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}

    def caused(error):
        outer = OSError(5, "an error of the driver")
        outer.__cause__ = error
        return outer

    for error in (
        ClientError(503, "x"),
        ClientError(400, "RequestTimeout"),
        TimeoutError(),
        ConnectionResetError(),
    ):
        assert retries.is_passing(error)
        assert retries.is_passing(caused(error))
    for error in (
        ClientError(403, "AccessDenied"),
        ClientError(404, "NoSuchKey"),
        PermissionError(),
        ValueError(),
    ):
        assert not retries.is_passing(error)
        assert not retries.is_passing(caused(error))


def test_requests_are_repeated_with_longer_and_longer_waits(monkeypatch):
    waits = []
    monkeypatch.setattr(retries.time, "sleep", waits.append)

    def fails():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        retries.retried(fails)
    assert len(waits) == retries.TRIES - 1
    for number, wait in enumerate(waits):
        longest = min(0.2 * 2**number, retries.LONGEST_WAIT_SECONDS)
        assert longest / 2 <= wait <= longest
