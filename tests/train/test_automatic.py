"""Settings that are left to the machine, and what a run records of them."""

import numpy as np
import pytest
import torch
from stgcma import cores as usable
from stgcma.train import automatic
from stgcma.train.automatic import IdleTime, loader_processes, resolve, waiting_note
from stgcma.train.config import load_preset, replaced
from stgcma.train.distributed import ProcessGroup
from stgcma.train.run import train
from stgcma.train.run_folder import RunFolder
from stgcma.train.sections import DataConfig
from stgcma.train.trained import open_trained

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def alone(device):
    return ProcessGroup(0, 1, device)


@pytest.fixture
def machine(monkeypatch):
    """`machine(cores, bf16)` is the machine that is asked."""

    def of(cores, *, bf16):
        monkeypatch.setattr(usable.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bf16)

    return of


@pytest.mark.parametrize(
    ("device", "cores", "bf16", "expected"),
    [
        (CPU, 16, True, (1, "fp32")),
        (GPU, 16, True, (15, "bf16")),
        (GPU, 64, False, (16, "fp32")),
        (GPU, 1, True, (1, "bf16")),
    ],
)
def test_what_is_not_given_follows_the_machine(machine, device, cores, bf16, expected):
    machine(cores, bf16=bf16)
    config = resolve(load_preset("ave-demo"), alone(device))
    assert (config.data.workers, config.train.precision) == expected


def test_processes_of_one_machine_share_its_cores(machine, monkeypatch):
    machine(16, bf16=True)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert loader_processes(GPU) == 3


def test_what_is_given_stays(machine):
    machine(16, bf16=True)
    config = resolve(load_preset("ave-demo", ["data.workers=0", "train.precision=fp16"]), alone(GPU))
    assert (config.data.workers, config.train.precision) == (0, "fp16")


def test_a_resumed_run_keeps_its_precision(machine, tmp_path):
    machine(16, bf16=True)
    config, run = load_preset("ave-demo"), RunFolder(tmp_path)
    assert resolve(config, alone(CPU), recorded=run) == resolve(config, alone(CPU))
    run.write_config(resolve(config, alone(GPU)))
    resumed = resolve(config, alone(CPU), recorded=run)
    assert (resumed.data.workers, resumed.train.precision) == (1, "bf16")


def test_streamed_clips_come_in_the_same_order_on_every_machine(machine, tmp_path):
    machine(16, bf16=True)
    config, run = load_preset("ave-demo", ["data.read=streamed"]), RunFolder(tmp_path)
    assert resolve(config, alone(GPU)).data.workers == 1
    run.write_config(resolve(load_preset("ave-demo", ["data.read=streamed", "data.workers=3"]), alone(GPU)))
    assert resolve(config, alone(GPU), recorded=run).data.workers == 3


def test_all_processes_compute_in_the_same_precision(machine, monkeypatch):
    machine(16, bf16=True)
    monkeypatch.setattr(ProcessGroup, "gather", lambda _, values: np.array([values, [0.0]]))
    assert resolve(load_preset("ave-demo"), alone(GPU)).train.precision == "fp32"


def test_no_more_processes_load_than_there_are_cores(machine, four_clips, small_config, tmp_path):
    train(four_clips, tmp_path, small_config("ave", "optim.epochs=1"))
    run = RunFolder(tmp_path)
    run.write_config(replaced(run.read_config(), "data", workers=15))
    machine(2, bf16=False)
    assert open_trained(tmp_path).config.data.workers == 2


def test_a_run_records_what_it_used(four_clips, small_config, tmp_path):
    config = small_config("ave", "optim.epochs=1")
    assert config.train.precision == "auto"
    train(four_clips, tmp_path / "run", config)
    recorded = RunFolder(tmp_path / "run").read_config()
    assert (recorded.data.workers, recorded.train.precision) == (0, "fp32")
    train(four_clips, tmp_path / "run", config, resume=True)


class Event:
    """An event of a queue whose clock the test sets."""

    now = 0.0

    def record(self):
        self.at = Event.now

    def synchronize(self):
        pass

    def elapsed_time(self, later):
        return 1000 * (later.at - self.at)


def test_idle_time_is_that_between_steps(monkeypatch):
    monkeypatch.setattr(automatic.time, "monotonic", lambda: Event.now)
    Event.now = 0.0
    idle = IdleTime(Event)
    assert idle.share() == 0.0
    for wait in (5.0, 1.0, 2.0):  # before the first step loading begins
        Event.now += wait
        idle.begin_step()
        Event.now += 4.0
        idle.end_step()
    assert idle.share() == pytest.approx(3 / 20)


def test_a_gpu_that_is_idle_is_named():
    assert waiting_note(0.05, DataConfig(workers=4)) is None
    said = "the GPU was idle between steps for 40 % of the first epoch, with 4 loader processes; "
    for settings, advice in (
        ({"augment": True}, "more of them (data.workers), data.augment_on=device or a faster disk may help"),
        ({"augment": True, "augment_on": "device"}, "more of them (data.workers) or"),
        ({"augment": False}, "more of them (data.workers) or"),
    ):
        assert waiting_note(0.4, DataConfig(workers=4, **settings)).startswith(said + advice)
