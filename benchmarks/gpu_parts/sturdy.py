"""Part `sturdy`: kills and resuming, deterministic mode, full memory, NCCL, SIGTERM, fp16 that overflows.

Nothing is timed here, so the cases run side by side, each in forked processes of its own: torch is imported
once, and CUDA is started by the children alone.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_parts.common import TINY_PRESETS, Report, Setting
from gpu_parts.shards import make_shards
from safetensors.torch import load_file
from stgcma.errors import StgcmaError
from stgcma.model import build_model
from stgcma.train.batch import batches, make_loader
from stgcma.train.config import RunConfig, load_preset
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.distributed import share_batch_norms
from stgcma.train.objective import Objective
from stgcma.train.order import EpochOrder
from stgcma.train.run import train
from torch.optim.optimizer import register_optimizer_step_post_hook
from training_step import make_inputs

LAST = "checkpoints/last/adapters.safetensors"
STATE = "checkpoints/state.pt"
STEPS_A_CASE = 4
_CASE_SECONDS = 120
_FORKS = threading.Lock()  # libraries with hooks around a fork do not expect two at once
# What cuBLAS finds free on the card when it wants its handle and its workspace.
_FREE_MEBIBYTES = (400, 150, 60, 30)
Case = Callable[[Setting, str, Path], dict[str, Any]]


def run(setting: Setting, report: Report) -> None:
    """Adds a row for each case."""
    cases: dict[str, Case] = {
        "SIGKILL and --resume": _kill,
        "deterministic mode": _deterministic,
        "SIGTERM and --resume": _terminate,
        "fp16 with an overflowing step": _overflow,
        "one rank of NCCL (gloo on a CPU)": _one_rank,
        "out of memory, torch's allocator": _out_of_memory,
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # A process of its own makes them as well: nothing of torch may have run before the forks.
        _in_child(lambda: str(make_shards(folder / "shards", train=8, others=1)))
        # Before the threads: a process forked while a thread imports a module may wait for it for ever.
        for preset in TINY_PRESETS:
            load_preset(preset)
        lock = threading.Lock()

        def attempt(name: str, case: Case) -> None:
            inside = folder / name.replace(" ", "-").replace(",", "")
            inside.mkdir()
            values = _tried(lambda: case(setting, str(folder / "shards"), inside))
            with lock:
                report.add(name, **values)

        threads = [threading.Thread(target=attempt, args=case) for case in cases.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        attempt("out of memory, cuBLAS", _out_of_cublas)  # alone: it fills the whole card


def _tried(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except Exception as error:
        return {"ok": False, "failed": f"{type(error).__name__}: {error}"[:1000]}


def _config(setting: Setting, *chosen: str) -> RunConfig:
    """Small AVE models, also with a GPU: what is asked here does not depend on their size."""
    settings = [*setting.model_settings("ave-demo"), "data.workers=0", "train.save_every_steps=1"]
    settings += ["optim.batch_size=2", "optim.epochs=1", "optim.warmup_epochs=0", *chosen]
    return load_preset("ave-demo", settings)


def _in_child(work: Callable[[], Any]) -> Any:
    """Run `work` in a forked process and return its result.

    Raises RuntimeError with its error, or its exit status.
    """
    fork = multiprocessing.get_context("fork")

    def call() -> None:
        torch.set_num_threads(1)
        try:
            theirs.send((True, work()))
        except BaseException as error:
            theirs.send((False, f"{type(error).__name__}: {error}"))
            raise

    # A child that another thread forks must not hold this pipe: the end of this one would go unnoticed.
    with _FORKS:
        ours, theirs = fork.Pipe(duplex=False)
        child = fork.Process(target=call)
        child.start()
        theirs.close()
    try:
        done, value = ours.recv() if ours.poll(_CASE_SECONDS) else (False, f"no answer in {_CASE_SECONDS} s")
    except EOFError:
        child.join()
        done, value = False, f"ended with {child.exitcode}"
    finally:
        child.join(5)
        if child.is_alive():
            child.kill()
    if not done:
        raise RuntimeError(value)
    return value


@contextlib.contextmanager
def _at_step(number: int, act: Callable[[], None]) -> Iterator[None]:
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == number:
            act()

    handle = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _signalled(shards: str, run: Path, config: RunConfig, number: int, *, step: int) -> str:
    """Trains in a child that gets the signal `number` in its step `step`. Returns how it ended."""

    def work() -> str:
        with _at_step(step, lambda: os.kill(os.getpid(), number)):
            try:
                train(shards, run, config)
            except SystemExit as left:
                return f"exit {left.code}"
        return "finished"

    try:
        return str(_in_child(work))
    except RuntimeError as error:
        return str(error)


def _trained(shards: str, run: Path, config: RunConfig, *, resume: bool = False) -> None:
    def work() -> None:
        train(shards, run, config, resume=resume)

    _in_child(work)


def _compare(one: Path, other: Path) -> dict[str, Any]:
    ours, theirs = load_file(one / LAST), load_file(other / LAST)
    largest = max(float((ours[name] - theirs[name]).abs().max()) for name in theirs)
    return {"bitwise": all(torch.equal(ours[name], theirs[name]) for name in theirs), "difference": largest}


def _kill(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    config = _config(setting)
    _trained(shards, folder / "whole", config)
    _trained(shards, folder / "again", config)
    ended = _signalled(shards, folder / "killed", config, signal.SIGKILL, step=3)
    _trained(shards, folder / "killed", config, resume=True)
    repeated = _compare(folder / "again", folder / "whole")
    resumed = _compare(folder / "killed", folder / "whole")
    # Two whole runs say how far the device repeats at all.
    fair = resumed["bitwise"] or (not repeated["bitwise"] and resumed["difference"] < 1e-3)
    return {
        "ok": ended == f"ended with -{int(signal.SIGKILL)}" and fair,
        "ended": ended,
        "two_whole_runs": repeated,
        "resumed_and_whole": resumed,
    }


def _terminate(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    config = _config(setting)
    ended = _signalled(shards, folder / "run", config, signal.SIGTERM, step=2)
    saved = (folder / "run" / STATE).is_file()
    _trained(shards, folder / "run", config, resume=True)
    steps = len((folder / "run" / "steps.jsonl").read_text().splitlines())
    return {"ok": ended == "exit 143" and saved and steps == STEPS_A_CASE, "ended": ended, "steps": steps}


def _deterministic(setting: Setting, _shards: str, _folder: Path) -> dict[str, Any]:
    """One step of each task with `torch.use_deterministic_algorithms`, twice."""

    def gradients(preset: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = build_model(preset, "random", **setting.overrides(preset)).to(setting.device).train()
        inputs = make_inputs(model.config, 2, setting.device)
        loss = torch.stack([output.float().square().mean() for output in model(**inputs).values()]).sum()
        loss.backward()
        return [p.grad.cpu() for p in model.parameters() if p.grad is not None]

    def work(preset: str) -> bool:
        torch.use_deterministic_algorithms(True)
        pairs = zip(gradients(preset), gradients(preset), strict=True)
        return all(torch.equal(one, other) for one, other in pairs)

    told: dict[str, Any] = {}
    for preset in TINY_PRESETS:
        result = _tried(lambda preset=preset: {"same": _in_child(lambda: work(preset))})
        told[preset] = result.get("failed", result.get("same"))
    return {"ok": all(value is True for value in told.values()), **told}


def _overflow(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    """A gradient scale of 2³⁰ overflows at once: the step is left out, the scale falls, training goes on."""
    config = _config(setting, "train.precision=fp16", "optim.epochs=8")
    run = folder / "run"
    ended = _signalled(shards, run, config, signal.SIGTERM, step=1)

    def raise_scale() -> float:
        state = torch.load(run / STATE, weights_only=True)
        if not state["scaler"]:
            raise StgcmaError("there is no gradient scale here")
        state["scaler"]["scale"] = 2.0**30
        torch.save(state, run / STATE)
        return float(state["scaler"]["scale"])

    _in_child(raise_scale)
    _trained(shards, run, config, resume=True)
    state = _in_child(lambda: dict(torch.load(run / STATE, weights_only=True)["scaler"]))
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows]
    fell = 0 < state["scale"] < 2.0**30
    return {
        "ok": ended == "exit 143" and fell and len(rows) == 8 * STEPS_A_CASE and losses[-1] < losses[0],
        "scale_at_end": state["scale"],
        "steps": len(rows),
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }


def _one_rank(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    """A step under DistributedDataParallel with one rank, batch normalisation shared, against one without."""

    def gradients(*, wrapped: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        task, config = open_task(shards), _config(setting)
        overrides = task.model_options() | setting.overrides("ave-demo")
        model = build_model("ave-demo", **overrides).to(setting.device).train()
        dataset = ClipDataset(shards, "train", task, config.data, model.config, seed=0)
        order = EpochOrder([place.shard for place in dataset.places], 2, seed=0)
        batch = next(batches(make_loader(dataset, order, workers=0))).to(torch.device(setting.device))
        objective = Objective(model, task, config.loss, "fp32")
        stepped: Any = objective
        if wrapped:
            share_batch_norms(model)
            devices = [0] if setting.device == "cuda" else None
            stepped = torch.nn.parallel.DistributedDataParallel(
                objective, device_ids=devices, broadcast_buffers=False
            )
        torch.manual_seed(1)
        terms = stepped(batch.inputs, batch.targets, batch.weight)
        objective.total(terms.losses, task.counts(batch.targets, batch.weight)).backward()
        return [p.grad.cpu() for p in model.parameters() if p.grad is not None]

    def work() -> dict[str, Any]:
        backend = "nccl" if setting.device == "cuda" else "gloo"
        torch.distributed.init_process_group(
            backend, init_method=f"file://{folder / 'store'}", rank=0, world_size=1
        )
        texts: list[Any] = [None]
        torch.distributed.all_gather_object(texts, ["a clip's key"])
        pairs = list(zip(gradients(wrapped=True), gradients(wrapped=False), strict=True))
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        largest = max(float((one - other).abs().max()) for one, other in pairs)
        return {
            "ok": largest < 1e-5 and texts == [["a clip's key"]],
            "backend": backend,
            "difference": largest,
        }

    return dict(_in_child(work))


def _out_of_memory(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    """Training with too little memory: one line that says which settings would fit."""
    if setting.device != "cuda":
        return {"ok": None, "unmeasured": "needs a GPU"}

    def work() -> str:
        torch.cuda.set_per_process_memory_fraction(0.02)
        config = load_preset(
            "ave-clip-b16-base",
            ["model.weights=null", "data.workers=0", "optim.batch_size=8", "train.precision=fp32"],
        )
        return _message_of(lambda: train(shards, folder / "run", config))

    return _judged(_in_child(work))


def _out_of_cublas(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    """Little memory left on the card itself when cuBLAS wants some: every failure is one line."""
    if setting.device != "cuda":
        return {"ok": None, "unmeasured": "needs a GPU"}

    def work(free_mebibytes: int) -> str:
        free, _ = torch.cuda.mem_get_info()
        held = torch.empty(free - (free_mebibytes << 20), dtype=torch.uint8, device="cuda")
        run = folder / f"run-{free_mebibytes}"
        message = _message_of(lambda: train(shards, run, _config(setting, "train.save_every_steps=9")))
        del held
        return message

    told, right = {}, []
    for free in _FREE_MEBIBYTES:
        one = _tried(lambda free=free: _judged(_in_child(lambda: work(free))))
        told[f"{free} MiB"] = one.get("message", one.get("failed"))
        right.append(one.get("ok") is True or one.get("message") == "finished")
    return {"ok": all(right), **told}


def _message_of(work: Callable[[], object]) -> str:
    try:
        work()
    except StgcmaError as error:
        return str(error)
    return "finished"


def _judged(message: str) -> dict[str, Any]:
    one_line = len(message.splitlines()) == 1
    return {"ok": message.startswith("out of memory") and one_line, "message": message}
