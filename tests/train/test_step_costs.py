"""Reads from the device in a training step, and steps whose numbers are not finite.

Counted on a CPU: on a GPU each of these reads would wait for all work that was queued.
"""

import contextlib
import json
import traceback
from pathlib import Path

import pytest
import torch
from stgcma.errors import StgcmaError
from stgcma.train import TASKS, step, trainer
from stgcma.train.distributed import ProcessGroup
from stgcma.train.run import train
from stgcma.train.step import OptimizerStep
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(trainer.__file__).parents[1]
# Checks of values, which are left out on a GPU.
CHECKS = ROOT / "model" / "input_checks.py"
aten = torch.ops.aten
# Operations whose result, or the size of it, depends on values.
READS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
TO_PYTHON = {torch.Tensor.tolist, torch.Tensor.numpy}
# Copies to the device, for which the host waits as well.
FROM_PYTHON = {torch.tensor, torch.as_tensor}


class DeviceReads(TorchDispatchMode):
    """Lists the operations that read values of tensors, with the line of the project that they come from."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        kind = func.overloadpacket
        by_mask = kind in INDEXING and any(x is not None and x.dtype == torch.bool for x in args[1])
        if kind in READS or by_mask:
            lines = [each for each in traceback.extract_stack() if is_ours(Path(each.filename))]
            if Path(lines[-1].filename) != CHECKS:
                self.found.append(f"{func} below {Path(lines[-1].filename).name}:{lines[-1].lineno}")
        return func(*args, **(kwargs or {}))


class PythonReads(TorchFunctionMode):
    """Lists the conversions of tensors to Python's numbers, and of these to tensors on a device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, func, _types, args=(), kwargs=None):
        if func in TO_PYTHON or (func in FROM_PYTHON and (kwargs or {}).get("device") is not None):
            self.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


def is_ours(path):
    return ROOT in path.parents and not {"tests", ".venv"} & set(path.parts)


@pytest.fixture
def fused(monkeypatch):
    """The optimiser is fused, as on a GPU; a CPU's reads its own counter of steps."""
    make = trainer.make_optimizer

    def fused_one(model, optim):
        made = make(model, optim)
        for group in made.param_groups:
            del group["fused"]
        return torch.optim.Adam(made.param_groups, lr=0.0, fused=True)

    monkeypatch.setattr(trainer, "make_optimizer", fused_one)


@pytest.fixture
def steps(monkeypatch):
    """The reads of each step, without those of its batch before it is on the device."""
    found = []
    run, exchange, update = OptimizerStep.run, OptimizerStep._exchange, OptimizerStep._update

    def counting(self, *args, **kwargs):
        device, python = DeviceReads(), PythonReads()
        with device, python:
            reads = [device.found, python.found]

            def uncounted(method, *given, **named):
                kept = [list(each) for each in reads]
                result = method(*given, **named)
                for each, before in zip(reads, kept, strict=True):
                    each[:] = before
                return result

            with contextlib.ExitStack() as patches:
                for name, method in (("_exchange", exchange), ("_update", update)):
                    patched = patches.enter_context(pytest.MonkeyPatch.context())
                    patched.setattr(
                        OptimizerStep, name, lambda *a, _method=method, **k: uncounted(_method, *a, **k)
                    )
                pending = run(self, *args, **kwargs)
            pending.result()
        found.append([*device.found, *python.found])
        return pending

    monkeypatch.setattr(OptimizerStep, "run", counting)
    return found


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.usefixtures("fused")
def test_a_step_reads_once_from_the_device(task, kept_shards, small_config, tmp_path, steps):
    train(kept_shards(task), tmp_path / "run", small_config(task, "optim.epochs=1", "optim.batch_size=2"))
    assert steps
    assert {read for reads in steps for read in reads} == {"tolist"}
    assert all(len(reads) == 1 for reads in steps)


