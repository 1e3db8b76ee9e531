"""The files of a run folder.

RUN/config.yaml          the resolved configuration
RUN/dataset.json         from the shards: classes or vocabulary, features, audio mean and std
RUN/run.json             shards and the fingerprint of their data, versions, git revision, parameter counts
RUN/metrics.jsonl        a row per epoch: losses, learning rates, scores
RUN/steps.jsonl          a row per step: loss, learning rates, the clips
RUN/tensorboard/         the same for TensorBoard
RUN/trackers/            local files of other trackers, and the identities of the tracked runs
RUN/checkpoints/best/    the epoch with the best score on the selection split; `last/` the newest epoch
RUN/checkpoints/state.pt the state from which the run is resumed
RUN/summary.json         the summary of the training, once it is finished
RUN/evaluation-SPLIT.json
RUN/report.html          the page of this run; `comparison.html` of this and others

A pushed run has the layout of a repository on the Hub: the files of its best checkpoint lie beside the
others, and those that only a training needs are left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..bounded import MOST_JSON_BYTES, MOST_YAML_BYTES, parse_object, parse_yaml, read_file
from ..errors import InputError, OtherSettingsError
from ..model.checkpoint import ADAPTERS, BACKBONE, DESCRIPTION
from ..model.tensor_files import file_sha256
from ..shards.files import named_errors, publish
from ..shards.manifest import dataset_bytes
from ..shards.schema import DATASET_FILE, DatasetInfo
from ..strict_json import strict_json
from .config import RunConfig, parse, with_earlier_defaults
from .run_records import METRICS, STEPS, RunRecords
from .trackers.base import FOLDER as TRACKERS_FOLDER

SUMMARY = "summary.json"
# Settings that change no number of the result, so that a run may be resumed with others.
_WITHOUT_EFFECT = (
    "data.workers",
    "data.verify",
    "data.cache",
    "data.cache_bytes",
    "train.save_every_steps",
    "train.trackers",
    "train.tracked_clips",
)


class RunFolder:
    """A run folder: paths of its files, and reading and writing them.

    Attributes:
        path: of the folder.
        last: folder of the newest checkpoint.
        state: file with the state from which the run is resumed.
        records: rows of the steps and epochs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path / "checkpoints" / "last"
        self.state = path / "checkpoints" / "state.pt"
        self.tensorboard = path / "tensorboard"
        self.report = path / "report.html"
        self.comparison = path / "comparison.html"
        self.records = RunRecords(path)

    @property
    def best(self) -> Path:
        """Folder of the checkpoint with the best score on the selection split."""
        return self.path if self.is_pushed(self.path) else self.path / "checkpoints" / "best"

    @staticmethod
    def is_pushed(path: Path) -> bool:
        """Tell whether a folder is a pushed run: it has a configuration and a checkpoint's files."""
        return (path / "config.yaml").is_file() and (path / ADAPTERS).is_file()

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> RunFolder:
        """Create a run folder; with `overwrite`, remove the files of the run in it.

        Raises InputError when `path` holds a run and not `overwrite`, or other files.
        """
        run = cls(path)
        run.check_free(overwrite=overwrite)
        if run.holds_run():
            stale = [
                run.report,
                run.comparison,
                *(path / name for name in (DATASET_FILE, METRICS, STEPS, SUMMARY, BACKBONE)),
                *(path / name for name in (ADAPTERS, DESCRIPTION)),
            ]
            for file in (*stale, *path.glob("evaluation-*.json")):
                file.unlink(missing_ok=True)
            for folder in (run.tensorboard, path / TRACKERS_FOLDER, path / "checkpoints"):
                shutil.rmtree(folder, ignore_errors=True)
        with named_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return an existing run. Raises InputError when `path` is no run folder or has no checkpoint yet.

        The error names the runs in a folder that holds several (of `train --seeds` or `ablate`).
        """
        run = cls(path)
        if not (path / "config.yaml").is_file():
            if several := sorted(file.parent.name for file in path.glob("*/config.yaml")):
                raise InputError(
                    f"RUN {path} is not a run folder but holds {len(several)}: {', '.join(several)}; "
                    f"name those that you want, e.g. {path / several[0]}"
                )
            raise InputError(
                f"RUN {path} is not a run folder: it has no config.yaml; make one with `stgcma train`"
            )
        if not run.best.is_dir():
            raise InputError(f"RUN {path} has no checkpoint yet: its training did not finish an epoch")
        return run

    def holds_run(self) -> bool:
        """Return True when the folder holds a run. Raises InputError when it holds something else."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"RUN {self.path} is a file, a folder is needed")
        if (self.path / "config.yaml").is_file():
            return True
        if self.path.is_dir() and any(self.path.iterdir()):
            raise InputError(f"RUN {self.path} holds other files; choose an empty or new folder")
        return False

    def check_free(self, *, overwrite: bool = False) -> None:
        """Raise InputError when the folder holds other files, or a run and not `overwrite`."""
        if self.holds_run() and not overwrite:
            raise InputError(
                f"RUN {self.path} holds a run already; resume it, choose another folder, or overwrite it"
            )

    def check_resumable(
        self,
        config: RunConfig,
        fingerprint: str,
        *,
        stream: dict[str, int] | None = None,
        columns: Mapping[str, str | None] | None = None,
    ) -> None:
        """Raise OtherSettingsError naming the settings or data that differ from those of the run.

        Settings that do not change the result may differ, such as the number of loader workers. A folder
        without a run passes.

        Args:
            config: the configuration to resume with.
            fingerprint: of the data.
            stream: the numbers of `stream_shape`; None where clips are not streamed.
            columns: hashes of those in `columns()`, as they are now; None for one that is gone.
        """
        if not self.holds_run():
            return
        if self.is_pushed(self.path) and not (self.path / SUMMARY).is_file():
            raise InputError(
                f"RUN {self.path} was pushed and has no state to resume from; start from it with "
                "the option init_from"
            )
        before, now = (_flattened(settings) for settings in (self.read_config(), config))
        differing = [
            f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name) and name not in _WITHOUT_EFFECT
        ]
        # A run that was killed at its very beginning has a configuration only.
        if (self.path / "run.json").is_file():
            about = self.read_json("run.json", texts=("data_fingerprint",))
            differing += _data_differences(about, fingerprint, stream)
            differing += _column_differences(self.columns(), columns or {})
        if differing:
            raise OtherSettingsError(
                f"RUN {self.path} cannot be resumed: {'; '.join(differing)}; the option overwrite starts anew"
            )

    def columns(self) -> dict[str, str]:
        """Return the hashes of the columns of the shards that the run reads; none for an earlier version."""
        if not (self.path / "run.json").is_file():
            return {}
        columns = self.read_json("run.json").get("columns", {})
        if not isinstance(columns, dict) or not all(isinstance(each, str) for each in columns.values()):
            raise InputError(f"{self.path / 'run.json'} has columns that are no hashes; it is damaged")
        return columns

    def write_config(self, config: RunConfig) -> None:
        """Write the resolved configuration."""
        content = config.model_dump(mode="json")
        publish(self.path / "config.yaml", yaml.safe_dump(content, sort_keys=False).encode())

    def read_config(self) -> RunConfig:
        """Return the resolved configuration."""
        where = str(self.path / "config.yaml")
        content = parse_yaml(self.config_text(), where=where)
        return parse(with_earlier_defaults(content), where=where)

    def config_text(self) -> str:
        """Return the text of `config.yaml`. Raises InputError when it cannot be read."""
        path = self.path / "config.yaml"
        content = read_file(path, most_bytes=MOST_YAML_BYTES)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8: {error}") from None

    def write_dataset(self, info: DatasetInfo) -> None:
        """Write the description of the shards, so that the run can be used without them."""
        publish(self.path / DATASET_FILE, dataset_bytes(info.to_json()))

    def read_dataset(self) -> DatasetInfo:
        """Return the description of the shards. Raises InputError when it is missing."""
        where = str(self.path / DATASET_FILE)
        return DatasetInfo.from_json(self.read_json(DATASET_FILE), where=where)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write the JSON file `name`."""
        publish(self.path / name, (strict_json(content, indent=2) + "\n").encode())

    def read_json(self, name: str, *, texts: Sequence[str] = ()) -> dict[str, Any]:
        """Return the content of the JSON file `name`.

        Raises InputError when it is missing, is no JSON object, or lacks a text under a key of `texts`.
        """
        path = self.path / name
        if not path.is_file():
            raise InputError(f"{path} is missing")
        content = read_file(path, most_bytes=MOST_JSON_BYTES)
        # Earlier versions of this package wrote the score of an empty split as NaN.
        found = parse_object(content, where=str(path), non_finite=True)
        for field in texts:
            if not isinstance(found.get(field), str):
                raise InputError(f"{path} has no text as its {field}; it is damaged, or not of this version")
        return found

    def best_sha256(self) -> str:
        """Return the hash of the best checkpoint's adapters; evaluations name the checkpoint by it."""
        return file_sha256(self.best / ADAPTERS)


def _data_differences(about: dict[str, Any], fingerprint: str, stream: dict[str, int] | None) -> list[str]:
    """Return the differences between the data in `run.json`, `about`, and the data to resume on."""
    before = about["data_fingerprint"]
    differing = []
    if before != fingerprint:
        differing.append(f"the shards were {before[:12]}, are {fingerprint[:12]}")
    streamed = about.get("stream")
    if stream is not None and streamed is not None:
        differing += [
            f"the clips were streamed by {streamed.get(name)} {name}, now by {number}"
            for name, number in stream.items()
            if streamed.get(name) != number
        ]
    return differing


def _column_differences(before: Mapping[str, str], now: Mapping[str, str | None]) -> list[str]:
    return [
        f"the column {name} was {sha256[:12]}, is {(now.get(name) or 'gone')[:12]}"
        for name, sha256 in before.items()
        if now.get(name) != sha256
    ]


def _flattened(config: RunConfig) -> dict[str, Any]:
    """Return the configuration as `section.key` to value."""
    flat: dict[str, Any] = {}
    for section, content in config.model_dump(mode="json").items():
        if isinstance(content, dict):
            flat |= {f"{section}.{key}": value for key, value in content.items()}
        else:
            flat[section] = content
    return flat
