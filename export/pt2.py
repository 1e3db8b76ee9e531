"""Files of `torch.export`, which torch runs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from .base import FileFormat, Runner
from .description import Description, to_text

DESCRIPTION = "stgcma.json"
"""Name of the description among the extra files."""


class Pt2(FileFormat):
    """The archive of `torch.export.save`; `DESCRIPTION` is one of its extra files."""

    def check_installed(self) -> None:
        """Return: torch is always installed."""

    def write(self, program: ExportedProgram, path: Path, *, description: Description) -> None:
        torch.export.save(program, path, extra_files={DESCRIPTION: to_text(description)})

    def open(self, path: Path, *, outputs: Sequence[str]) -> Runner:  # noqa: ARG002
        with warnings.catch_warnings():
            # torch reads weights from bytes and copies them; nothing writes to the bytes.
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            module: Any = torch.export.load(path).module()
        return lambda inputs: module(**inputs)


FORMAT = Pt2()
