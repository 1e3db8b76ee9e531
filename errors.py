"""The errors that a user of `stgcma` can meet, and the exit status each one means."""

from __future__ import annotations

import re

MAX_MESSAGE_CHARACTERS = 500
# Of an error itself: its line begins with `stgcma: `, and may be quoted by another one.
_MAX_ERROR_CHARACTERS = 480
_LINE_BREAKS = re.compile(r"\s*[\r\n]\s*")
# Control characters, with which a name could steer the terminal, other line ends, and halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def shortened(text: str, most: int = MAX_MESSAGE_CHARACTERS) -> str:
    """`text` in at most `most` characters: its middle gives way to ` … `, since where and what stand outside.

    A message may quote a line of a file, a name or an answer of another program, of whatever length.
    """
    if len(text) <= most:
        return text
    gap = " … "
    tail = (most - len(gap)) * 2 // 5
    return text[: most - len(gap) - tail] + gap + text[len(text) - tail :]


def one_line(text: str, most: int = MAX_MESSAGE_CHARACTERS) -> str:
    """`text` without line breaks, shortened to `most` characters; control characters become escapes."""
    return shortened(_UNPRINTABLE.sub(_escape, _LINE_BREAKS.sub(" ", text)), most)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class StgcmaError(Exception):
    """The work failed. The message is one line of 480 characters at most: what, where, and what is right."""

    exit_code = 1

    def __init__(self, message: str = "", *more: object) -> None:
        super().__init__(one_line(str(message), _MAX_ERROR_CHARACTERS), *more)


class InputError(StgcmaError, ValueError):
    """The request or the input is wrong. Also a `ValueError`, for callers from Python."""

    exit_code = 2


class OtherSettingsError(InputError):
    """An existing result was made with other settings or from other data than those asked for."""


class TooManyFailuresError(StgcmaError):
    """The work is done, but more clips were quarantined than was allowed."""

    exit_code = 3
