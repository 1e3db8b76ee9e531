"""Stored outputs of the frozen backbone: a column of the shards that is read in place of frames and sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, StgcmaError
from ..model import STGCMA, ModelConfig
from ..model.frozen_features import Layout, pad_steps, shape_of, side_of, span_of, steps_of, values_of
from ..model.records import FRAME_MASK
from ..shards.column_reader import ColumnReader
from ..shards.members import member, read_array
from .inputs import Normalisation
from .sections import DataConfig
from .tasks.base import Task

TOKENS = "tokens"
STORED_VIDEO = "video"
"""The setting of the column that names the tensor which stands for frames of other clips."""
_MEMBER = f"{TOKENS}.npy"


def check_tokens(task: Task, data: DataConfig, model: ModelConfig) -> None:
    """Raise InputError for settings of training that stored tokens cannot serve."""
    for wrong, what in (
        (data.augment, "data.augment changes the frames of a clip in every epoch"),
        (data.mixup > 0, "data.mixup changes the sound of a clip in every epoch"),
        (
            task.needs_negatives and FRAME_MASK in model.head_inputs,
            f"task {task.name} trains on frames of other clips of several lengths",
        ),
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
        stored = there.get("layers") if "layers" in differing else None
        hint = f"; its layers are read with --set model.side_layers={stored}" if stored else ""
        raise InputError(
            f"{column.location}: the column {column.member} was made with another {', '.join(differing)}; "
            f"drop it with `stgcma shards drop-column {column.location} {column.member}`, and add it with "
            f"the preset, the backbone and the settings of this training{hint}"
        )
    layout = layout_from(there)
    if steps_of(layout) != model.config.frames:
        raise InputError(
            f"{column.location}: column.json of the tokens is damaged: its layout has {steps_of(layout)} "
            f"frames, the model {model.config.frames}; add the column anew"
        )
    model.feature_layout = layout


def layout_from(settings: Mapping[str, Any]) -> Layout:
    """Return the layout that the settings of a column hold. Raises InputError when it is damaged."""
    try:
        layout = tuple((str(name), tuple(map(int, shape))) for name, shape in settings["layout"])
        steps_of(layout)
        if min(size for _, shape in layout for size in shape) < 1:
            raise ValueError("a dimension is not positive")
        return layout
    except (KeyError, TypeError, ValueError, InputError):
        raise InputError(
            "column.json of the tokens is damaged: it has no layout; add the column anew"
        ) from None


def read_tokens(members: Mapping[str, bytes], layout: Layout, *, padded: bool = False) -> dict[str, Tensor]:
    """Return the stored tokens of a clip as inputs of the model: `features`, float16 `[V]`.

    With `padded`, a clip can have fewer than T frames: zeros stand for the others, which `frame_mask` `[T]`
    marks. Raises StgcmaError for another shape.
    """
    array = read_array(member(dict(members), _MEMBER), _MEMBER)
    values, steps = values_of(layout), steps_of(layout)
    count, rest = divmod(array.size * steps, values)
    fits = 1 <= count <= steps and not rest if padded else count == steps and not rest
    if str(array.dtype) != "float16" or array.ndim != 1 or not fits:
        wanted = f"float16 [{values}]" + (f" or as much as some of {steps} frames take" if padded else "")
        raise StgcmaError(f"{_MEMBER} is {array.dtype} {list(array.shape)}, expected {wanted}")
    tokens = torch.from_numpy(array)
    if not padded:
        return {"features": tokens}
    return {"features": pad_steps(tokens, layout, count), FRAME_MASK: torch.arange(steps) < count}


class StoredTokens:
    """The stored tokens of clips, as inputs of the model.

    Args:
        column: of the tokens.
        padded: clips can have fewer than T frames.

    Raises InputError when `column.json` has no layout.
    """

    def __init__(self, column: ColumnReader, *, padded: bool = False) -> None:
        self._column, self._padded = column, padded
        self._layout = layout_from(column.info.settings)

    def inputs(self, members: Mapping[str, bytes]) -> dict[str, Tensor]:
        """Return the inputs of a clip. Raises StgcmaError for tokens of another shape."""
        return read_tokens(members, self._layout, padded=self._padded)

    def frame_of(self, members: Mapping[str, bytes], step: int) -> Tensor:
        """Return the backbone's last output for one frame, float16, without the dimension T."""
        begin, end = self._span(step)
        content = member(dict(members), _MEMBER)
        if len(content) < -begin:
            raise StgcmaError(f"{_MEMBER} has {len(content)} bytes, expected {-begin} or more")
        return self._frame(content[len(content) + begin : len(content) + end])

    def read_frame(self, key: str, step: int) -> Tensor:
        """Return the same as `frame_of`, of which nothing else is read and no hash compared."""
        return self._frame(self._column.read_end(key, _MEMBER, self._span(step)))

    def _frame(self, content: bytes) -> Tensor:
        shape = shape_of(self._layout, self._video)[1:]
        return torch.frombuffer(bytearray(content), dtype=torch.float16).view(shape)

    @property
    def _video(self) -> str:
        name = self._column.info.settings.get(STORED_VIDEO)
        if name not in dict(self._layout):
            raise InputError(
                f"{self._column.location}: the column {TOKENS} holds no outputs for frames of other clips; "
                f"drop it with `stgcma shards drop-column {self._column.location} {TOKENS}`, and add it anew"
            )
        return str(name)

    def _span(self, step: int) -> tuple[int, int]:
        """Return the bytes `[begin, end)` of a frame in the member, counted back from its end."""
        begin, end = span_of(self._layout, self._video, step)
        return 2 * (begin - values_of(self._layout)), 2 * (end - values_of(self._layout))


def _plain(value: Any) -> Any:
    """Return nested tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
