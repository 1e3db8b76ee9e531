"""Stored outputs of the frozen backbone: a column of the shards that is read in place of frames and sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, StgcmaError
from ..model import STGCMA, ModelConfig
from ..model.frozen_features import Layout, side_of, values_of
from ..model.records import FRAME_MASK
from ..shards.column_reader import ColumnReader
from ..shards.members import member, read_array
from .inputs import Normalisation
from .sections import DataConfig
from .tasks.base import Task

TOKENS = "tokens"
_MEMBER = f"{TOKENS}.npy"


def check_tokens(task: Task, data: DataConfig, model: ModelConfig) -> None:
    """Raise InputError for settings of training that stored tokens cannot serve."""
    for wrong, what in (
        (data.augment, "data.augment changes the frames of a clip in every epoch"),
        (data.mixup > 0, "data.mixup changes the sound of a clip in every epoch"),
        (task.needs_negatives, f"task {task.name} trains on frames of other clips"),
        (FRAME_MASK in model.head_inputs, f"task {task.name} has clips of several lengths"),
    ):
        if wrong:
            raise InputError(f"data.tokens reads no frames and no sound, but {what}")


def token_settings(model: STGCMA, normalisation: Normalisation) -> dict[str, Any]:
    """Return everything that decides the tokens of a clip but the precision, as `column.json` holds it.

    Raises InputError for a model whose backbone does not run by itself.
    """
    config = model.config
    return {
        "kind": TOKENS,
        "backbone": _plain(asdict(config.backbone)),
        "weights_sha256": model.backbone_source["sha256"],
        "layers": sorted(side_of(model.encoder).tapped),
        "modalities": list(config.modalities),
        "frames": config.frames,
        "outputs": sorted(config.head.needs),
        "normalisation": asdict(normalisation),
    }


def fit_tokens(model: STGCMA, column: ColumnReader | None, normalisation: Normalisation) -> None:
    """Make `model` take the tokens of a column, if there is one.

    Raises InputError for tokens of other settings.
    """
    if column is None:
        return
    there, wanted = column.info.settings, token_settings(model, normalisation)
    if differing := [name for name, value in wanted.items() if there.get(name) != value]:
        raise InputError(
            f"{column.location}: the column {column.member} was made with another {', '.join(differing)}; "
            f"drop it with `stgcma shards drop-column {column.location} {column.member}`, and add it with "
            "the preset, the backbone and the settings of this training"
        )
    model.feature_layout = layout_from(there)


def layout_from(settings: Mapping[str, Any]) -> Layout:
    """Return the layout that the settings of a column hold. Raises InputError when it is damaged."""
    try:
        return tuple((str(name), tuple(map(int, shape))) for name, shape in settings["layout"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            "column.json of the tokens is damaged: it has no layout; add the column anew"
        ) from None


def read_tokens(members: Mapping[str, bytes], layout: Layout) -> Tensor:
    """Return the tokens of a clip, float16 `[V]`. Raises StgcmaError for another shape."""
    array = read_array(member(dict(members), _MEMBER), _MEMBER)
    if str(array.dtype) != "float16" or array.shape != (values_of(layout),):
        wanted = f"float16 [{values_of(layout)}]"
        raise StgcmaError(f"{_MEMBER} is {array.dtype} {list(array.shape)}, expected {wanted}")
    return torch.from_numpy(array)


def _plain(value: Any) -> Any:
    """Return nested tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
