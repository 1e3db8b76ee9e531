"""The epochs of a training: steps, scoring, selection of the best epoch, saving and stopping."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial

from rich.progress import TaskID
from torch.amp.grad_scaler import GradScaler

from ..console import message, progress
from ..figures import percent
from ..model import STGCMA, save_checkpoint
from .automatic import IdleTime, idle_time, waiting_note
from .batch import Batch, batches
from .config import RunConfig
from .data import ClipDataset
from .distributed import ProcessGroup
from .evaluation import score
from .loading import scoring_batches, training_batches
from .memory import peak_bytes, reset_peak
from .optim import learning_rates, make_optimizer, set_learning_rates
from .order import MicroBatches
from .pace import Pace
from .run_folder import SUMMARY, RunFolder
from .run_records import RecordWriter
from .state import Progress, load_state, save_state
from .step import OptimizerStep, PendingStep
from .stopping import StopSignals
from .tasks.base import Meter, Task
from .totals import Totals
from .tracking import DrawClips, open_tracking
from .workers import lost_workers_named


@dataclass(frozen=True)
class TrainSummary:
    """The summary of a training run.

    Attributes:
        epochs: trained.
        best_epoch: the epoch with the best score on the selection split, counted from 1.
        best_score: of that epoch, a share in [0, 1]; NaN when the split has nothing to score.
        score_name: of the task's score, such as `accuracy`.
        trainable_parameters: number of trained values.
        total_parameters: number of all values.
        items_per_second: clips (with `data.questions=one`: questions) per second, without scoring.
        peak_memory_bytes: of the GPU, else resident memory.
        seconds: in all.
    """

    epochs: int
    best_epoch: int
    best_score: float
    score_name: str
    trainable_parameters: int
    total_parameters: int
    items_per_second: float
    peak_memory_bytes: int
    seconds: float


@dataclass(frozen=True)
class _StepRecord:
    """A step whose numbers were not read yet: its place in the run and the learning rates it had.

    Attributes:
        row: of the progress bar.
        step, epoch, batch: counted from 1.
    """

    pending: PendingStep
    row: TaskID
    step: int
    epoch: int
    batch: int
    rates: dict[str, float]


class Trainer:
    """One run: its state, and the loop over epochs and steps.

    Args:
        model: on the device of `group`.
        run: a run folder that was created.
        training: clips of the training split.
        selection: clips of the split whose score selects the best epoch.
        stream_workers: loader processes of a stream, as `training_batches` takes them.
        draw: draws predictions for trackers that show pictures.
    """

    def __init__(
        self,
        model: STGCMA,
        task: Task,
        config: RunConfig,
        run: RunFolder,
        *,
        training: ClipDataset,
        selection: ClipDataset,
        group: ProcessGroup,
        micro_batches: MicroBatches,
        stream_workers: int | None,
        draw: DrawClips | None = None,
    ) -> None:
        self._model, self._task, self._config, self._run, self.group = model, task, config, run, group
        self._micro_batches = micro_batches
        self._selection, self._draw = selection, draw
        question_items = task.several_questions and config.data.questions == "one"
        self._order, self._loader = training_batches(
            training,
            config,
            rank=group.rank,
            micro_batches=micro_batches,
            questions=training.question_counts() if question_items else None,
            stream_workers=stream_workers,
        )
        self._scoring_order, self._scoring_loader = scoring_batches(
            selection,
            config,
            batch_size=-(-config.optim.batch_size // group.size),
            rank=group.rank,
            world_size=group.size,
        )
        self._optimizer = make_optimizer(model, config.optim)
        self._scaler = GradScaler(group.device.type, enabled=config.train.precision == "fp16")
        self._optimizer_step = OptimizerStep(
            model,
            task,
            config,
            group,
            micro_batches,
            optimizer=self._optimizer,
            scaler=self._scaler,
            key_of=lambda clip: training.places[clip].key,
            state_path=run.state,
        )
        self._signals = StopSignals()
        self._unread: _StepRecord | None = None  # of the last step, on a GPU
        self.progress = Progress()

    def fit(self) -> TrainSummary:
        """Train the remaining epochs; the run folder then holds the newest and the best checkpoint."""
        reset_peak(self.group.device)
        self._restore()
        epochs = self._config.optim.epochs
        self._started = time.monotonic() - self.progress.seconds
        self._pace = Pace(scoring_seconds=self.progress.scoring_seconds)
        self._tracking = None
        if self.group.is_main:
            self._tracking = open_tracking(
                self._config, self._run.path, step=self.progress.step, device=self.group.device
            )
        self._records = RecordWriter(self._run.records, self._tracking)
        with lost_workers_named(), self._signals, progress("clips", shown=self.group.is_main) as self._bar:
            try:
                while self.progress.epoch < epochs:
                    self._epoch(f"epoch {self.progress.epoch + 1}/{epochs}")
            finally:
                if self._tracking is not None:
                    self._tracking.close(finished=self.progress.epoch >= epochs)
            summary = self._write_summary()
            if signal := self._stop_signal():
                self._signals.leave(signal)
        return summary

    def _restore(self) -> None:
        """Load the state, if there is one, and remove the records of later steps."""
        if self._run.state.is_file():
            self.progress = load_state(self._run.state, self._model, self._optimizer, self._scaler)
        position = [float(self.progress.epoch), float(self.progress.step)]
        self.group.check_equal(position, "different states")
        if self.group.is_main:
            self._run.records.rewind(step=self.progress.step, epoch=self.progress.epoch)

    def _epoch(self, name: str) -> None:
        """Train one epoch, score it, and write its records, checkpoints and state."""
        is_whole = self.progress.batch == 0
        self._pace.begin_epoch()
        row = self._bar.add_task(name, total=self._order.items, note="")
        self._bar.update(row, completed=self.progress.batch * self._config.optim.batch_size)
        self._train_epoch(row)
        if signal := self._stop_signal():
            self._save_state()
            self._stop(signal)
        self._scoring_order.start_at(self.progress.epoch)
        meter = score(self._model, self._task, self._scoring_loader, self.group, self._config.train.precision)
        loss, scores = self._finish_epoch(meter)
        self._bar.update(row, note=scores)  # the loss would not fit into a line of 80 columns
        time_taken = self._pace.end_epoch(**self._left(), is_whole=is_whole)
        if self.group.is_main:
            if not self._bar.console.is_terminal:
                message(f"{name}: {loss} · {scores} · {time_taken}")
            elif self._pace.epochs == 1:  # the rows of the bars show the rest
                message(f"{name}: {time_taken}")

    def _left(self) -> dict[str, int]:
        """Return the steps of the run that are left, and the epochs that are not scored yet."""
        epochs, state = self._config.optim.epochs, self.progress
        return {
            "steps_left": self._order.steps_until(epochs) - state.step,
            "epochs_left": epochs - state.epoch,
        }

    def _train_epoch(self, row: TaskID) -> None:
        """Train the remaining steps of the epoch, saving the state every `train.save_every_steps` steps."""
        self._model.train()
        self._order.start_at(self.progress.epoch, self.progress.batch)
        before = time.monotonic()
        idle = idle_time(self.group.device)
        micro_batches: list[Batch] = []
        for batch in batches(self._loader):
            micro_batches.append(batch)
            if len(micro_batches) < self._micro_batches.count:
                continue
            if idle is not None:
                idle.begin_step()
            signal = self._step(micro_batches, row)
            if idle is not None:
                idle.end_step()
            micro_batches = []
            if signal or self.progress.step % self._config.train.save_every_steps == 0:
                self._read_step()
                self.progress.training_seconds += time.monotonic() - before
                before = time.monotonic()
                self._save_state()
            if signal:
                self._stop(signal)
        self._read_step()
        self.progress.training_seconds += time.monotonic() - before
        self._note_idle(idle)

    def _note_idle(self, idle: IdleTime | None) -> None:
        """After the first epoch, advise where the GPU waited for clips."""
        if idle is None or self.progress.epoch > 0 or not self.group.is_main:
            return
        if note := waiting_note(idle.share(), self._config.data):
            message(note)

    def _step(self, micro_batches: list[Batch], row: TaskID) -> int:
        """Do one optimiser step. Return the signal to stop for, or 0."""
        optim = self._config.optim
        set_learning_rates(
            self._optimizer,
            self.progress.step,
            minimum=optim.minimal_lr,
            warmup_steps=self._order.steps_until(optim.warmup_epochs),
            total_steps=self._order.steps_until(optim.epochs),
        )
        pending = self._optimizer_step.run(
            micro_batches, step=self.progress.step, stop_signal=self._signals.received or 0
        )
        self.progress.step += 1
        self.progress.batch += 1
        # The step before is read while the GPU computes this one.
        self._read_step()
        state, rates = self.progress, learning_rates(self._optimizer)
        self._unread = _StepRecord(pending, row, state.step, state.epoch + 1, state.batch, rates)
        if self._optimizer_step.waits:
            self._read_step()
        return pending.stop_signal

    def _read_step(self) -> None:
        """Write the row of the last step, and show its loss, unless that was done."""
        last, self._unread = self._unread, None
        if last is None:
            return
        result = last.pending.result()
        self.progress.totals.add(result.totals)
        scalars = {"loss": result.loss, "gradient_norm": result.gradient_norm, **last.rates}
        position = {"step": last.step, "epoch": last.epoch}
        self._records.step({**position, **scalars, "clips": result.clips}, scalars=scalars)
        done = min(last.batch * self._config.optim.batch_size, self._order.items)
        note = f"loss {result.loss:.3f} · lr {last.rates['adapter_lr']:.1e}"
        self._bar.update(last.row, completed=done, note=note)
        self._pace.count_step()
        if (forecast := self._pace.first_forecast(**self._left())) and self.group.is_main:
            message(forecast)

    def _finish_epoch(self, meter: Meter) -> tuple[str, str]:
        """Write the row and the checkpoints of the epoch, and begin the next.

        Return its loss and its scores as texts.
        """
        state, split, name = self.progress, self._config.train.select_on, self._task.score_name
        loss = state.totals.mean_loss(self._task.weights(self._config.loss))
        trained, selected = state.totals.mean_score(), meter.score()
        scores = {f"{split}_{metric}": value for metric, value in meter.scores().items()}
        training = self._task.training_score_name
        scalars = {"loss": loss, f"train_{training}": trained, f"{split}_{name}": selected, **scores}
        position = {"epoch": state.epoch + 1, "step": state.step}
        self._records.epoch({**position, **scalars, **learning_rates(self._optimizer)}, scalars=scalars)
        if self._tracking is not None and self._draw is not None:
            self._tracking.draw(partial(self._draw, self._model, self._selection), step=state.step)
        folders = [self._run.last]
        if state.best_epoch == 0 or selected > state.best_score:
            state.best_epoch, state.best_score = state.epoch + 1, selected
            folders.append(self._run.best)
        if self.group.is_main:
            for folder in folders:
                save_checkpoint(self._model, folder, backbone_folder=self._run.path)
        state.epoch, state.batch, state.totals = state.epoch + 1, 0, Totals()
        self._save_state()
        measure = "train" if training == name else f"train {training}"
        return f"loss {loss:.3f}", f"{measure} {percent(trained, 1)} · {split} {percent(selected, 1)}"

    def _write_summary(self) -> TrainSummary:
        trainable, total = count_parameters(self._model)
        epochs = self._config.optim.epochs
        summary = TrainSummary(
            epochs=epochs,
            best_epoch=self.progress.best_epoch,
            best_score=self.progress.best_score,
            score_name=self._task.score_name,
            trainable_parameters=trainable,
            total_parameters=total,
            items_per_second=self._order.items * epochs / self.progress.training_seconds,
            peak_memory_bytes=peak_bytes(self.group.device),
            seconds=time.monotonic() - self._started,
        )
        if self.group.is_main:
            self._run.write_json(SUMMARY, asdict(summary))
        self.group.barrier()
        return summary

    def _save_state(self) -> None:
        self.progress.seconds = time.monotonic() - self._started
        if self.group.is_main:
            save_state(self._run.state, self.progress, self._model, self._optimizer, self._scaler)

    def _stop_signal(self) -> int:
        """Return the signal that any process received, or 0."""
        return int(self.group.gather([float(self._signals.received or 0)]).max())

    def _stop(self, signal: int) -> None:
        """Leave the program as the signal would; the state has been saved."""
        if self.group.is_main:
            message(
                f"stgcma: stopped at step {self.progress.step}, everything is saved; "
                "the same command continues it; `train` and `run` need the option resume"
            )
        self.group.barrier()
        self._signals.leave(signal)


def count_parameters(model: STGCMA) -> tuple[int, int]:
    """Return the numbers of trained values and of all values of `model`."""
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trainable, sum(parameter.numel() for parameter in model.parameters())
