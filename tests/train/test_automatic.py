"""Settings that are left to the machine, and what a run records of them."""

import pytest
import torch
from stgcma.train import automatic
from stgcma.train.automatic import loader_processes, resolve, waiting_note
from stgcma.train.config import load_preset
from stgcma.train.run import train
from stgcma.train.run_folder import RunFolder

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def machine(monkeypatch):
    """`machine(cores, bf16)` is the machine that is asked."""

    def of(cores, *, bf16):
        monkeypatch.setattr(automatic.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
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
    config = resolve(load_preset("ave-demo"), device)
    assert (config.data.workers, config.train.precision) == expected


def test_processes_of_one_machine_share_its_cores(machine, monkeypatch):
    machine(16, bf16=True)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert loader_processes(GPU) == 3


def test_what_is_given_stays(machine):
    machine(16, bf16=True)
    config = resolve(load_preset("ave-demo", ["data.workers=0", "train.precision=fp16"]), GPU)
    assert (config.data.workers, config.train.precision) == (0, "fp16")


def test_a_resumed_run_keeps_its_own(machine, tmp_path):
    machine(16, bf16=True)
    config, run = load_preset("ave-demo"), RunFolder(tmp_path)
    assert resolve(config, CPU, recorded=run) == resolve(config, CPU)
    run.write_config(resolve(config, GPU))
    assert resolve(config, CPU, recorded=run) == resolve(config, GPU)


def test_a_run_records_what_it_used(four_clips, small_config, tmp_path):
    config = small_config("ave", "optim.epochs=1")
    assert config.train.precision == "auto"
    train(four_clips, tmp_path / "run", config)
    recorded = RunFolder(tmp_path / "run").read_config()
    assert (recorded.data.workers, recorded.train.precision) == (0, "fp32")
    train(four_clips, tmp_path / "run", config, resume=True)


def test_a_gpu_that_waits_is_named():
    assert waiting_note(0.5, 10.0, 4) is None
    said = "the GPU waited for clips for 40 % of the first epoch, with 4 loader processes; set data.workers"
    assert waiting_note(4.0, 10.0, 4).startswith(said)
