"""Export a trained model to a file, and compare the file with the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ..errors import StgcmaError
from ..shards.files import named_errors, sync_folder
from ..shards.schema import DatasetInfo
from ..shards.staging import put_in_place, staged
from ..shards.storage import Location
from ..train.inputs import normalisation_of
from ..train.objective import set_tf32
from ..train.trained import Trained, open_trained
from . import FORMATS
from .base import FileFormat, Runner
from .description import Description, describe
from .program import DeployedModel, draw_clips, expected, trace
from .target import checked_target

TOLERANCE = 1e-4
"""Largest difference of an output between file and model, relative to the larger of 1 and the value."""
# Numbers of clips, and lengths of fbanks beyond what the model reads; the traced numbers are others.
_CHECKED = ((1, -3), (3, 5))


def _ignore(_: str) -> None:
    """Do nothing with a line about a step."""


@dataclass(frozen=True)
class Check:
    """Comparison of a file with its model.

    Attributes:
        clips: in one batch.
        largest_difference: over all outputs, relative to the larger of 1 and the value.
    """

    clips: int
    largest_difference: float


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked.

    Attributes:
        path: of the file.
        files: all that were written: `path`, and that of the weights where they lie beside it.
        size_bytes: of all of them.
        checks: against the model, with several numbers of clips.
        description: what the file stores about itself.
    """

    path: Path
    files: tuple[Path, ...]
    size_bytes: int
    checks: tuple[Check, ...]
    description: Description

    @property
    def largest_difference(self) -> float:
        """The largest difference of all checks."""
        return max(check.largest_difference for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            "file": str(self.path),
            "files": [str(path) for path in self.files],
            "size_bytes": self.size_bytes,
            "tolerance": TOLERANCE,
            "checks": [asdict(check) for check in self.checks],
            "description": self.description.to_json(),
        }


def export(
    run: str | Path,
    file: str | Path,
    *,
    preset: str | None = None,
    shards: Location | None = None,
    weights: str | Path | None = None,
    on_step: Callable[[str], None] = _ignore,
) -> Exported:
    """Write a trained model to `file`, in the format of its ending, and compare it with the model.

    The computation is that of the model in float32, whatever precision it was trained in.

    Args:
        run: a run folder, or a checkpoint folder.
        file: replaced when it exists. Its ending is one of `FORMATS`.
        preset: of a checkpoint that does not record its training data, as in `open_trained`.
        shards: likewise.
        weights: path of the backbone's weights, if not the one that the checkpoint records.
        on_step: called with a line before each step that may take long.

    Raises InputError for another ending, a package that is missing, or a run that cannot be used;
    StgcmaError when the file disagrees with the model, which then leaves no file.
    """
    path = Path(file)
    format_ = _format_of(path)
    format_.check_installed()
    on_step(f"loading {run}")
    trained = open_trained(run, preset=preset, shards=shards, weights=weights)
    set_tf32(allowed=False)
    on_step("tracing the model")
    return write_checked(prepare(_deployed(trained), trained.info), format_, path, on_step=on_step)


def _format_of(path: Path) -> FileFormat:
    return FORMATS[checked_target(path).suffix.removeprefix(".")]


def _deployed(trained: Trained) -> DeployedModel:
    model = trained.model
    side: Any = model.encoder.side
    if side is not None:
        side.use_float32()
    fbank = model.config.backbone.fbank
    constants = normalisation_of(trained.info, trained.config.data, fbank, where=str(trained.path))
    return DeployedModel(model, constants).eval()


@dataclass(frozen=True)
class Prepared:
    """A traced model, with what its files are compared with.

    Attributes:
        program: the trace.
        description: of its files.
        batches: inputs of several numbers of clips.
        wanted: the model's outputs for each of `batches`.
    """

    program: ExportedProgram
    description: Description
    batches: tuple[dict[str, Tensor], ...]
    wanted: tuple[dict[str, Tensor], ...]


def prepare(deployed: DeployedModel, info: DatasetInfo) -> Prepared:
    """Trace a model that was trained on the data of `info`; one trace serves every format."""
    length = deployed.model.config.audio_shape[0]
    batches = tuple(
        draw_clips(deployed.model, deployed.normalisation, clips=clips, length=length + more)
        for clips, more in _CHECKED
    )
    wanted = tuple(expected(deployed, inputs) for inputs in batches)
    description = describe(deployed.model, info, deployed.normalisation, inputs=batches[0], outputs=wanted[0])
    return Prepared(trace(deployed), description, batches, wanted)


def write_checked(
    prepared: Prepared, format_: FileFormat, path: Path, *, on_step: Callable[[str], None] = _ignore
) -> Exported:
    """Write a traced model to `path`, and compare the file with the model; otherwise as `export`."""
    description = prepared.description
    with staged(path.parent, path.name) as folder:
        written = folder / path.name
        on_step(f"writing {path.name}")
        format_.write(prepared.program, written, description=description)
        on_step("comparing the file with the model")
        run = format_.open(written, outputs=tuple(description.outputs))
        checks = tuple(
            Check(clips, _compared(run, inputs, one, path))
            for (clips, _), inputs, one in zip(_CHECKED, prepared.batches, prepared.wanted, strict=True)
        )
        with named_errors(path):
            files = _put_in_place(folder, path, format_)
    size = sum(one.stat().st_size for one in files)
    return Exported(path, files, size, checks, description)


def _put_in_place(folder: Path, path: Path, format_: FileFormat) -> tuple[Path, ...]:
    """Move the file and those beside it from `folder` to `path`; return the new paths.

    A process that is killed meanwhile never leaves the file beside weights of another one: an old file is
    removed before weights beside it are replaced, and weights are there before the file that needs them.
    """
    replaced, beside = path.exists(), format_.beside(path)
    new = [one for one in beside if (folder / one.name).exists()]
    if replaced and new:
        path.unlink()
        sync_folder(path.parent)
    moved = put_in_place(folder, path.parent, last=path.name)
    for one in beside if replaced else ():
        if one not in new:
            one.unlink(missing_ok=True)
    return (path, *(one for one in moved if one != path))


def _compared(run: Runner, inputs: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> float:
    """Return the largest difference of the outputs. Raises StgcmaError beyond the tolerance."""
    with torch.inference_mode():
        found = run(inputs)
    worst = 0.0
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            raise StgcmaError(
                f"{path}: {name} has the shape {list(found[name].shape)}, the model's is "
                f"{list(value.shape)}; nothing was written"
            )
        difference = (found[name].float() - value).abs() / value.abs().clamp(min=1)
        largest = float(difference.max())
        if not largest <= TOLERANCE:  # NaN too
            raise StgcmaError(
                f"{path}: {name} differs from the model by {largest:.2g}, more than {TOLERANCE:g}; "
                "nothing was written"
            )
        worst = max(worst, largest)
    return worst
