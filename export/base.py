"""The interface of a file format for exported models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor
from torch.export import ExportedProgram

from .description import Description

Runner = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Runs a file that was opened: inputs by name → outputs by name, on the CPU."""


class FileFormat(ABC):
    """A file format for traced models."""

    @abstractmethod
    def check_installed(self) -> None:
        """Raise InputError naming the extra when a package is missing."""

    @abstractmethod
    def write(self, program: ExportedProgram, path: Path, *, description: Description) -> None:
        """Write a program to `path`, and further files beside it where it is large.

        Args:
            program: with named inputs.
            path: in an empty folder. Files in it keep their names when they are moved.
            description: of the program, stored inside the file as JSON.
        """

    def beside(self, path: Path) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the further files that belong to a file at `path`, whether they exist or not."""
        return ()

    @abstractmethod
    def open(self, path: Path, *, outputs: Sequence[str]) -> Runner:
        """Open a file that `write` wrote, as a program without `stgcma` would; `outputs` are its names."""
