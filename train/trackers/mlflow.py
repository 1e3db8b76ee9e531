"""MLflow. MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME apply."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...figures import open_drawn
from .base import PROJECT, Entry, Scalars, TrackedRun, Tracker

# Limits of MLflow.
_MOST_METRICS, _MOST_PARAMS, _MOST_TEXT = 1000, 100, 6000


class Mlflow(Tracker):
    """A run of MLflow. Without MLFLOW_TRACKING_URI, its files lie in `RUN/trackers/mlflow`."""

    package = "mlflow"
    how = "pip install 'stgcma[mlflow]'"

    def start(self, run: TrackedRun, identity: str | None) -> str | None:
        from mlflow import MlflowClient

        place = os.environ.get("MLFLOW_TRACKING_URI") or _file_store(run.local / "mlflow")
        self._client: Any = MlflowClient(tracking_uri=place)
        if identity is not None:
            self._client.update_run(identity, status="RUNNING")
            self._run = identity
            return identity
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        number = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        self._run = self._client.create_run(number, run_name=run.name).info.run_id
        self._log_config(run.config)
        return self._run

    def _log_config(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, text[:_MOST_TEXT]) for name, text in _flat(config)]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._run, params=params[first : first + _MOST_PARAMS])

    def log(self, entries: Sequence[Entry]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, entry.step)
            for entry in entries
            if isinstance(entry, Scalars)
            for name, value in entry.values.items()
        ]
        for first in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._run, metrics=metrics[first : first + _MOST_METRICS])
        for entry in entries:
            if isinstance(entry, Scalars):
                continue
            for key, content in entry.images.items():
                picture = open_drawn(content)
                self._client.log_image(self._run, picture, f"predictions/{key}/{entry.step:08d}.png")

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")


def _file_store(folder: Path) -> str:
    """Return the address of a store of files, which needs no server and no database."""
    # MLflow 3 asks for this before it writes such a store.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return folder.resolve().as_uri()


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


TRACKER = Mlflow
