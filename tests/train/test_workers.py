"""Loader processes with little shared memory, and one that is lost."""

import os
import signal
import subprocess
import time
from multiprocessing.process import BaseProcess

import pytest
import torch
from stgcma.errors import StgcmaError
from stgcma.model import preset_config
from stgcma.train import batch, workers
from stgcma.train.batch import Batch, batches, make_loader
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.order import EpochOrder
from stgcma.train.sections import DataConfig
from stgcma.train.workers import (
    Packed,
    free_shared_bytes,
    loaded_by,
    lost_workers_named,
    possible_workers,
    to_send,
)

KIB = 1024


@pytest.fixture(autouse=True)
def _say_again():
    workers._message_once.cache_clear()


@pytest.fixture
def clips(four_clips):
    dataset = ClipDataset(
        four_clips, "train", open_task(four_clips), DataConfig(), preset_config("ave-demo"), seed=1
    )
    yield dataset
    dataset.close()


def loader(clips, *, workers):
    return make_loader(clips, EpochOrder([place.shard for place in clips.places], 1, seed=1), workers=workers)


@pytest.mark.parametrize(
    ("free", "wanted", "possible"),
    [(None, 2, 2), (1 << 30, 64, 64), (1024 * KIB, 2, 2), (128 * KIB, 4, 0), (64 * KIB, 2, 0), (0, 1, 0)],
)
def test_fewer_workers_where_shared_memory_is_small(monkeypatch, capsys, free, wanted, possible):
    monkeypatch.setattr(workers, "free_shared_bytes", lambda: free)
    monkeypatch.setattr(workers.os, "sysconf", lambda _: 4 * KIB)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert possible_workers(wanted) == possible
    said = capsys.readouterr().err
    if possible < wanted:
        line = f"shared memory (/dev/shm) has {free // KIB} KiB free, too little for data.workers={wanted}"
        assert said == f"{line}; loading with 0 loader processes\n"
        possible_workers(wanted)
        assert capsys.readouterr().err == "", "once is enough"
    else:
        assert said == ""


def test_processes_of_one_machine_share_its_memory(monkeypatch):
    monkeypatch.setattr(workers.os, "sysconf", lambda _: 4 * KIB)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    alone = possible_workers(100, free_bytes=1024 * KIB)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert 0 < possible_workers(100, free_bytes=1024 * KIB) < alone < 100


def test_without_shared_memory_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "_SHARED_MEMORY", tmp_path / "missing")
    monkeypatch.setattr(workers.sys, "platform", "linux")
    assert free_shared_bytes() == 0
    monkeypatch.setattr(workers.sys, "platform", "darwin")
    assert free_shared_bytes() is None


def test_batches_through_pipes_are_the_same(clips, monkeypatch, capsys):
    expected = list(batches(loader(clips, workers=0)))
    monkeypatch.setattr(workers, "_HEADROOM_BYTES", 1 << 62)  # inherited by the workers: none share memory
    found = list(batches(loader(clips, workers=2)))
    assert [batch.keys for batch in found] == [batch.keys for batch in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.batch_slice == other.batch_slice
        assert all(torch.equal(*pair) for pair in zip(one.tensors, other.tensors, strict=True))
    assert found[0].inputs["video"].is_shared() is False
    assert "they travel through pipes, which is slower" in capsys.readouterr().err


def test_a_batch_is_shared_where_there_is_room_and_packed_where_there_is_none(clips, monkeypatch):
    def made():
        return next(batches(loader(clips, workers=0)))

    batch = made()
    assert to_send(batch, batch.tensors) is batch
    assert all(tensor.is_shared() for tensor in batch.tensors)
    batch = made()
    needed = sum(tensor.nbytes for tensor in batch.tensors)
    monkeypatch.setattr(workers, "free_shared_bytes", lambda: needed)
    sent = to_send(batch, batch.tensors)
    assert isinstance(sent, Packed)
    assert isinstance(sent.unpacked(), Batch)
    monkeypatch.setattr(workers, "free_shared_bytes", lambda: 1 << 40)

    def full(_tensor):
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    assert isinstance(to_send(batch, batch.tensors), Packed)


@pytest.mark.parametrize("packed", [False, True])
def test_a_worker_that_is_killed_is_an_error_and_no_wait(clips, monkeypatch, packed):
    if packed:
        monkeypatch.setattr(workers, "_HEADROOM_BYTES", 1 << 62)
    clips.places = [*clips.places] * 80  # more than the workers have read when one is gone
    source = loader(clips, workers=2)
    loaded = batches(source)
    next(loaded)
    started = time.monotonic()
    os.kill(source._iterator._workers[0].pid, signal.SIGKILL)

    def read_on():
        with lost_workers_named():
            for _ in loaded:
                time.sleep(0.01)

    with pytest.raises(StgcmaError, match=r"a loader process was lost \(DataLoader worker .* fewer, or to 0"):
        read_on()
    assert time.monotonic() - started < 60


def cut_off(error, reported=None):
    """An iterator whose first batch is cut off; then the end of the process is reported, as torch does."""

    def report(*_):
        raise RuntimeError(reported)

    if reported:
        signal.signal(signal.SIGALRM, report)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    raise error
    yield


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_process_that_is_lost_while_its_batch_is_received_is_named(error, monkeypatch):
    before = signal.getsignal(signal.SIGALRM)
    try:
        told = "DataLoader worker (pid 17) is killed by signal: Killed."
        with (
            pytest.raises(StgcmaError, match=r"lost \(DataLoader worker \(pid 17\) is"),
            lost_workers_named(),
        ):
            list(loaded_by(cut_off(error, told)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    monkeypatch.setattr(workers, "_REPORT_SECONDS", 0.01)
    with pytest.raises(StgcmaError, match=rf"lost \(DataLoader worker: {type(error).__name__}\)"):
        list(loaded_by(cut_off(error)))


def test_a_connection_that_a_process_lost_is_its_error():
    error = ConnectionError("Caught ConnectionError in DataLoader worker process 0.")
    with pytest.raises(ConnectionError, match="Caught"):
        list(loaded_by(cut_off(error)))


def test_a_signal_to_a_process_that_is_being_started_does_not_end_it(clips, monkeypatch):
    start = BaseProcess.start

    def signalled(process):
        start(process)
        # Of another process, because a worker obeys its parent.
        subprocess.run(["kill", "-TERM", str(process.pid)], check=True)

    def entered_late(worker):
        time.sleep(0.3)
        workers.enter_worker(worker)

    monkeypatch.setattr(batch, "enter_worker", entered_late)
    monkeypatch.setattr(BaseProcess, "start", signalled)
    loaded = list(batches(loader(clips, workers=1)))
    assert [each.keys for each in loaded] == [each.keys for each in batches(loader(clips, workers=0))]


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="something else"), lost_workers_named():
        raise RuntimeError("something else")
