"""Runs of the Hub as folders of this machine.

The files lie in the cache of `huggingface_hub`, which is not written to by anything else. The run folder is a
folder of links to them, one for every commit: results of `evaluate` and `report` are written there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..console import message
from ..errors import InputError
from ..model import STGCMA
from ..model import load_model as load_local_model
from .files import RUN_PATTERNS, is_pushed_file
from .library import endpoint, hub_errors, hub_library, is_unreachable
from .names import HubName, is_hub_name, parse_name

_COMMIT = re.compile(r"[0-9a-f]{40}")
_COMMIT_LETTERS = 12


def runs_folder() -> Path:
    """Return the folder of the run folders of the Hub, in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "stgcma" / "runs"


def local_run(location: str | Path) -> Path:
    """Return the run folder at `location`, a path, or `hf:ORG/NAME@REVISION`, which is fetched.

    Where the Hub cannot be reached, the commit that was fetched last is used, and a message says so. Raises
    InputError for a repository that does not exist, cannot be read, or holds no run; StgcmaError when there
    is no copy and the Hub cannot be reached.
    """
    if not is_hub_name(location):
        return Path(location)
    name = parse_name(location)
    if name.kind != "model":
        raise InputError(f"{name} is no run, but a {name.kind}; a run is named hf:ORG/NAME")
    snapshot = _snapshot(name)
    if not any(snapshot.glob("*.safetensors")):
        raise InputError(f"{name} holds no run of stgcma; `stgcma push RUN {name}` puts one there")
    organisation, repo = name.repo.split("/")
    folder = runs_folder() / organisation / f"{repo}@{snapshot.name[:_COMMIT_LETTERS]}"
    _link(snapshot, folder)
    message(f"{name} is commit {snapshot.name[:_COMMIT_LETTERS]}; its run folder is {folder}")
    return folder


def load_model(path: str | Path, weights: str | Path | None = None) -> STGCMA:
    """Load the model of a run, a checkpoint, or a run on the Hub, in evaluation mode, on the CPU.

    Args:
        path: as of `stgcma.model.load_model`, or `hf:ORG/NAME@REVISION`.
        weights: source of the backbone's weights, if not where the checkpoint says.

    Raises InputError as `stgcma.model.load_model` and `local_run`.
    """
    return load_local_model(local_run(path), weights)


def _snapshot(name: HubName) -> Path:
    """Return the folder in the library's cache with the files of a run's repository."""
    library = hub_library()
    unreachable: Exception | None = None
    with hub_errors(name):
        if not _COMMIT.fullmatch(name.revision or ""):  # what a commit holds does not change
            try:
                library.HfApi(library_name="stgcma").repo_info(
                    name.repo, revision=name.revision, timeout=library.constants.HF_HUB_ETAG_TIMEOUT
                )
            except Exception as error:
                if not is_unreachable(error):
                    raise
                unreachable = error
        try:
            path = library.snapshot_download(
                name.repo,
                revision=name.revision,
                allow_patterns=list(RUN_PATTERNS),
                local_files_only=unreachable is not None,
                library_name="stgcma",
            )
        except library.errors.LocalEntryNotFoundError as error:
            raise (unreachable or error) from None
    if unreachable is not None and not library.constants.HF_HUB_OFFLINE:
        message(f"{name}: {endpoint()} cannot be reached; the commit that was fetched last is used")
    return Path(path)


def _link(snapshot: Path, folder: Path) -> None:
    """Make links in `folder` to the files of `snapshot`; other files of the same names stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in snapshot.iterdir():
        if not is_pushed_file(file.name, RUN_PATTERNS) or not file.is_file():
            continue
        link = folder / file.name
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)  # to a cache that was cleared since
        try:
            link.symlink_to(file.resolve())
        except FileExistsError:
            continue
