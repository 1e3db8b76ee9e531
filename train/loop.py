"""`stgcma train`: adapters and head on streamed shards, the backbone frozen."""

from __future__ import annotations

import math
import platform
import resource
import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from ..console import message, progress
from ..errors import InputError, StgcmaError
from ..model import STGCMA, build_model, save_checkpoint
from ..model.noise import Part, set_parts
from ..shards.storage import Location, absolute
from ..versions import git_revision, package_versions
from .config import OptimConfig, RunConfig, architecture, check_schedule
from .data import Batch, ClipDataset, batches, open_task
from .distributed import SharedBatchNorm, World, share_batch_norms, world
from .evaluation import score
from .loading import LOADER_PROCESSES, open_clips, scoring_batches, stream_shape, training_batches
from .memory import clips_at_a_time, memory_explained, training_advice
from .objective import Objective, set_tf32
from .order import Shares
from .record import Record
from .run_folder import SUMMARY, RunFolder
from .schedule import learning_rate
from .state import Progress, load_state, save_state
from .stopping import StopSignals
from .tasks.base import Task
from .trained import trained_on
from .workers import lost_workers_named


@dataclass(frozen=True)
class TrainSummary:
    """What a training run came to. The score is the task's, a share, on the selection split."""

    epochs: int
    best_epoch: int
    best_score: float
    score_name: str
    trainable_parameters: int
    total_parameters: int
    items_per_second: float
    peak_memory_bytes: int
    seconds: float


def train(
    shards: Location, run_path: Path, config: RunConfig, *, overwrite: bool = False, resume: bool = False
) -> TrainSummary:
    """Trains on `shards` as `config` says; everything it makes lies in the run folder.

    With `resume`, a run that stopped goes on as if it had not; a finished one is left as it is. Under
    `torchrun`, every process takes its share of each step.

    Raises InputError for shards, settings or a run folder that do not fit; StgcmaError when the loss is not
    finite or memory runs out; KeyboardInterrupt or SystemExit after a signal, the state being saved.
    """
    task = open_task(shards)
    if task.name != config.task:
        raise InputError(f"{shards} is made for {task.name}, preset {config.preset} trains {config.task}")
    with world() as here:
        shares = _shares(config, here)
        stream = stream_shape(config.data, here)
        run = RunFolder(run_path)

        def check() -> None:
            if resume:
                run.check_resumable(config, task.info.data_fingerprint, stream=stream)
            else:
                run.check_free(overwrite=overwrite)

        here.lead(check)
        finished = resume and (run.path / SUMMARY).is_file()
        here.check_alike([float(finished)], "different summaries")
        if finished:
            if here.leads:
                message(f"{run_path} is finished already")
            return _read_summary(run)
        check_schedule(config.optim)
        set_tf32(allowed=config.train.tf32)
        if here.leads and config.model.get("weights") == "timm":
            message("the backbone's published weights, from timm's cache or the network")
        model = _build(task, config)
        with _memory_explained(config, model, here):
            model.to(here.device)
        training = open_clips(shards, "train", task, config.data, model.config, seed=config.train.seed)
        selection = open_clips(shards, config.train.select_on, task, config.data, model.config)
        model.trained_on = trained_on(
            task.info,
            config,
            fbank=training.fbank,
            normalisation=training.normalisation,
            clip_seconds=training.usual_seconds,
        )

        def begin() -> None:
            if not (resume and run.holds_run()):
                # Not before all is there: what cannot be trained leaves no folder, and takes no old run away.
                RunFolder.create(run_path, overwrite=overwrite)
            run.write_config(config)
            run.write_dataset(task.info)
            about = {
                "shards": absolute(shards),
                "data_fingerprint": task.info.data_fingerprint,
                "clip_seconds": training.usual_seconds,
                "processes": here.size,
            }
            streamed = {} if stream is None else {"stream": stream}
            run.write_json("run.json", about | streamed | _about(model))

        here.lead(begin)
        with closing(training), closing(selection), _memory_explained(config, model, here):
            stream_workers = None if stream is None else stream[LOADER_PROCESSES]
            trainer = _Trainer(model, task, config, run, training, selection, here, shares, stream_workers)
            return trainer.fit()


def _read_summary(run: RunFolder) -> TrainSummary:
    """The summary of a finished run; JSON has no word for a score of nothing, which is null in the file."""
    content = run.read_json(SUMMARY, texts=("score_name",))
    if content.keys() != TrainSummary.__dataclass_fields__.keys():
        raise InputError(f"{run.path / SUMMARY} is not the summary of a run; it holds other fields")
    if content["best_score"] is None:
        content["best_score"] = math.nan
    return TrainSummary(**content)


