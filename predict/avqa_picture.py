"""Answers of AVQA as a picture: rivals, attention, and the position of the sound in the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..figures import (
    Colour,
    FrameStrip,
    clock,
    draw_heading,
    draw_row,
    draw_text,
    frame_size,
    new_canvas,
    percent,
    row_height,
    shorten_text,
    to_png,
    wrap_text,
)
from ..figures.drawing import BACKGROUND, HEADING_HEIGHT, INK, MARGIN, RULE, SOFT
from ..figures.frame_strips import AXIS_HEIGHT, SPECTROGRAM_HEIGHT
from ..preprocess.collections.windows import Span
from .avqa_result import Answer

_MOST_WINDOWS = 6
_GUTTER, _ROW_WIDTH = 96, 1320
_LANE, _RIVAL, _GAP = 46, 27, 26
_NEAREST = 6
_SEEN: Colour = (11, 107, 203)
_HEARD: Colour = (194, 65, 12)
_HEAT: Colour = (255, 90, 20)
_DIM: Colour = (20, 20, 32)
_ANSWER: Colour = (22, 122, 74)
# Full heat needs a cell with this multiple of the even share.
_LEAST_PEAK = 1.25


def shown_windows(count: int) -> list[int]:
    """Return the indices of the windows to draw: all of `count`, or some spread evenly over the video."""
    most = min(count, _MOST_WINDOWS)
    return sorted({round(index) for index in np.linspace(0, count - 1, most).tolist()})


@dataclass
class ShownWindow:
    """A window to draw: its frames, with the grounding as heat, above its spectrogram.

    Attributes:
        index: of the window in the video.
        strip: the drawn frames and the sound.
        densest: the largest share of the sound in one cell.
        even: the share of one cell when all are equal.
    """

    index: int
    strip: FrameStrip
    densest: float
    even: float

    @classmethod
    def of(
        cls,
        index: int,
        spans: Sequence[Span],
        frames: Sequence[Any],
        sounds: Sequence[npt.NDArray[Any]],
        grounding: npt.NDArray[np.floating[Any]],
        video_size: tuple[int, int],
    ) -> ShownWindow:
        """Draw the frames of a window.

        Args:
            index: of the window in the video.
            spans: start and end of the T steps, in seconds.
            frames: a Pillow image for each step.
            sounds: log-mel energies `[n, bins]` of each step.
            grounding: shares of the sound `[T, rows, columns]`.
            video_size: width and height of the video.
        """
        size = frame_size(*video_size, column_width=_ROW_WIDTH // len(spans))
        strip = FrameStrip(len(spans), most=len(spans), size=size)
        even, densest = 1 / grounding[0].size, float(grounding.max())
        # An even grounding has no heat.
        full = max(densest, _LEAST_PEAK * even)
        heat = np.clip((grounding - even) / (full - even), 0, 1)
        for step, span in enumerate(spans):
            strip.add(step, span, _heat_frame(frames[step].resize(size), heat[step]), sounds[step])
        return cls(index, strip, densest, even)


def _heat_frame(frame: Any, heat: npt.NDArray[np.floating[Any]]) -> Any:
    from PIL import Image

    levels = Image.fromarray((200 * heat).astype(np.uint8)).resize(frame.size, Image.Resampling.BICUBIC)
    dimmed = Image.blend(frame, Image.new("RGB", frame.size, _DIM), 0.25)
    return Image.composite(Image.new("RGB", frame.size, _HEAT), dimmed, levels)


def draw_answers(
    shown: Sequence[ShownWindow], answers: Sequence[Answer], windows: int, *, title: str, caption: str
) -> bytes:
    """Draw the answers as PNG: a panel for each question, with a row for each window of `shown`.

    `windows` is the number of windows of the video.
    """
    width = 2 * MARGIN + _GUTTER + _ROW_WIDTH
    row = row_height(shown[0].strip.size) + 2 * _LANE + _GAP
    panels = [_panel_height(answer, width) + row * len(shown) for answer in answers]
    canvas, draw = new_canvas(width, HEADING_HEIGHT + sum(panels) + MARGIN)
    if len(shown) < windows:
        caption += f" · {len(shown)} of its {windows} windows are shown"
    y = draw_heading(draw, title, f"{caption} · {_heat_caption(shown)}", width)
    for answer, height in zip(answers, panels, strict=True):
        top = _draw_answer(draw, y, answer, width)
        for window in shown:
            _draw_window(canvas, draw, top, window, answer, several=windows > 1)
            top += row
        y += height
    return to_png(canvas)


def _heat_caption(shown: Sequence[ShownWindow]) -> str:
    if shown[0].even == 1:
        return "the model sees a frame as one cell, so it cannot place the sound"
    densest = max(window.densest for window in shown)
    return (
        f"heat: where the sound is placed (at most {percent(densest, 1)} of it in a cell; "
        f"evenly it would be {percent(shown[0].even, 1)})"
    )


def _question_lines(answer: Answer, width: int) -> list[str]:
    return wrap_text(answer.question, 24, width - 2 * MARGIN)


def _panel_height(answer: Answer, width: int) -> int:
    return 24 + 32 * len(_question_lines(answer, width)) + 22 + _NEAREST * _RIVAL + 20


def _draw_answer(draw: Any, y: int, answer: Answer, width: int) -> int:
    """Draw the question, the answer and its rivals. Returns the y below them."""
    draw.line((MARGIN, y, width - MARGIN, y), fill=RULE, width=1)
    y += 24
    for line in _question_lines(answer, width):
        draw_text(draw, (MARGIN, y), line, 24)
        y += 32
    if answer.unknown_words or answer.unread_words:
        left_out = ", ".join((*answer.unknown_words, *answer.unread_words))
        note = f"not read, as the model does not know them or has no room: {left_out}"
        draw_text(draw, (MARGIN, y), shorten_text(note, 14, width - 2 * MARGIN), 14, _HEARD)
    y += 22
    for rank, (name, share) in enumerate(((answer.answer, answer.confidence), *answer.rivals)):
        middle = y + _RIVAL * rank + _RIVAL / 2
        size, colour = (20, _ANSWER) if rank == 0 else (15, SOFT)
        draw_text(draw, (MARGIN + 200, middle), shorten_text(name, size, 190), size, colour, anchor="rm")
        left, full = MARGIN + 212, 640
        draw.rectangle((left, middle - 8, left + full, middle + 8), fill=BACKGROUND)
        draw.rectangle((left, middle - 8, left + full * share, middle + 8), fill=colour)
        draw_text(draw, (left + full + 12, middle), percent(share), 15, colour, anchor="lm")
    return y + _NEAREST * _RIVAL + 20


def _draw_window(
    canvas: Any, draw: Any, y: int, window: ShownWindow, answer: Answer, *, several: bool
) -> None:
    ((columns, sound),) = window.strip.rows(len(window.strip.columns))
    below = draw_row(canvas, draw, (MARGIN + _GUTTER, y), columns, sound, tick_every=1)
    top = y + AXIS_HEIGHT
    draw_text(draw, (MARGIN, top + 4), clock(columns[0].start), 17)
    draw_text(draw, (MARGIN, top + 26), f"to {clock(columns[-1].end + 0.5)}", 14, SOFT)
    if several:
        name, share = answer.by_window[window.index]
        draw_text(draw, (MARGIN, top + 52), shorten_text(name, 15, _GUTTER - 10), 15, _ANSWER)
        draw_text(draw, (MARGIN, top + 72), percent(share), 14, SOFT)
    draw_text(draw, (MARGIN, below - SPECTROGRAM_HEIGHT / 2), "sound", 14, SOFT, anchor="lm")
    steps = [step for step in answer.steps if step.window == window.index]
    cell = window.strip.size[0]
    _draw_attention(draw, below + _LANE, "looked at", [step.seen for step in steps], cell, _SEEN)
    _draw_attention(draw, below + 2 * _LANE, "listened to", [step.heard for step in steps], cell, _HEARD)


def _draw_attention(
    draw: Any, bottom: float, label: str, shares: Sequence[float], cell: int, colour: Colour
) -> None:
    """Draw a lane of bars, one for each step; the highest is of the largest share, or of twice the mean."""
    draw_text(draw, (MARGIN, bottom - 12), label, 14, colour, anchor="lm")
    most = max(*shares, 2 / len(shares))
    for index, share in enumerate(shares):
        x = MARGIN + _GUTTER + cell * index
        height = (_LANE - 22) * share / most
        draw.rectangle((x + 2, bottom - height, x + cell - 4, bottom), fill=colour)
        draw_text(draw, (x + cell / 2, bottom - height - 9), percent(share), 12, INK, anchor="mm")
