"""Predictions of some clips as pictures: the rows of the report, drawn as PNG."""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Sequence
from typing import Any

import torch

from ..figures import Colour, draw_text, new_canvas, percent, shorten_text, to_png, wrap_text
from ..model import STGCMA
from ..train.batch import make_loader
from ..train.data import ClipDataset
from ..train.evaluation import outputs
from .strips import Row
from .tasks.base import PredictedAnswer
from .views import ChosenClips, ClipView, view_clip

_WIDTH, _HEADING_WIDTH, _MARGIN = 1000, 120, 12
_LINE_HEIGHT, _TEXT_SIZE, _TITLE_SIZE = 26, 14, 18
_WRONG: Colour = (190, 40, 30)
_GREY: Colour = (236, 239, 242)


def draw_clips(
    model: STGCMA, clips: ClipDataset, *, device: torch.device, precision: str, count: int
) -> dict[str, bytes]:
    """Return pictures of the predictions of `count` clips, PNG by key.

    The clips are spread evenly over the split, the same at every call; nothing is drawn at random. The model
    is left in evaluation mode.
    """
    task, chosen = clips.task, spread(len(clips), count)
    loader = make_loader(clips, ChosenClips(chosen), workers=0)
    pictures = {}
    for index, (batch, made) in zip(chosen, outputs(model, task, loader, device, precision), strict=True):
        one, targets = task.clip_of(made, batch.targets, 0)
        view = view_clip(clips, index, one, targets, task.clip_score(one, targets))
        pictures[view.key] = draw_view(view)
    return pictures


def spread(clips: int, count: int) -> list[int]:
    """Return at most `count` indices below `clips`, evenly spaced, the first and the last among them."""
    if count >= clips:
        return list(range(clips))
    return [round(number * (clips - 1) / max(count - 1, 1)) for number in range(count)]


def draw_view(view: ClipView) -> bytes:
    """Return the picture of a clip: its key and score, its rows, and its questions; a PNG."""
    rows = [(row, _picture(row)) for row in view.strip.rows]
    heights = [_LINE_HEIGHT if picture is None else picture.height for _, picture in rows]
    answers = [line for one in view.answers for line in _answer_lines(one)]
    top = _TITLE_SIZE + 2 * _MARGIN
    height = top + sum(heights) + _MARGIN // 2 * len(rows) + _LINE_HEIGHT * len(answers) + _MARGIN
    canvas, draw = new_canvas(_WIDTH, height)
    title = f"{view.key} · {percent(view.score)}"
    draw_text(draw, (_MARGIN, _MARGIN), shorten_text(title, _TITLE_SIZE, _WIDTH - 2 * _MARGIN), _TITLE_SIZE)
    for (row, picture), tall in zip(rows, heights, strict=True):
        heading = shorten_text(row.heading, _TEXT_SIZE, _HEADING_WIDTH - 2 * _MARGIN)
        draw_text(draw, (_MARGIN, top + tall / 2), heading, _TEXT_SIZE, anchor="lm")
        if picture is not None:
            canvas.paste(picture, (_HEADING_WIDTH, top))
        _draw_segments(draw, row, top)
        _draw_cells(draw, row.cells, top)
        top += tall + _MARGIN // 2
    for text, wrong in answers:
        draw_text(draw, (_MARGIN, top), text, _TEXT_SIZE, _WRONG if wrong else (27, 31, 36))
        top += _LINE_HEIGHT
    return to_png(canvas)


def _picture(row: Row) -> Any:
    """Return a row's picture, as wide as all rows; None for a row without one."""
    from PIL import Image

    if not row.image:
        return None
    image = Image.open(io.BytesIO(base64.b64decode(row.image.partition(",")[2]))).convert("RGB")
    width = _WIDTH - _HEADING_WIDTH - _MARGIN
    return image.resize((width, max(image.height * width // image.width, 1)))


def _draw_segments(draw: Any, row: Row, top: int) -> None:
    total = sum(segment.seconds for segment in row.segments)
    left = float(_HEADING_WIDTH)
    for segment in row.segments:
        width = (_WIDTH - _HEADING_WIDTH - _MARGIN) * segment.seconds / total
        box = (left, top, left + width - 2, top + _LINE_HEIGHT - 2)
        draw.rectangle(box, fill=_surface(segment.hue), outline=_WRONG if segment.wrong else None, width=2)
        text = shorten_text(segment.name, _TEXT_SIZE, width - 10)
        draw_text(draw, (left + 5, top + _LINE_HEIGHT / 2 - 1), text, _TEXT_SIZE, anchor="lm")
        left += width


def _draw_cells(draw: Any, cells: Sequence[str], top: int) -> None:
    width = (_WIDTH - _HEADING_WIDTH - _MARGIN) / max(len(cells), 1)
    for number, text in enumerate(cells):
        middle = _HEADING_WIDTH + width * (number + 0.5)
        shown = shorten_text(text, _TEXT_SIZE, width - 4)
        draw_text(draw, (middle, top + _LINE_HEIGHT / 2), shown, _TEXT_SIZE, anchor="mm")


def _surface(hue: int | None) -> Colour:
    """Return the light colour of a class; grey for the background."""
    if hue is None:
        return _GREY
    red, green, blue = colorsys.hls_to_rgb(hue / 360, 0.8, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)


def _answer_lines(answer: PredictedAnswer) -> list[tuple[str, bool]]:
    """Return a question with its predicted answer in lines, each with True where the answer is wrong."""
    text = f"{answer.question} {answer.predicted} ({percent(answer.confidence)})"
    text += "" if answer.right else f", true: {answer.true}"
    return [(line, not answer.right) for line in wrap_text(text, _TEXT_SIZE, _WIDTH - 2 * _MARGIN)]
