"""Shared code of the GPU suite's parts: settings, result rows that are written at once, devices, presets."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Models of one block (Swin: one a stage) on small pictures, for a dry run on a CPU.
_TINY_SWIN = {"width": 8, "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2)}
TINY: dict[str, dict[str, Any]] = {
    "ave": {"width": 32, "depths": (1,), "heads": (2,)},
    "avs": {**_TINY_SWIN, "mask_channels": 8, "image_size": 56, "audio_shape": (56, 56)},
    "avqa": {**_TINY_SWIN, "patch": 14, "image_size": 112, "audio_shape": (112, 112)},
}
TINY_PRESETS = ("ave-demo", "avs-demo", "avqa-demo")
# Clips of a step in Table 9 of the paper, by task.
TABLE_9_BATCH = {"ave": 1, "avs": 2, "avqa": 2}


@dataclass(frozen=True)
class Setting:
    """Settings of a run of the suite.

    Attributes:
        device: `cuda` or `cpu`.
        tiny: models of one block and a few steps.
        seconds: after this time a part begins nothing new.
        out: the folder of the result files.
        presets: only these presets, where a part takes several; empty for its own choice.
        rows: only rows whose names contain one of these texts; empty for all.
    """

    device: str
    tiny: bool
    seconds: float
    out: Path
    presets: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    def overrides(self, preset: str) -> dict[str, Any]:
        """Fields of `ModelConfig` that make `preset` tiny, if it is to be."""
        return TINY[preset.partition("-")[0]] if self.tiny else {}

    def model_settings(self, preset: str) -> list[str]:
        """The same as values of `--set`."""
        return [f"model.{name}={json.dumps(value)}" for name, value in self.overrides(preset).items()]


class Report:
    """The rows of one part. Each is in the part's JSON file as soon as it is added."""

    def __init__(self, part: str, setting: Setting) -> None:
        self.path = setting.out / f"{part}.json"
        self.setting = setting
        self._started = time.monotonic()
        options = {name: getattr(setting, name) for name in ("device", "tiny", "presets", "rows")}
        self.content: dict[str, Any] = {"part": part, **options, "status": "running", "rows": []}
        self._write()

    @property
    def seconds_left(self) -> float:
        """Seconds until the part should begin nothing new."""
        return self.setting.seconds - (time.monotonic() - self._started)

    def is_wanted(self, name: str) -> bool:
        """Tell whether the setting asks for a row of this name."""
        return not self.setting.rows or any(text in name for text in self.setting.rows)

    def add(self, name: str, **values: Any) -> None:
        """Adds a row. `ok` among the values: True, False, or None where nothing is judged."""
        self.content["rows"].append({"name": name, **values})
        self._write()
        values.pop("trace", None)
        print(f"  {name}: {json.dumps(values, default=str)[:400]}", flush=True)

    def attempt(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Add and return the row that `work` returns; after an error, add a row with its message.

        A row that is not wanted is left out; where no time is left, the row says so. Then `work` is not run,
        and the result is None, as after an error.
        """
        if not self.is_wanted(name):
            return None
        if self.seconds_left <= 0:
            self.add(name, unmeasured="no time was left")
            return None
        try:
            values = work()
        except Exception as error:
            self.add(name, ok=False, failed=_told(error), trace=traceback.format_exc()[-3000:])
            return None
        self.add(name, **values)
        return values

    def finish(self) -> None:
        """Marks the part as done."""
        self.content["status"] = "done"
        self.content["seconds"] = round(time.monotonic() - self._started, 1)
        self._write()

    def _write(self) -> None:
        beside = self.path.with_suffix(".tmp")
        beside.write_text(json.dumps(self.content, indent=1, default=str) + "\n")
        beside.replace(self.path)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"[:500]


def synchronize(device: str) -> None:
    """Waits for all that the device has been given to do."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