def rows(run):
    return [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("fused")
def test_numbers_that_are_read_later_are_the_same(four_clips, small_config, tmp_path, monkeypatch):
    config = small_config("ave", "optim.epochs=2", "optim.batch_size=1", "optim.warmup_epochs=0")
    train(four_clips, tmp_path / "later", config)
    monkeypatch.setattr(OptimizerStep, "waits", True)
    train(four_clips, tmp_path / "at once", config)
    assert rows(tmp_path / "later") == rows(tmp_path / "at once")
    assert len(rows(tmp_path / "later")) == 4
    states = [
        torch.load(tmp_path / name / "checkpoints" / "state.pt", weights_only=True)
        for name in ("later", "at once")
    ]
    assert all(torch.equal(a, states[1]["trained"][name]) for name, a in states[0]["trained"].items())
    assert states[0]["progress"]["sums"] == states[1]["progress"]["sums"]


@pytest.mark.usefixtures("fused")
def test_a_step_that_is_not_finite_changes_nothing(four_clips, small_config, tmp_path, monkeypatch):
    norm, update = OptimizerStep._gradient_norm, OptimizerStep._update
    calls, seen = [], []

    def third_is_infinite(self):
        calls.append(None)
        return norm(self) * (float("inf") if len(calls) == 3 else 1.0)

    def snapshot(optimizer):
        return [
            value.clone()
            for state in optimizer.state.values()
            for value in (*state.values(), *optimizer.param_groups[0]["params"])
        ]

    def watched(self, **given):
        before = snapshot(self._optimizer)
        update(self, **given)
        after = snapshot(self._optimizer)
        seen.append(len(before) == len(after) and all(map(torch.equal, before, after)))

    monkeypatch.setattr(OptimizerStep, "_gradient_norm", third_is_infinite)
    monkeypatch.setattr(OptimizerStep, "_update", watched)
    config = small_config("ave", "optim.epochs=3", "optim.batch_size=1", "optim.warmup_epochs=0")
    with pytest.raises(StgcmaError, match="the gradient is inf at step 3, on the clips"):
        train(four_clips, tmp_path / "run", config)
    # The error is known after the next step, before which nothing is saved.
    assert seen == [False, False, True, False]
    state = torch.load(tmp_path / "run" / "checkpoints" / "state.pt", weights_only=True)
    assert state["progress"]["step"] == 2


@pytest.mark.usefixtures("fused")
def test_a_state_of_a_cpu_goes_on_with_a_fused_optimiser(four_clips, small_config, tmp_path, monkeypatch):
    config = small_config("ave", "optim.epochs=2", "optim.batch_size=1", "optim.warmup_epochs=0")
    state = tmp_path / "run" / "checkpoints" / "state.pt"
    with monkeypatch.context() as patched:
        patched.setattr(trainer.Trainer, "_write_summary", lambda _: None)
        train(four_clips, tmp_path / "run", config)
    saved = torch.load(state, weights_only=True)
    for group in saved["optimizer"]["param_groups"]:
        group["fused"] = None
    saved["progress"] |= {"epoch": 1, "batch": 0, "sums": {}}
    torch.save(saved, state)
    optimizers = []
    run = OptimizerStep.run

    def noting(self, *args, **kwargs):
        optimizers.append(self._optimizer)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(OptimizerStep, "run", noting)
    train(four_clips, tmp_path / "run", config, resume=True)
    assert optimizers
    assert all(group["fused"] for group in optimizers[0].param_groups)


class Alone(torch.nn.Module):
    """In place of DistributedDataParallel, for a process without others."""

    def __init__(self, module, **_):
        super().__init__()
        self.module = module

    def forward(self, *inputs):
        return self.module(*inputs)


def test_a_step_of_two_processes_communicates_twice(four_clips, small_config, tmp_path, monkeypatch):
    """Besides what DistributedDataParallel does."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    calls = []

    def all_gather(rows, local):
        calls.append("all_gather")
        for row in rows:
            row.copy_(local)

    run = OptimizerStep.run

    def counting(self, *args, **kwargs):
        calls.clear()
        pending = run(self, *args, **kwargs)
        assert len(pending.result().clips) == 2
        assert calls == ["all_gather", "all_gather"]
        return pending

    monkeypatch.setattr(OptimizerStep, "run", counting)
    monkeypatch.setattr(step.nn.parallel, "DistributedDataParallel", Alone)
    monkeypatch.setattr(torch.distributed, "all_gather", all_gather)
    for name in ("all_gather_object", "all_reduce", "broadcast"):
        monkeypatch.setattr(torch.distributed, name, lambda *_, _name=name, **__: calls.append(_name))
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setattr(ProcessGroup, "run_on_main", lambda _, work: work())
        monkeypatch.setattr(ProcessGroup, "barrier", lambda _: None)
        train(four_clips, tmp_path / "run", small_config("ave", "optim.epochs=1", "optim.batch_size=2"))
    finally:
        torch.distributed.destroy_process_group()
