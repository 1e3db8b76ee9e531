"""The lock of a directory in an object store: one writer at a time, and a successor to a dead one."""

import contextlib
import json
import os
import threading
import time
import uuid
from unittest import mock

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from stgcma.errors import InputError, StgcmaError
from stgcma.preprocess.pipeline.parts import check_no_parts
from stgcma.shards import object_lock
from stgcma.shards.locking import LOCK_FILE, exclusive
from stgcma.shards.storage import ObjectStore, open_store


def put_lock(store, name=LOCK_FILE, **changes):
    """Write the lock of another owner."""
    content = json.loads(object_lock._owner_bytes("theirs")) | changes
    store.publish(name, json.dumps(content).encode())


@pytest.fixture
def quick_locks(monkeypatch):
    """Locks are stale soon."""
    for name, seconds in (("REFRESH", 0.01), ("STALE", 0.3), ("POLL", 0.02)):
        monkeypatch.setattr(object_lock, f"{name}_SECONDS", seconds)


@pytest.fixture
def never_late(monkeypatch):
    """Locks are renewed in time, even where this process has to wait for a processor."""
    monkeypatch.setattr(object_lock.ObjectLock, "_is_fresh", lambda _: True)


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


def test_a_store_that_ignores_the_condition_is_refused(monkeypatch):
    """As stores that speak S3 but know no If-None-Match."""
    store = open_store(f"memory://{uuid.uuid4().hex}")

    def overwrites(self, path, value, mode="overwrite", **_):  # noqa: ARG001
        self.open(path, "wb", data=value)

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "pipe_file", overwrites)
        with pytest.raises(InputError, match="the store ignores the condition that an object must not exist"):
            exclusive(store).__enter__()
    assert store.names() == []
    with exclusive(store):
        assert store.names() == [LOCK_FILE]


def test_a_driver_that_looks_before_it_creates_is_refused(monkeypatch):
    store = open_store(f"memory://{uuid.uuid4().hex}")
    store.check_writable()
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", AbstractFileSystem.pipe_file)
    with pytest.raises(InputError, match="its driver, MemoryFileSystem, cannot create an object only where"):
        store.check_writable()


@pytest.mark.usefixtures("quick_locks", "never_late")
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
def test_a_lock_of_another_machine_is_watched(capsys, monkeypatch):
    """Clocks are not compared: an owner is at work when its object changes."""
    monkeypatch.setattr(object_lock, "STALE_SECONDS", 120.0)  # a change ends the watch long before
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
    assert ".lock is of another machine; waiting for at most 120 s" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_locks", "never_late")
def test_one_of_many_successors_takes_a_lock_over(monkeypatch):
    """All find the lock stale before any creates its own."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    put_lock(store, machine="elsewhere")
    together = threading.Barrier(6)
    create = ObjectStore.create
    guard, thread = threading.Lock(), threading.local()

    def late(self, name, content):
        if not hasattr(thread, "created"):
            thread.created = together.wait()
        with guard:  # the memory's own check and write are two steps
            return create(self, name, content)

    monkeypatch.setattr(ObjectStore, "create", late)
    over = threading.Event()
    outcomes = []

    def take():
        try:
            with exclusive(store):
                outcomes.append("held")
                over.wait(120)
        except InputError:
            outcomes.append("busy")

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 120
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


@pytest.mark.usefixtures("quick_locks", "never_late")
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
        lock._refresher.join(timeout=120)
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
            for _ in range(3000):
                if not lock._is_fresh():
                    break
                time.sleep(0.01)
            with pytest.raises(StgcmaError, match=r"could not be renewed for 0\.15 s: another process may"):
                lock.check()
        for _ in range(3000):
            with contextlib.suppress(StgcmaError):
                lock.check()
                break
            time.sleep(0.01)
        else:
            pytest.fail("it was not renewed again")
        assert store.names() == [LOCK_FILE]
    assert store.names() == []
