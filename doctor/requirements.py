"""Declared dependencies of stgcma with their pinned versions."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@functools.cache
def declared() -> tuple[Requirement, ...]:
    """Return the declared dependencies, with those of extras, which have `extra` markers.

    They are read from pyproject.toml of a checkout, otherwise from the metadata of the installation, which
    may be older.
    """
    from packaging.requirements import Requirement

    if _PYPROJECT.is_file():
        project = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]
        lines = list(project["dependencies"])
        for extra, of_extra in project["optional-dependencies"].items():
            lines += [_of_extra(line, extra) for line in of_extra]
    else:
        lines = importlib.metadata.requires("stgcma") or []
    return tuple(Requirement(line) for line in lines)


def _of_extra(line: str, extra: str) -> str:
    """Return a requirement of an extra as the metadata of an installation has it."""
    requirement, _, marker = line.partition(";")
    condition = f"extra == '{extra}'"
    return f"{requirement} ; ({marker}) and {condition}" if marker else f"{requirement} ; {condition}"


def extras() -> tuple[str, ...]:
    """Return the names of all extras, in the order of their declaration."""
    markers = (str(line.marker) for line in declared() if line.marker is not None)
    found = (name for marker in markers for name in re.findall(r"""extra == ["']([\w.-]+)""", marker))
    return tuple(dict.fromkeys(found))


def required(extra: str = "") -> tuple[Requirement, ...]:
    """Return the dependencies of stgcma itself, or those that only `extra` adds, for this machine."""
    return tuple(
        line
        for line in declared()
        if (line.marker is None or line.marker.evaluate({"extra": extra}))
        and (not extra or (line.marker is not None and not line.marker.evaluate({"extra": ""})))
    )


def install(*packages: str) -> str:
    """Return the command that installs `packages` in their pinned versions."""
    pins = {line.name: f"{line.name}{line.specifier}" for line in declared()}
    return "pip install " + shlex.join(pins.get(name, name) for name in packages)


def reinstall(*packages: str) -> str:
    """Return the command that replaces the files of `packages`."""
    return install(*packages).replace("pip install", "pip install --force-reinstall --no-deps", 1)
