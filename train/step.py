"""One optimiser step: the gradients of all micro-batches of all processes, and the update of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from ..errors import StgcmaError
from ..model import STGCMA
from ..model.noise import BatchSlice, set_batch_slices
from .batch import Batch
from .compilation import compile_model
from .config import RunConfig
from .device_augmentation import DeviceAugmentation
from .distributed import ProcessGroup, share_batch_norms
from .objective import Objective
from .order import MicroBatches
from .tasks.base import Task
from .totals import Totals

_NO_CLIP = -1.0  # in place of the clips that a rank has fewer than another


@dataclass(frozen=True)
class StepResult:
    """The result of one optimiser step, equal on all ranks.

    Attributes:
        totals: over the clips of the step.
        loss: the weighted mean of the losses.
        gradient_norm: before the update; not finite where fp16 overflowed and the update was skipped.
        clips: keys of the step's clips, in the order of the ranks.
        stop_signal: the signal that a rank received before the step, or 0.
    """

    totals: Totals
    loss: float
    gradient_norm: float
    clips: list[str]
    stop_signal: int


@dataclass(frozen=True)
class _Scope:
    """The numbers that every rank must know of the whole step before it computes its micro-batches.

    Attributes:
        counts: name to the count of each loss over the step.
        scored: the count of the score over the step.
        questions: the slice of the step's questions of each micro-batch of this rank; None without questions.
        compiled: whether each micro-batch of this rank may be compiled.
        clips: keys of the step's clips, in the order of the ranks.
        stop_signal: the signal that a rank received, or 0.
    """

    counts: dict[str, float]
    scored: float
    questions: list[BatchSlice | None]
    compiled: list[bool]
    clips: list[str]
    stop_signal: int


class PendingStep:
    """A step whose numbers are on their way from the device.

    Args:
        numbers: `[n]` on the device.
        stop_signal: as in `StepResult`.
        finish: makes the result of the numbers; called once.
    """

    def __init__(
        self, numbers: Tensor, stop_signal: int, *, finish: Callable[[list[float]], StepResult]
    ) -> None:
        self.stop_signal = stop_signal
        self._finish = finish
        self._copy = numbers.to("cpu", non_blocking=True)
        self._copied: Any = None
        self._result: StepResult | None = None
        if numbers.device.type == "cuda":
            self._copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._copied.record()

    def result(self) -> StepResult:
        """Wait for the numbers. Raises StgcmaError when the loss or the gradient is not finite."""
        if self._result is None:
            if self._copied is not None:
                self._copied.synchronize()
            self._result = self._finish(self._copy.tolist())
        return self._result


class OptimizerStep:
    """One optimiser step over this process's micro-batches, together with the other processes.

    A batch gives the same gradient however it is divided: its losses are divided by the counts of the whole
    batch, and every micro-batch draws the noise of the whole batch and uses its rows.

    The numbers of a step are read from the device once. A fused optimiser, as on a GPU, skips the update by
    itself where they are not finite, so that nothing waits for them.

    Args:
        key_of: returns the key of a clip, of whatever rank, by its index in the split.
        state_path: of the run's state file, for the message about a loss that is not finite.
    """

    def __init__(
        self,
        model: STGCMA,
        task: Task,
        config: RunConfig,
        group: ProcessGroup,
        micro_batches: MicroBatches,
        *,
        optimizer: torch.optim.Optimizer,
        scaler: GradScaler,
        key_of: Callable[[int], str],
        state_path: Path,
    ) -> None:
        self._model, self._task, self._group, self._micro_batches = model, task, group, micro_batches
        self._optimizer, self._scaler, self._state_path = optimizer, scaler, state_path
        self._key_of = key_of
        self._clips_each = micro_batches.count * -(-config.optim.batch_size // micro_batches.total)
        self._seed = config.train.seed
        self._weights = task.weights(config.loss)
        self._summed = task.summed_losses(config.loss)
        self._norms = share_batch_norms(model) if group.is_distributed else []
        self._compiled = compile_model(model, config, group)
        self._batch_size = config.optim.batch_size
        self._augment = DeviceAugmentation(model.config.backbone)
        self._objective = Objective(model, task, config.loss, config.train.precision)
        self._module: nn.Module = self._objective
        if group.is_distributed:
            devices = [group.device] if group.device.type == "cuda" else None
            self._module = nn.parallel.DistributedDataParallel(
                self._objective, device_ids=devices, broadcast_buffers=False
            )

    @property
    def waits(self) -> bool:
        """True where the numbers must be read before the weights can be updated."""
        return not all(group.get("fused") for group in self._optimizer.param_groups)

    def run(self, batches: list[Batch], *, step: int, stop_signal: int) -> PendingStep:
        """Compute the gradients of `batches` and update the weights, unless a number is not finite.

        Args:
            batches: the micro-batches of this process, on the CPU.
            step: optimiser steps before this one.
            stop_signal: the signal that this process received, or 0.

        Raises StgcmaError when the loss or the gradient is not finite and `waits`; else `PendingStep.result`
        raises it.
        """
        scope = self._exchange(batches, stop_signal)
        self._optimizer.zero_grad(set_to_none=True)
        seed = _noise_seed(self._seed, step)
        sums: Tensor | None = None
        for index, (batch, questions) in enumerate(zip(batches, scope.questions, strict=True)):
            is_last = index == len(batches) - 1
            # The processes average their gradients once, in the backward pass of the last micro-batch.
            unsynced = self._group.is_distributed and not is_last
            if self._compiled is not None:
                self._compiled.in_training = scope.compiled[index]
            with self._module.no_sync() if unsynced else nullcontext():  # type: ignore[operator]
                terms = self._backward(batch.to(self._group.device), questions, scope.counts, seed)
            sums = terms if sums is None else sums + terms
        if sums is None:
            raise ValueError("a step has no micro-batches")
        numbers = torch.cat([self._group.sum_tensor(sums), self._gradient_norm()])
        pending = PendingStep(
            numbers, scope.stop_signal, finish=lambda values: self._result(values, scope, step)
        )
        if self.waits:
            pending.result()
            self._update()
        else:
            self._update(finite=numbers[1:].isfinite().all())  # the losses and the norm
        return pending

    def _result(self, values: list[float], scope: _Scope, step: int) -> StepResult:
        """Return the result of the numbers of a step. Raises StgcmaError when they are not finite."""
        score, *losses, norm = values
        totals = Totals(dict(zip(self._weights, losses, strict=True)), scope.counts, score, scope.scored)
        loss = totals.mean_loss(self._weights)
        # In fp16 a gradient may overflow: the scaler skips the update and lowers its scale.
        if not math.isfinite(loss) or not (math.isfinite(norm) or self._scaler.is_enabled()):
            what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient is {norm}"
            clips = ", ".join(scope.clips)
            raise StgcmaError(f"{what} at step {step + 1}, on the clips {clips}; {self._advice()}")
        return StepResult(totals, loss, norm, scope.clips, scope.stop_signal)

    def _exchange(self, batches: list[Batch], stop_signal: int) -> _Scope:
        """Exchange counts, numbers of questions, clips and signals with the other processes, all at once."""
        names = [*self._weights, "score"]
        counted = [self._task.counts(batch.targets, batch.weight) for batch in batches]
        questions = [_question_count(batch) for batch in batches]
        compiled = [self._has_usual_size(batch) for batch in batches]
        clips = [clip for batch in batches if not batch.is_padding for clip in batch.clips]
        rows = self._group.gather(
            [
                float(stop_signal),
                *(sum(count[name] for count in counted) for name in names),
                *map(float, questions),
                *map(float, compiled),
                *map(float, clips),
                *[_NO_CLIP] * (self._clips_each - len(clips)),
            ]
        )
        ends = np.cumsum([1, len(names), len(questions), len(compiled)])
        signals, counts, asked, usual, taken = np.split(rows, ends, axis=1)
        *of_losses, scored = counts.sum(0).tolist()
        summed = dict.fromkeys(self._summed, 1.0)
        return _Scope(
            counts=dict(zip(self._weights, of_losses, strict=True)) | summed,
            scored=scored,
            questions=self._question_slices(questions, [int(count) for count in asked.ravel()]),
            # Passes that sum over the processes do so in the same order.
            compiled=[bool(flags.all()) for flags in usual.T],
            clips=[self._key_of(int(clip)) for clip in taken.ravel() if clip != _NO_CLIP],
            stop_signal=int(signals.max()),
        )

    def _has_usual_size(self, batch: Batch) -> bool:
        """Return True for a batch of the usual size in a whole step, whose noise has a size as well."""
        whole = batch.batch_slice.total == self._batch_size and not batch.is_padding
        return whole and self._compiled is not None and self._compiled.has_usual_size(batch.inputs)

    def _question_slices(self, local: list[int], all_counts: list[int]) -> list[BatchSlice | None]:
        """Return the slices of this process's micro-batches.

        `local` and `all_counts` count the questions of its micro-batches, and of those of all processes.
        """
        total, first = sum(all_counts), sum(all_counts[: self._micro_batches.first])
        slices: list[BatchSlice | None] = []
        for count in local:
            slices.append(BatchSlice(first, count, total) if count else None)
            first += count
        return slices

    def _backward(
        self, batch: Batch, questions: BatchSlice | None, counts: dict[str, float], seed: int
    ) -> Tensor:
        """Add the gradients of a micro-batch. Return its score and the sums of its losses, float64."""
        torch.manual_seed(seed)  # the same for every micro-batch: each draws the noise of the whole batch
        if self._micro_batches.total > 1:
            set_batch_slices(self._model, clips=batch.batch_slice, questions=questions)
        for norm in self._norms:
            norm.is_counted = not batch.is_padding
        inputs = batch.inputs
        if batch.draws:
            inputs = {**inputs, "video": self._augment(inputs["video"], batch.draws)}
        terms = self._module(inputs, batch.targets, batch.weight)
        loss: Tensor = self._objective.total(terms.losses, counts)
        # DistributedDataParallel averages the gradients of the processes; those of a batch are summed.
        self._scaler.scale(loss * self._group.size).backward()  # type: ignore[no-untyped-call]
        zero = torch.zeros_like(terms.score)
        sums = [terms.score, *(terms.losses.get(name, zero) for name in self._weights)]
        return torch.stack([value.detach().double() for value in sums])

    def _gradient_norm(self) -> Tensor:
        """Return the norm of the gradient, `[1]` float64, after taking fp16's scale out of it."""
        self._scaler.unscale_(self._optimizer)
        gradients = [
            parameter.grad
            for parameters in self._optimizer.param_groups
            for parameter in parameters["params"]
            if parameter.grad is not None
        ]
        return nn.utils.get_total_norm(gradients).double().reshape(1)

    def _update(self, *, finite: Tensor | None = None) -> None:
        """Update the weights; with a fused optimiser only where `finite`, a scalar on the device, is true."""
        optimizer: Any = self._optimizer
        if finite is not None and not self._scaler.is_enabled():
            # As a GradScaler passes it: the kernel leaves the weights and its own state alone.
            optimizer.found_inf = (~finite).float()
        try:
            self._scaler.step(optimizer)
        finally:
            vars(optimizer).pop("found_inf", None)
        self._scaler.update()

    def _advice(self) -> str:
        if self._state_path.is_file():
            return f"the last good state is in {self._state_path}"
        return "no state had been saved yet"


def _noise_seed(seed: int, step: int) -> int:
    return int(np.random.default_rng([seed, step]).integers(2**63))


def _question_count(batch: Batch) -> int:
    """Return the number of questions that count, 0 for a task without questions."""
    return 0 if batch.is_padding or "owner" not in batch.targets else len(batch.targets["owner"])
