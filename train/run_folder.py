"""A run folder: the configuration that ran, what it measured, the weights that came of it.

RUN/config.yaml          the resolved configuration
RUN/dataset.json         what the shards' own says: classes or vocabulary, features, audio mean and std
RUN/run.json             shards and the fingerprint of their data, versions, git revision, parameter counts
RUN/metrics.jsonl        a line an epoch
RUN/steps.jsonl          a line a step: loss, learning rates, the clips
RUN/tensorboard/         the same for TensorBoard
RUN/checkpoints/best/    the epoch that the selection split prefers; `last/` the newest
RUN/checkpoints/state.pt all that the run needs to go on
RUN/summary.json         what the training came to, once it is finished
RUN/evaluation-SPLIT.json
RUN/report.html          the page of this run; `comparison.html` of it and others
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..bounded import (
    MOST_JSON_BYTES,
    MOST_YAML_BYTES,
    open_plain,
    parse_object,
    parse_yaml,
    read_file,
)
from ..errors import InputError, OtherSettingsError
from ..model.checkpoint import ADAPTERS, BACKBONE
from ..model.tensor_files import file_sha256
from ..shards.files import named_errors, publish
from ..shards.manifest import dataset_bytes
from ..shards.schema import DATASET_FILE, DatasetInfo
from ..strict_json import strict_json
from .config import RunConfig, parse, with_earlier_defaults

# Of `metrics.jsonl` and `steps.jsonl`: a line names the clips of a step.
_MOST_LINE_BYTES = 1 << 20
_MOST_LINES_BYTES = 2 << 30
METRICS, STEPS, SUMMARY = "metrics.jsonl", "steps.jsonl", "summary.json"
WITHOUT_CONSEQUENCE = ("data.workers", "data.verify", "data.cache", "train.save_every_steps")


class RunFolder:
    """Names and reads the files of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "checkpoints" / "best"
        self.last = path / "checkpoints" / "last"
        self.state = path / "checkpoints" / "state.pt"
        self.tensorboard = path / "tensorboard"
        self.report = path / "report.html"
        self.comparison = path / "comparison.html"

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> RunFolder:
        """A new run folder. Raises InputError when `path` holds something that is not to be overwritten."""
        run = cls(path)
        run.check_free(overwrite=overwrite)
        if run.holds_run():
            stale = [
                run.report,
                run.comparison,
                *(path / name for name in (DATASET_FILE, METRICS, STEPS, SUMMARY, BACKBONE)),
            ]
            for file in (*stale, *path.glob("evaluation-*.json")):
                file.unlink(missing_ok=True)
            for folder in (run.tensorboard, path / "checkpoints"):
                shutil.rmtree(folder, ignore_errors=True)
        with named_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return run

    def check_resumable(
        self, config: RunConfig, fingerprint: str, *, stream: dict[str, int] | None = None
    ) -> None:
        """Raises InputError naming what differs when it was begun with other settings or on other data.

        `stream` says in how many streams it would go on, where the order of the clips depends on that.

        What does not change the result may differ: the number of loader workers and the like. Where there is
        no run yet, there is nothing to differ.
        """
        if not self.holds_run():
            return
        before, now = (flattened(settings) for settings in (self.read_config(), config))
        differing = [
            f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name) and name not in WITHOUT_CONSEQUENCE
        ]
        # Killed right at its beginning, a run has a configuration and nothing else.
        begun = (self.path / "run.json").is_file()
        begun_on = (
            self.read_json("run.json", texts=("data_fingerprint",))["data_fingerprint"]
            if begun
            else fingerprint
        )
        if begun_on != fingerprint:
            differing.append(f"the shards were {begun_on[:12]}, are {fingerprint[:12]}")
        streamed = self.read_json("run.json").get("stream") if begun else stream
        if stream is not None and streamed is not None:
            differing += [
                f"the clips were streamed by {streamed.get(name)} {name}, now by {number}"
                for name, number in stream.items()
                if streamed.get(name) != number
            ]
        if differing:
            raise OtherSettingsError(
                f"RUN {self.path} cannot be resumed: {'; '.join(differing)}; --overwrite starts anew"
            )

    def check_free(self, *, overwrite: bool = False) -> None:
        """Raises InputError when the folder holds something that is not to be overwritten."""
        if self.holds_run() and not overwrite:
            raise InputError(
                f"RUN {self.path} holds a run already; --resume it, choose another folder, or --overwrite it"
            )

    def holds_run(self) -> bool:
        """Whether there is a run. Raises InputError when there is something else."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"RUN {self.path} is a file, a folder is needed")
        if (self.path / "config.yaml").is_file():
            return True
        if self.path.is_dir() and any(self.path.iterdir()):
            raise InputError(f"RUN {self.path} holds other files; choose an empty or new folder")
        return False

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises InputError when `path` is none, or has no trained checkpoint yet.

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

    def write_config(self, config: RunConfig) -> None:
        """Writes the resolved configuration."""
        content = config.model_dump(mode="json")
        publish(self.path / "config.yaml", yaml.safe_dump(content, sort_keys=False).encode())

    def read_config(self) -> RunConfig:
        """The resolved configuration."""
        where = str(self.path / "config.yaml")
        content = parse_yaml(self.config_text(), where=where)
        return parse(with_earlier_defaults(content), where=where)

    def config_text(self) -> str:
        """The resolved configuration as it stands in the folder. Raises InputError when it cannot be read."""
        path = self.path / "config.yaml"
        content = read_file(path, most_bytes=MOST_YAML_BYTES)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8: {error}") from None

    def write_dataset(self, info: DatasetInfo) -> None:
        """Writes what the run has to know of its shards, so that it can be used without them."""
        publish(self.path / DATASET_FILE, dataset_bytes(info.to_json()))

    def read_dataset(self) -> DatasetInfo:
        """What `write_dataset` wrote. Raises InputError when it is missing."""
        where = str(self.path / DATASET_FILE)
        return DatasetInfo.from_json(self.read_json(DATASET_FILE), where=where)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes one of the run's JSON files."""
        publish(self.path / name, (strict_json(content, indent=2) + "\n").encode())

    def read_json(self, name: str, *, texts: Sequence[str] = ()) -> dict[str, Any]:
        """Reads one of the run's JSON files.

        Raises InputError when it is missing, is no JSON object, or has no text under one of `texts`.
        """
        path = self.path / name
        if not path.is_file():
            raise InputError(f"{path} is missing")
        content = read_file(path, most_bytes=MOST_JSON_BYTES)
        # A score of nothing is NaN; Python writes it, and earlier versions of this package did.
        found = parse_object(content, where=str(path), non_finite=True)
        for field in texts:
            if not isinstance(found.get(field), str):
                raise InputError(f"{path} has no text as its {field}; it is damaged, or not of this version")
        return found

    def best_sha256(self) -> str:
        """Hash of the chosen checkpoint's adapters: whatever is said of a run is said of these."""
        return file_sha256(self.best / ADAPTERS)

    def read_evaluation(self, name: str) -> dict[str, Any] | None:
        """The evaluation in the file `name`; None without one, or when it is of an earlier checkpoint."""
        if not (self.path / name).is_file():
            return None
        stored = self.read_json(name)
        return stored if stored.get("checkpoint_sha256") == self.best_sha256() else None

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Adds a line to `METRICS` or `STEPS`."""
        path = self.path / name
        with named_errors(path), path.open("a", encoding="utf-8") as stream:
            stream.write(strict_json(row) + "\n")

    def read_rows(self, name: str) -> list[dict[str, Any]]:
        """The lines of `METRICS` or `STEPS`, none when there is no such file."""
        return [row for _, row in self._lines(name)]

    def rewind(self, *, step: int, epoch: int) -> None:
        """Takes away the lines of steps after `step` and of epochs after `epoch`, both counted from 1."""
        for name, key, last in ((STEPS, "step", step), (METRICS, "epoch", epoch)):
            # A line that was cut off by a kill is after the last saved state, like all that follow.
            kept = [line for line, row in self._lines(name, cut=True) if _is_until(row, key, last)]
            publish(self.path / name, b"".join(kept))

    def _lines(self, name: str, *, cut: bool = False) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """The lines of a file of JSON lines, as they stand there and as objects; none without the file.

        `cut`: leave out lines that do not end. Raises InputError naming the line at fault.
        """
        path = self.path / name
        if not path.is_file():
            return
        total = 0
        with open_plain(path) as stream:
            for number in itertools.count(1):
                line = stream.readline(_MOST_LINE_BYTES + 1)
                total += len(line)
                if not line:
                    return
                if cut and not line.endswith(b"}\n"):
                    continue
                if len(line) > _MOST_LINE_BYTES or total > _MOST_LINES_BYTES:
                    raise InputError(
                        f"{path}:{number}: more than {_MOST_LINE_BYTES:,} bytes a line or "
                        f"{_MOST_LINES_BYTES:,} in all, the most that is read"
                    )
                yield line, parse_object(line, where=f"{path}:{number}", non_finite=True)


def _is_until(row: dict[str, Any], key: str, last: int) -> bool:
    value = row.get(key)
    return isinstance(value, int) and value <= last


def flattened(config: RunConfig) -> dict[str, Any]:
    """The configuration as `section.key` to value."""
    flat: dict[str, Any] = {}
    for section, content in config.model_dump(mode="json").items():
        if isinstance(content, dict):
            flat |= {f"{section}.{key}": value for key, value in content.items()}
        else:
            flat[section] = content
    return flat
