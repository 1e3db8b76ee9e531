"""Versions of the code and its tools, recorded with every result."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path

from . import __version__


def package_versions(*packages: str) -> dict[str, str]:
    """Return the version of `stgcma` and of each of the installed `packages`, by name."""
    return {"stgcma": __version__} | {name: importlib.metadata.version(name) for name in packages}


def git_revision() -> str | None:
    """Return the commit of this checkout, with `+changes` when files differ from it; None without git."""
    folder = Path(__file__).parent
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
