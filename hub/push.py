"""Sending files to a repository on the Hub in one commit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..console import progress
from ..errors import InputError
from ..shards.files import PARTIAL_SUFFIX, named_errors, publish, sync_folder
from ..shards.staging import staged
from .files import RUN_PATTERNS, SHARD_PATTERNS, SPACE_PATTERNS, is_pushed_file
from .library import hub_errors, hub_library, web_address
from .names import HubName
from .pushed_file import PushedFile

_FILES_AT_ONCE = 32
_SCRATCH = "push"


def push_patterns(name: HubName) -> tuple[str, ...]:
    """Return the patterns of the files that a push to a repository of this kind has."""
    return {"model": RUN_PATTERNS, "dataset": SHARD_PATTERNS, "space": SPACE_PATTERNS}[name.kind]


@dataclass(frozen=True)
class Pushed:
    """The result of a push.

    Attributes:
        name: of the repository, with the commit as its revision.
        address: of its page.
        files: number of files in the repository that were sent.
        size_bytes: of these.
    """

    name: HubName
    address: str
    files: int
    size_bytes: int


def send(
    files: Sequence[PushedFile],
    name: HubName,
    *,
    patterns: tuple[str, ...],
    message: str,
    private: bool = False,
) -> Pushed:
    """Make the repository where it does not exist, and commit `files` to it at once.

    Files of an earlier push, those that match `patterns`, are removed by the same commit. A large file that
    the Hub has already is not sent again: after an interruption, the same call sends the rest.

    Args:
        files: of the repository.
        name: of the repository; a revision is a branch, which is made where it does not exist.
        patterns: of the files that this kind of push has.
        message: of the commit.
        private: make the repository a private one. One that exists and is public is refused.

    Raises InputError when the account may not write there; StgcmaError when the Hub cannot be reached.
    """
    library = hub_library()
    api = library.HfApi(library_name="stgcma")
    with hub_errors(name):
        api.create_repo(
            name.repo,
            repo_type=name.kind,
            private=private or None,
            exist_ok=True,
            space_sdk="docker" if name.kind == "space" else None,
        )
        if private and not api.repo_info(name.repo, repo_type=name.kind).private:
            raise InputError(f"{name} exists and is public; make it private on its page, or name another one")
        if name.revision is not None:
            api.create_branch(name.repo, repo_type=name.kind, branch=name.revision, exist_ok=True)
        there = api.list_repo_files(name.repo, repo_type=name.kind, revision=name.revision)
        sent = {file.name for file in files}
        stale = [path for path in there if path not in sent and is_pushed_file(path, patterns)]
        operations: list[Any] = [_addition(library, file) for file in files]
        _send_large(api, name, files, operations)
        operations += [library.CommitOperationDelete(path_in_repo=path) for path in stale]
        commit = api.create_commit(
            name.repo, operations, commit_message=message, repo_type=name.kind, revision=name.revision
        )
    at = HubName(name.kind, name.repo, commit.oid)
    return Pushed(at, web_address(name), len(files), sum(file.size_bytes for file in files))


def _addition(library: Any, file: PushedFile) -> Any:
    content = file.content if isinstance(file.content, bytes) else str(file.content.resolve())
    return library.CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=content)


def _send_large(api: Any, name: HubName, files: Sequence[PushedFile], operations: Sequence[Any]) -> None:
    """Send the contents of the large files, a few at a time, with the progress."""
    with progress("bytes", shown=len(files) > _FILES_AT_ONCE) as bar:
        row = bar.add_task("push", total=sum(file.size_bytes for file in files), note="")
        for first in range(0, len(files), _FILES_AT_ONCE):
            part = slice(first, first + _FILES_AT_ONCE)
            api.preupload_lfs_files(
                name.repo,
                operations[part],
                repo_type=name.kind,
                revision=name.revision,
                free_memory=False,
            )
            bar.advance(row, sum(file.size_bytes for file in files[part]))


def check_empty(folder: Path) -> None:
    """Raise InputError when `folder` is a file, or holds files."""
    left = f".{_SCRATCH}{PARTIAL_SUFFIX}"  # by a push that was killed
    if folder.exists() and (not folder.is_dir() or any(path.name != left for path in folder.iterdir())):
        raise InputError(f"{folder} holds other files; choose an empty or new folder")


def write_folder(files: Sequence[PushedFile], folder: Path) -> None:
    """Write the files of a repository into a new or empty folder, which then holds all of them or none.

    Raises InputError when the folder holds files.
    """
    check_empty(folder)
    target = folder.absolute()
    fixed = folder.exists() and (any(folder.iterdir()) or _is_fixed(target))
    with staged(target, _SCRATCH) if fixed else staged(target.parent, target.name) as scratch:
        whole = scratch / target.name
        for file in files:
            path = whole / file.name
            with named_errors(folder / file.name):
                path.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(file.content, bytes):
                    publish(path, file.content)
                else:
                    _copy(file.content, path)
        with named_errors(folder):
            try:
                if not fixed:
                    whole.rename(target)  # in the place of an empty folder, too
            except OSError:  # of a link to an empty folder
                fixed = True
            for path in whole.iterdir() if fixed else ():
                path.rename(target / path.name)
            sync_folder(target if fixed else target.parent)


def _is_fixed(folder: Path) -> bool:
    """Tell whether no other folder can take the place of this empty one.

    Another file system is mounted there, the folder above cannot be written, or it is the current one, in
    which a shell would go on to show the old folder.
    """
    above = folder.parent
    mounted = folder.stat().st_dev != above.stat().st_dev
    return mounted or folder.samefile(Path.cwd()) or not os.access(above, os.W_OK)


def _copy(source: Path, target: Path) -> None:
    import shutil

    shutil.copyfile(source, target)