def _shares(config: RunConfig, here: World) -> Shares:
    own = config.train.accumulate
    if config.optim.batch_size < own * here.size:
        raise InputError(
            f"optim.batch_size is {config.optim.batch_size}, too few clips for {here.size} processes with "
            f"train.accumulate={own}; at least {own * here.size} are needed"
        )
    return Shares(total=own * here.size, first=own * here.rank, own=own)


def _build(task: Task, config: RunConfig) -> STGCMA:
    torch.manual_seed(config.train.seed)
    options = task.model_options() | {"checkpointing": config.train.checkpointing} | architecture(config)
    return build_model(config.preset, config.model.get("weights") or "random", **options)


def _memory_explained(config: RunConfig, model: STGCMA, here: World) -> AbstractContextManager[None]:
    doing = f"with {clips_at_a_time(config, here.size)} clips at a time"
    return memory_explained(
        doing, here.device, lambda: training_advice(config, model.config, here.device, here.size)
    )


class _Trainer:
    """The state of one run, and its steps."""

    def __init__(
        self,
        model: STGCMA,
        task: Task,
        config: RunConfig,
        run: RunFolder,
        training: ClipDataset,
        selection: ClipDataset,
        here: World,
        shares: Shares,
        stream_workers: int | None,
    ) -> None:
        self.model, self.task, self.config, self.run, self.here = model, task, config, run, here
        self.shares = shares
        one_question = task.several_questions and config.data.questions == "one"
        self.order, self.loader = training_batches(
            training,
            config,
            rank=here.rank,
            shares=shares,
            questions=training.question_counts() if one_question else None,
            stream_workers=stream_workers,
        )
        self.scoring_order, self.scoring = scoring_batches(
            selection,
            config,
            batch_size=-(-config.optim.batch_size // here.size),
            rank=here.rank,
            world=here.size,
        )
        self.optimizer = make_optimizer(model, config.optim)
        self.scaler = GradScaler(here.device.type, enabled=config.train.precision == "fp16")
        self.norms: list[SharedBatchNorm] = share_batch_norms(model) if here.shared else []
        if config.train.compile:
            model.compile()
        self.objective = Objective(model, task, config.loss, config.train.precision)
        self.stepped: nn.Module = self.objective
        if here.shared:
            devices = [here.device] if here.device.type == "cuda" else None
            self.stepped = nn.parallel.DistributedDataParallel(
                self.objective, device_ids=devices, broadcast_buffers=False
            )
        self.now = Progress()
        self.record: Record

    def fit(self) -> TrainSummary:
        """Runs the epochs that are left, keeping the newest checkpoint and the best one."""
        if self.run.state.is_file():
            self.now = load_state(self.run.state, self.model, self.optimizer, self.scaler)
        self.here.check_alike([float(self.now.epoch), float(self.now.step)], "different states")
        if self.here.leads:
            self.run.rewind(step=self.now.step, epoch=self.now.epoch)
        self.started = time.monotonic() - self.now.seconds
        epochs = self.config.optim.epochs
        self.record = Record(self.run, step=self.now.step, kept=self.here.leads)
        with lost_workers_named(), StopSignals() as signals, progress("clips", shown=self.here.leads) as bar:
            self.signals, self.bar = signals, bar
            try:
                while self.now.epoch < epochs:
                    self._epoch(f"epoch {self.now.epoch + 1}/{epochs}")
            finally:
                self.record.close()
            summary = self._finish()
            if stopped := self._stop_signal():
                signals.leave(stopped)
        return summary

    def _finish(self) -> TrainSummary:
        counts = _about(self.model)
        summary = TrainSummary(
            epochs=self.config.optim.epochs,
            best_epoch=self.now.best_epoch,
            best_score=self.now.best_score,
            score_name=self.task.score_name,
            trainable_parameters=counts["trainable_parameters"],
            total_parameters=counts["total_parameters"],
            items_per_second=self.order.items * self.config.optim.epochs / self.now.training_seconds,
            peak_memory_bytes=_peak_memory_bytes(self.here.device),
            seconds=time.monotonic() - self.started,
        )
        if self.here.leads:
            self.run.write_json(SUMMARY, asdict(summary))
        self.here.wait()
        return summary

    def _epoch(self, name: str) -> None:
        row = self.bar.add_task(name, total=self.order.items, note="")
        self.bar.update(row, completed=self.now.batch * self.config.optim.batch_size)
        self._train_epoch(row)
        if stopped := self._stop_signal():
            self._save()
            self._stop(stopped)
        self.scoring_order.start_at(self.now.epoch)
        meter = score(self.model, self.task, self.scoring, self.here, self.config.train.precision)
        loss, scores = self._keep(meter.score())
        self.bar.update(row, note=scores)  # what a line of 80 columns has room for
        if self.here.leads and not self.bar.console.is_terminal:
            message(f"{name}: {loss} · {scores}")

    def _train_epoch(self, row: Any) -> None:
        self.model.train()
        self.order.start_at(self.now.epoch, self.now.batch)
        before = time.monotonic()
        parts: list[Batch] = []
        for batch in batches(self.loader):
            parts.append(batch)
            if len(parts) < self.shares.own:
                continue
            stopped = self._step(parts, row)
            parts = []
            if stopped or self.now.step % self.config.train.save_every_steps == 0:
                self.now.training_seconds += time.monotonic() - before
                before = time.monotonic()
                self._save()
            if stopped:
                self._stop(stopped)
        self.now.training_seconds += time.monotonic() - before

    def _step(self, parts: list[Batch], row: Any) -> int:
        """One optimiser step on this process's parts of a batch. Returns the signal to stop for, or 0."""
        totals, offsets, stop = self._gather(parts)
        rates = self._set_learning_rates()
        self.optimizer.zero_grad(set_to_none=True)
        seed = _noise_seed(self.config.train.seed, self.now.step)
        names = [*self.task.weights(self.config.loss), "score"]
        sums = dict.fromkeys(names, 0.0)
        for index, (part, first_question) in enumerate(zip(parts, offsets, strict=True)):
            last = index == len(parts) - 1
            wait = nullcontext() if last or not self.here.shared else self.stepped.no_sync()  # type: ignore[operator]
            with wait:
                terms = self._differentiate(part.to(self.here.device), first_question, totals, seed)
            for name, value in terms.items():
                sums[name] += value
        gathered = dict(zip(names, self.here.gather([sums[name] for name in names]).sum(0), strict=True))
        loss = self._mean_loss(gathered, totals)
        norm = self._update(loss, parts)
        keys = self.here.gather_texts([key for part in parts if part.weight.any() for key in part.keys])
        self._note(loss, norm, rates, gathered, totals, keys, row)
        return stop

    def _gather(self, parts: list[Batch]) -> tuple[dict[str, float], list[Part | None], int]:
        """What the whole batch counts, where this process's questions lie in it, and the signal to stop."""
        names = [*self.task.weights(self.config.loss), "score"]
        counts = [self.task.counts(part.targets, part.weight) for part in parts]
        questions = [
            float(len(part.targets["owner"])) if "owner" in part.targets and part.weight.any() else 0.0
            for part in parts
        ]
        own = [sum(count[name] for count in counts) for name in names]
        everybody = self.here.gather([float(self.signals.received or 0), *own, *questions])
        totals = dict(zip(names, everybody[:, 1 : 1 + len(names)].sum(0).tolist(), strict=True))
        asked = everybody[:, 1 + len(names) :].ravel()
        starts = (np.cumsum(asked) - asked)[self.shares.first : self.shares.first + self.shares.own]
        total = int(asked.sum())
        offsets = [
            Part(int(start), int(own), total) if own else None
            for start, own in zip(starts, questions, strict=True)
        ]
        return totals, offsets, int(everybody[:, 0].max())

    def _differentiate(
        self, part: Batch, questions: Part | None, totals: dict[str, float], seed: int
    ) -> dict[str, float]:
        """Adds the gradients of a part of the batch. Returns its sums of losses and score."""
        torch.manual_seed(seed)  # of every part alike: each draws the whole batch's noise and takes its own
        if self.shares.total > 1:
            set_parts(self.model, clips=part.part, questions=questions)
        for norm in self.norms:
            norm.counted = bool(part.weight.any())
        terms = self.stepped(part.inputs, part.targets, part.weight)
        loss: Tensor = self.objective.total(terms.losses, totals)
        # The processes' gradients are averaged, but a batch's are to be summed.
        self.scaler.scale(loss * self.here.size).backward()  # type: ignore[no-untyped-call]
        return {name: float(value.detach()) for name, value in {**terms.losses, "score": terms.score}.items()}

    def _mean_loss(self, sums: dict[str, float], totals: dict[str, float]) -> float:
        weights = self.task.weights(self.config.loss)
        return float(sum(weight * sums[name] / max(totals[name], 1.0) for name, weight in weights.items()))

    def _update(self, loss: float, parts: list[Batch]) -> float:
        """Lets the optimiser step, unless a number is not finite. Returns the norm of the gradient."""
        self.scaler.unscale_(self.optimizer)
        gradients = [
            parameter.grad
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        norm = float(nn.utils.get_total_norm(gradients))
        # In fp16 a gradient may overflow: the scaler leaves the step out and lowers its scale.
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.scaler.is_enabled()):
            keys = self.here.gather_texts([key for part in parts for key in part.keys])
            what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient is {norm}"
            raise StgcmaError(
                f"{what} at step {self.now.step + 1}, on the clips {', '.join(keys)}; {self._how_to_go_on()}"
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def _how_to_go_on(self) -> str:
        if self.run.state.is_file():
            return f"the last good state is in {self.run.state}"
        return "no state had been saved yet"

    def _set_learning_rates(self) -> dict[str, float]:
        optim = self.config.optim
        rates = {}
        for group in self.optimizer.param_groups:
            group["lr"] = rates[f"{group['name']}_lr"] = learning_rate(
                self.now.step,
                peak=group["peak_lr"],
                minimum=optim.minimal_lr,
                warmup_steps=self.order.steps_until(optim.warmup_epochs),
                total_steps=self.order.steps_until(optim.epochs),
            )
        return rates

    def _note(
        self,
        loss: float,
        norm: float,
        rates: dict[str, float],
        sums: dict[str, float],
        totals: dict[str, float],
        keys: list[str],
        row: Any,
    ) -> None:
        self.now.step += 1
        self.now.batch += 1
        for name, value in sums.items():
            self.now.sums[name] = self.now.sums.get(name, 0.0) + float(value)
            self.now.sums[f"{name} count"] = self.now.sums.get(f"{name} count", 0.0) + totals[name]
        scalars = {"loss": loss, "gradient_norm": norm, **rates}
        line = {"step": self.now.step, "epoch": self.now.epoch + 1, **scalars, "clips": keys}
        self.record.step(line, scalars=scalars)
        done = min(self.now.batch * self.config.optim.batch_size, self.order.items)
        self.bar.update(row, completed=done, note=f"loss {loss:.3f} · lr {rates['adapter_lr']:.1e}")

    def _keep(self, chosen: float) -> tuple[str, str]:
        """Notes the epoch, keeps its weights, and begins the next. Returns what to tell: loss and scores."""
        now, split, name = self.now, self.config.train.select_on, self.task.score_name
        counts = {
            key.removesuffix(" count"): value for key, value in now.sums.items() if key.endswith(" count")
        }
        loss = self._mean_loss(now.sums, counts)
        trained = now.sums["score"] / max(counts["score"], 1.0)
        scalars = {"loss": loss, f"train_{name}": trained, f"{split}_{name}": chosen}
        rates = {f"{group['name']}_lr": group["lr"] for group in self.optimizer.param_groups}
        self.record.epoch({"epoch": now.epoch + 1, "step": now.step, **scalars, **rates}, scalars=scalars)
        if self.here.leads:
            save_checkpoint(self.model, self.run.last, backbone_folder=self.run.path)
        if now.best_epoch == 0 or chosen > now.best_score:
            now.best_epoch, now.best_score = now.epoch + 1, chosen
            if self.here.leads:
                save_checkpoint(self.model, self.run.best, backbone_folder=self.run.path)
        now.epoch, now.batch, now.sums = now.epoch + 1, 0, {}
        self._save()
        return f"loss {loss:.3f}", f"train {trained:.1%} · {split} {chosen:.1%}"

    def _save(self) -> None:
        self.now.seconds = time.monotonic() - self.started
        if self.here.leads:
            save_state(self.run.state, self.now, self.model, self.optimizer, self.scaler)

    def _stop_signal(self) -> int:
        """The signal that any of the processes received, or 0."""
        return int(self.here.gather([float(self.signals.received or 0)]).max())

    def _stop(self, number: int) -> None:
        if self.here.leads:
            message(
                f"stgcma: stopped at step {self.now.step}, everything is saved; "
                f"the same command with --resume goes on from here"
            )
        self.here.wait()
        self.signals.leave(number)


def make_optimizer(model: STGCMA, optim: OptimConfig) -> torch.optim.Adam:
    """Adam with the model's two parameter groups, each with the peak of its learning rate."""
    peaks = {"adapter": optim.adapter_lr, "head": optim.task_lr}
    groups = [
        {"params": list(parameters.values()), "name": name, "peak_lr": peaks[name]}
        for name, parameters in model.parameter_groups().items()
    ]
    return torch.optim.Adam(groups, lr=0.0, betas=optim.betas, weight_decay=optim.weight_decay)


def _noise_seed(seed: int, step: int) -> int:
    return int(np.random.default_rng([seed, step]).integers(2**63))


def _about(model: STGCMA) -> dict[str, Any]:
    packages = ("torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "webdataset")
    return {
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "total_parameters": sum(p.numel() for p in model.parameters()),
        "backbone": model.backbone_source,
        "versions": {"python": platform.python_version()} | package_versions(*packages),
        "git_revision": git_revision(),
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def _peak_memory_bytes(device: torch.device) -> int:
    """The most memory this process held: of the GPU when there is one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
