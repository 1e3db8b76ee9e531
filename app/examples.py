"""Example videos that the page offers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..bounded import read_file
from ..errors import InputError
from ..predict.sources import find_videos

_MOST = 12
_MOST_QUESTION_BYTES = 4096


@dataclass(frozen=True)
class Example:
    """A video, and a question about it; an empty text for none."""

    video: Path
    question: str = ""


def find_examples(folder: Path | None) -> tuple[Example, ...]:
    """Return the first 12 videos in `folder`, by path; none for None.

    The first line of `NAME.question.txt` beside `NAME.mp4` is its question. Raises InputError when there are
    no videos.
    """
    if folder is None:
        return ()
    if not folder.is_dir():
        raise InputError(f"examples {folder} is not a folder; name one that holds videos")
    videos, empty = find_videos([folder], without=None)
    if empty:
        raise InputError(f"examples {folder} holds no videos")
    return tuple(Example(video, _question(video.with_suffix(".question.txt"))) for video in videos[:_MOST])


def _question(path: Path) -> str:
    if not path.is_file():
        return ""
    text = read_file(path, most_bytes=_MOST_QUESTION_BYTES).decode("utf-8", errors="replace")
    lines = text.strip().splitlines()
    return lines[0] if lines else ""
