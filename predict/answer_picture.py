"""AVQA drawn: each answer with its rivals, over what the question looked at and listened to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..preprocess.samples.windows import Span
from .digits import clock, percent
from .drawing import (
    BACKGROUND,
    HEADING_HEIGHT,
    INK,
    MARGIN,
    RULE,
    SOFT,
    Colour,
    fitted,
    heading,
    lines,
    new_page,
    png,
    text,
)
from .results import Answer, Step
from .strip import AXIS_HEIGHT, SPECTROGRAM_HEIGHT, Strip, draw_row, frame_size, row_height

_MOST_WINDOWS = 6
_GUTTER, _ROW_WIDTH = 96, 1320
_LANE, _RIVAL, _GAP = 46, 27, 26
_SEEN: Colour = (11, 107, 203)
_HEARD: Colour = (194, 65, 12)
_HEAT: Colour = (255, 90, 20)
_LEAST_PEAK = 1.25
_ANSWER: Colour = (22, 122, 74)


def shown_windows(count: int) -> list[int]:
    """Which of `count` windows are drawn: all, or some that are spread evenly over the video."""
    most = min(count, _MOST_WINDOWS)
    return sorted({round(place) for place in np.linspace(0, count - 1, most).tolist()})


@dataclass
class ShownWindow:
    """A window that is drawn: its frames with the grounding as heat, over its spectrogram."""

    place: int
    strip: Strip
    densest: float
    even: float

    @classmethod
    def of(
        cls,
        place: int,
        spans: Sequence[Span],
        frames: Sequence[Any],
        sounds: Sequence[npt.NDArray[Any]],
        grounding: npt.NDArray[np.floating[Any]],
        video_size: tuple[int, int],
    ) -> ShownWindow:
        """Of its steps' spans, frames, log-mel energies `[n, bins]` and grounding `[T, rows, columns]`."""
        size = frame_size(*video_size, wide=_ROW_WIDTH // len(spans))
        strip = Strip(len(spans), most=len(spans), size=size)
        even, densest = 1 / grounding[0].size, float(grounding.max())
        # Where nothing stands out, nothing glows.
        full = max(densest, _LEAST_PEAK * even)
        heat = np.clip((grounding - even) / (full - even), 0, 1)
        for step, span in enumerate(spans):
            strip.add(step, span, _heated(frames[step].resize(size), heat[step]), sounds[step])
        return cls(place, strip, densest, even)


def _heated(frame: Any, heat: npt.NDArray[np.floating[Any]]) -> Any:
    from PIL import Image

    levels = Image.fromarray((200 * heat).astype(np.uint8)).resize(frame.size, Image.Resampling.BICUBIC)
    dimmed = Image.blend(frame, Image.new("RGB", frame.size, (20, 20, 32)), 0.25)
    return Image.composite(Image.new("RGB", frame.size, _HEAT), dimmed, levels)


def draw_answers(
    shown: Sequence[ShownWindow], answers: Sequence[Answer], windows: int, *, title: str, beneath: str
) -> bytes:
    """The whole picture as PNG: a panel for each question, with a row for each window that is shown."""
    width = 2 * MARGIN + _GUTTER + _ROW_WIDTH
    row = row_height(shown[0].strip.size) + 2 * _LANE + _GAP
    panels = [_panel_height(answer, width) + row * len(shown) for answer in answers]
    page, draw = new_page(width, HEADING_HEIGHT + sum(panels) + MARGIN)
    if len(shown) < windows:
        beneath += f" · {len(shown)} of its {windows} windows are shown"
    beneath += f" · {_said_of_heat(shown)}"
    y = heading(draw, title, beneath, width)
    for answer, height in zip(answers, panels, strict=True):
        top = _draw_answer(draw, y, answer, width)
        for window in shown:
            _draw_window(page, draw, top, window, answer, several=windows > 1)
            top += row
        y += height
    return png(page)


def _said_of_heat(shown: Sequence[ShownWindow]) -> str:
    if shown[0].even == 1:
        return "the model sees a frame as one cell, so it cannot place the sound"
    densest = max(window.densest for window in shown)
    return (
        f"heat: where the sound is placed (at most {densest:.1%} of it in a cell; "
        f"evenly it would be {shown[0].even:.1%})"
    )


def _question_lines(answer: Answer, width: int) -> list[str]:
    return lines(answer.question, 24, width - 2 * MARGIN)


def _panel_height(answer: Answer, width: int) -> int:
    return 24 + 32 * len(_question_lines(answer, width)) + 22 + 6 * _RIVAL + 20


def _draw_answer(draw: Any, y: int, answer: Answer, width: int) -> int:
    """The question, the answer and its rivals. Returns where to go on below."""
    draw.line((MARGIN, y, width - MARGIN, y), fill=RULE, width=1)
    y += 24
    for line in _question_lines(answer, width):
        text(draw, (MARGIN, y), line, 24)
        y += 32
    if answer.unknown_words or answer.unread_words:
        left_out = ", ".join((*answer.unknown_words, *answer.unread_words))
        note = f"not read, as the model does not know them or has no room: {left_out}"
        text(draw, (MARGIN, y), fitted(note, 14, width - 2 * MARGIN), 14, _HEARD)
    y += 22
    for place, (name, share) in enumerate(((answer.answer, answer.confidence), *answer.rivals)):
        middle = y + _RIVAL * place + _RIVAL / 2
        size, colour = (20, _ANSWER) if place == 0 else (15, SOFT)
        text(draw, (MARGIN + 200, middle), fitted(name, size, 190), size, colour, anchor="rm")
        left, full = MARGIN + 212, 640
        draw.rectangle((left, middle - 8, left + full, middle + 8), fill=BACKGROUND)
        draw.rectangle((left, middle - 8, left + full * share, middle + 8), fill=colour)
        text(draw, (left + full + 12, middle), percent(share), 15, colour, anchor="lm")
    return y + 6 * _RIVAL + 20


def _draw_window(page: Any, draw: Any, y: int, window: ShownWindow, answer: Answer, *, several: bool) -> None:
    left = MARGIN + _GUTTER
    ((columns, sound),) = window.strip.rows(len(window.strip.columns))
    below = draw_row(page, draw, (left, y), columns, sound, every=1)
    frames = y + AXIS_HEIGHT
    text(draw, (MARGIN, frames + 4), clock(columns[0].start), 17)
    text(draw, (MARGIN, frames + 26), f"to {clock(columns[-1].end + 0.5)}", 14, SOFT)
    if several:
        name, share = answer.by_window[window.place]
        text(draw, (MARGIN, frames + 52), fitted(name, 15, _GUTTER - 10), 15, _ANSWER)
        text(draw, (MARGIN, frames + 72), percent(share), 14, SOFT)
    text(draw, (MARGIN, below - SPECTROGRAM_HEIGHT / 2), "sound", 14, SOFT, anchor="lm")
    steps = [step for step in answer.steps if step.window == window.place]
    cell = window.strip.size[0]
    for lane, (label, colour, shares) in enumerate(
        (("looked at", _SEEN, _seen(steps)), ("listened to", _HEARD, _heard(steps)))
    ):
        bottom = below + _LANE * (lane + 1)
        text(draw, (MARGIN, bottom - 12), label, 14, colour, anchor="lm")
        most = max(*shares, 2 / len(shares))
        for place, share in enumerate(shares):
            x = left + cell * place
            high = (_LANE - 22) * share / most
            draw.rectangle((x + 2, bottom - high, x + cell - 4, bottom), fill=colour)
            text(draw, (x + cell / 2, bottom - high - 9), percent(share), 12, INK, anchor="mm")


def _seen(steps: Sequence[Step]) -> list[float]:
    return [step.seen for step in steps]


def _heard(steps: Sequence[Step]) -> list[float]:
    return [step.heard for step in steps]
