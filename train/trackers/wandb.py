"""Weights & Biases. Its own settings apply, such as WANDB_MODE, WANDB_PROJECT and WANDB_ENTITY."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .base import PROJECT, Entry, TrackedRun, Tracker, log_by_step

STEP = "step"
"""Name of the step among the values: W&B drops values of a step below the last one, as after a kill."""
_FINISH_SECONDS = 30.0
# Variable of W&B to the setting that it sets, and its value without the variable: the name of the host, and
# the paths, the user and the hardware of the machine are not sent.
_PRIVATE: dict[str, tuple[str, Any]] = {
    "WANDB_HOST": ("host", ""),
    "WANDB__DISABLE_META": ("x_disable_meta", True),
    "WANDB__DISABLE_MACHINE_INFO": ("x_disable_machine_info", True),
}


class Wandb(Tracker):
    """A run of W&B. Without WANDB_DIR, its files lie in `RUN/trackers/wandb`."""

    package = "wandb"
    how = "pip install 'stgcma[wandb]'"

    def start(self, run: TrackedRun, identity: str | None) -> str | None:
        import wandb

        run.local.mkdir(exist_ok=True)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=os.environ.get("WANDB_DIR", str(run.local)),
            name=run.name,
            id=identity,
            resume="allow",
            reinit="create_new",  # several runs may be trained in one process
            config=dict(run.config),
            # The output and the code of the program are not sent, nor its load: `system/…` has that.
            settings=wandb.Settings(
                silent=True,
                console="off",
                save_code=False,
                disable_git=True,
                x_disable_stats=True,
                login_timeout=1,
                finish_timeout=_FINISH_SECONDS,
                finish_timeout_raises=False,
                **dict(setting for name, setting in _PRIVATE.items() if name not in os.environ),
            ),
        )
        self._run.define_metric(STEP, hidden=True)
        self._run.define_metric("*", step_metric=STEP)
        found: str = self._run.id
        return found

    def log(self, entries: Sequence[Entry]) -> None:
        import wandb

        log_by_step(lambda values, step: self._run.log({**values, STEP: step}), entries, wandb.Image)

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


TRACKER = Wandb
