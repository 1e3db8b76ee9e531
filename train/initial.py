"""Starting a run from the adapters and the head of another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..console import message
from ..errors import OtherSettingsError
from ..model import STGCMA
from ..model.checkpoint import find_adapters, load_trained
from ..model.tensor_files import file_sha256
from .distributed import is_main_process
from .fields import damage_named, field
from .run_folder import RunFolder

_RECORD = "init_from"


def initial_record(run: RunFolder, init_from: str | Path | None, *, resume: bool) -> dict[str, Any] | None:
    """Return the record of the checkpoint that a run starts from, for `run.json`; None without one.

    A run that is resumed keeps its record, also when `init_from` is not given again. Raises
    OtherSettingsError when it started from another checkpoint, or from none.
    """
    if resume and (run.path / "run.json").is_file():
        recorded = _recorded(run)
        if init_from is None:
            return recorded
        if recorded is None:
            raise _other(run, f"init_from was not given, is {str(init_from)!r}")
        if Path(recorded["path"]) == Path(init_from).absolute():
            return recorded  # the folder may be gone by now
        if file_sha256(find_adapters(Path(init_from))) != recorded["sha256"]:
            raise _other(run, f"init_from was {recorded['path']!r}, is {str(init_from)!r}")
        return recorded
    if init_from is None:
        return None
    return {"path": str(Path(init_from).absolute()), "sha256": file_sha256(find_adapters(Path(init_from)))}


def _recorded(run: RunFolder) -> dict[str, Any] | None:
    content = run.read_json("run.json")
    if content.get(_RECORD) is None:
        return None
    with damage_named(run.path / "run.json"):
        record: dict[str, Any] = field(content, _RECORD, dict[str, str])
        return {name: field(record, name, str) for name in ("path", "sha256")}


def load_initial(model: STGCMA, run: RunFolder, record: dict[str, Any] | None, *, resume: bool) -> None:
    """Load the weights of `record` into the model, unless the run continues from its own state.

    A head with another task or other options keeps its first weights, which a message says. Raises InputError
    when the adapters are of another architecture or backbone; OtherSettingsError when they are not those of
    the record any more.
    """
    if record is None or (resume and run.state.is_file()):
        return
    started = load_trained(model, record["path"])
    if file_sha256(started.file) != record["sha256"]:
        raise _other(run, f"{started.file} has changed since")
    if started.new_head and is_main_process():
        message(f"{record['path']} gives the adapters; the head is new: {started.new_head}")


def _other(run: RunFolder, what: str) -> OtherSettingsError:
    return OtherSettingsError(f"RUN {run.path} cannot be resumed: {what}; the option overwrite starts anew")
