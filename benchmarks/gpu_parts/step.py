"""Part `step`: a training step of every preset in every precision, eager and compiled, beside the naive way.

Time is the median of ten steps after three; memory is the allocator's peak, weights and optimiser included.
The cells are measured by worth, so that what a time limit cuts off is what is missed least: first every
preset as Table 9 has it, then the largest batch of 24 GB, then `torch.compile`. What was not reached says so.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from gpu_parts.common import TABLE_9_BATCH, TINY_PRESETS, Report, Setting, synchronize
from naive import naive_forward
from stgcma.model import PRESET_NAMES, STGCMA, preset_config
from stgcma.model.frozen_precision import cast_frozen
from stgcma.model.weights import materialise
from stgcma.train.compilation import compiler_options, prepare_compiler
from stgcma.train.objective import set_tf32
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from training_step import make_inputs

PRESETS = tuple(name for name in PRESET_NAMES if not name.endswith("demo"))
# One of each task and family comes first: `torch.compile` takes a minute each.
COMPILED_FIRST = ("ave-clip-b16-base", "ave-clip-l14-base", "ave-swin-b-base", "avs-swin-b", "avqa-swin-b")
# As `train.compile` names them.
MODES = {"compiled": "default", "CUDA graphs": "graphs"}
MEMORY_LIMIT_BYTES = 24 * 2**30
# The context, workspaces and fragmentation, which the allocator's peak leaves out.
USABLE_SHARE = 0.9
PRODUCT_SIDE = {"cuda": 8192, "cpu": 128}


@dataclass(frozen=True)
class Cell:
    """One measurement: a preset, `fp32`, `tf32` or `bf16`, `eager` or a mode of `torch.compile`, a batch."""

    preset: str
    precision: str
    mode: str
    batch: int
    side: str = "stgcma"

    def __str__(self) -> str:
        return f"{self.preset}, {self.precision}, {self.mode}, {self.batch} clips, {self.side}"


def run(setting: Setting, report: Report) -> None:
    """Adds the rates of matrix products, then a row for each cell."""
    presets = setting.presets or (TINY_PRESETS if setting.tiny else PRESETS)
    rates = {}
    for precision in ("fp32", "tf32", "bf16"):
        rate = report.attempt(f"matrix product, {precision}", lambda p=precision: _product(setting, p))
        rates[precision] = rate["tflops"] if rate else None
    for preset in presets:
        batch = TABLE_9_BATCH[preset.partition("-")[0]]
        bench = Bench(setting, rates, preset)
        short = setting.tiny and preset != presets[0]
        for precision in ("bf16",) if short else ("bf16", "fp32", "tf32"):
            bench.measure(report, Cell(preset, precision, "eager", batch))
        for precision in ("fp32",) if setting.tiny else ("bf16", "fp32"):
            bench.measure(report, Cell(preset, precision, "eager", batch, "naive"))
        bench.close()
    for preset in presets if setting.device == "cuda" else ():
        bench = Bench(setting, rates, preset)
        _largest(bench, report, preset)
        bench.close()
    for preset, precision, mode in _compiled(setting, presets):
        bench = Bench(setting, rates, preset)
        batch = TABLE_9_BATCH[preset.partition("-")[0]]
        bench.measure(report, Cell(preset, precision, mode, batch))
        bench.close()


def _compiled(setting: Setting, presets: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    if setting.tiny:
        yield (presets[0], "fp32", "compiled")
        return
    ordered = sorted(presets, key=lambda name: (name not in COMPILED_FIRST, presets.index(name)))
    for precision in ("bf16", "fp32", "tf32"):
        for preset in ordered:
            for mode in MODES:
                yield (preset, precision, mode)


def _largest(bench: Bench, report: Report, preset: str) -> None:
    """The largest batch whose training step fits 24 GB, in bf16: estimated from two batches, then tried."""
    name = f"{preset}, bf16, largest batch of 24 GB"

    def search() -> dict[str, Any]:
        bench.forget()
        one, two = (bench.peak_bytes(batch) for batch in (1, 2))
        each, fixed = max(two - one, 1), one - max(two - one, 1)
        batch = max(int((USABLE_SHARE * MEMORY_LIMIT_BYTES - fixed) // each), 1)
        with _memory_limit(bench.setting.device):
            while True:
                cell = Cell(preset, "bf16", "eager", batch)
                try:
                    return {"batch": batch, **bench.values(cell)}
                except torch.cuda.OutOfMemoryError:
                    if batch == 1:
                        raise
                    batch = max(int(batch * 0.9), 1)
                    bench.forget()

    report.attempt(name, search)


@contextlib.contextmanager
def _memory_limit(device: str) -> Iterator[None]:
    """Gives this process 24 GB of a larger GPU, so that what does not fit fails as it would there."""
    if device != "cuda":
        yield
        return
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(MEMORY_LIMIT_BYTES / total, 1.0))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


class Bench:
    """A preset's model on the device, and its training steps."""

    def __init__(self, setting: Setting, rates: dict[str, float | None], preset: str) -> None:
        self.setting, self.rates, self.preset = setting, rates, preset
        self._model: STGCMA | None = None
        self._flops_a_clip: float | None = None

    @property
    def model(self) -> STGCMA:
        """The model with made-up weights, drawn on the device: they take no time, and cost the same."""
        if self._model is None:
            config = preset_config(self.preset, **self.setting.overrides(self.preset))
            model = STGCMA(config, backbone_device="meta")
            materialise(model)
            model.to(self.setting.device)
            with torch.no_grad():
                for tensor in model.frozen_tensors().values():
                    tensor.normal_(std=0.02)
            self._model = model.train()
        return self._model

    def measure(self, report: Report, cell: Cell) -> None:
        """Adds the row of a cell."""
        if report.attempt(str(cell), lambda: self.values(cell)) is None:
            self.forget()

    def values(self, cell: Cell) -> dict[str, Any]:
        """Median seconds, peak bytes, and the share of the matrix products' rate."""
        device = self.setting.device
        set_tf32(allowed=cell.precision == "tf32")
        if cell.mode in MODES:
            prepare_compiler()
        flops = self._flops(cell)  # first: its step holds the frozen weights otherwise
        started = time.perf_counter()
        step = self.step(cell)
        for _ in range(1 if self.setting.tiny else 3):
            step()
        synchronize(device)
        warm_seconds = time.perf_counter() - started
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(2 if self.setting.tiny else 10):
            before = time.perf_counter()
            step()
            synchronize(device)
            seconds.append(time.perf_counter() - before)
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
        middle, rate = statistics.median(seconds), self.rates[cell.precision]
        tflops = flops / middle / 1e12
        return {
            "seconds": middle,
            "least_seconds": min(seconds),
            "most_seconds": max(seconds),
            "warm_up_seconds": warm_seconds,
            "peak_bytes": peak,
            "tflop": flops / 1e12,
            "tflops": tflops,
            "share_of_product_rate": tflops / rate if rate else None,
        }

    def peak_bytes(self, batch: int) -> int:
        """The allocator's peak over one step of `batch` clips in bf16."""
        step = self.step(Cell(self.preset, "bf16", "eager", batch))
        step()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()

    def forget(self) -> None:
        """Frees what a failed step has left behind."""
        if self._model is not None:
            self._model.zero_grad(set_to_none=True)
        if self.setting.device == "cuda":
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Frees the model."""
        self._model = None
        self.forget()

    def _flops(self, cell: Cell) -> float:
        """Operations of one step's products, counted on one clip; the naive side is held to the same."""
        if self._flops_a_clip is None:
            set_tf32(allowed=False)
            step = self.step(Cell(self.preset, "fp32", "eager", 1))
            with CountedOperations() as counter:
                step()
            self._flops_a_clip = float(counter.total)
            set_tf32(allowed=cell.precision == "tf32")
        return self._flops_a_clip * cell.batch

    def _hold_frozen(self, cell: Cell) -> None:
        """Hold frozen weights as training does; the naive side casts them in every pass."""
        for tensor in self.model.frozen_tensors().values():
            tensor.data = tensor.data.float()
        if cell.precision == "bf16" and cell.side != "naive":
            cast_frozen(self.model, torch.bfloat16, keep=False)

    def step(self, cell: Cell) -> Callable[[], None]:
        """A training step: forward pass, a stand-in for the loss, backward pass, Adam."""
        model, device = self.model, self.setting.device
        self._hold_frozen(cell)
        inputs = make_inputs(model.config, cell.batch, device)
        trained = [p for p in model.parameters() if p.requires_grad]
        fused = device == "cuda" and cell.side != "naive"
        optimizer = torch.optim.Adam(trained, lr=1e-6, betas=(0.95, 0.999), fused=fused or None)

        def forward() -> torch.Tensor:
            with torch.autocast(device, torch.bfloat16, enabled=cell.precision == "bf16"):
                outputs = naive_forward(model, **inputs) if cell.side == "naive" else model(**inputs)
            return torch.stack([output.float().square().mean() for output in outputs.values()]).sum()

        run: Callable[[], torch.Tensor] = forward
        if cell.mode in MODES:
            # Without a GPU the graph is made, and run as it is: what a CPU compiles says nothing of one.
            options = compiler_options(graphs=MODES[cell.mode] == "graphs")
            chosen = options if device == "cuda" else {"backend": "aot_eager"}
            run = torch.compile(forward, dynamic=False, **chosen)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            run().backward()
            optimizer.step()

        return step


class CountedOperations(TorchDispatchMode):
    """Floating-point operations of products, by torch's own formulas, the backward pass included.

    torch's `FlopCounterMode` follows modules with hooks, which a gradient inside a gradient does not allow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def _product(setting: Setting, precision: str) -> dict[str, Any]:
    """The rate of a large product of random matrices."""
    side, device = PRODUCT_SIDE[setting.device], setting.device
    set_tf32(allowed=precision == "tf32")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(3 if setting.tiny else 13):
        started = time.perf_counter()
        a @ b
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    middle = statistics.median(seconds[len(seconds) // 4 :])
    return {"tflops": 2 * side**3 / middle / 1e12, "side": side}
