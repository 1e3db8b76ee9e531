"""Subtitles in WebVTT (https://www.w3.org/TR/webvtt1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Cue(NamedTuple):
    """A text that is shown from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str


def webvtt(cues: Iterable[Cue]) -> str:
    """Return the content of a WebVTT file."""
    blocks = [f"{_timestamp(cue.start)} --> {_timestamp(cue.end)}\n{_escaped(cue.text)}\n" for cue in cues]
    return "\n".join(["WEBVTT\n", *blocks])


def _timestamp(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
