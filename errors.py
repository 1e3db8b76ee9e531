"""Errors that users of `stgcma` see, each with its exit status."""

from __future__ import annotations

import re

MAX_MESSAGE_CHARACTERS = 500
# Of an error: the line begins with `stgcma: `, and another error may quote it.
_MAX_ERROR_CHARACTERS = 480
_LINE_BREAKS = re.compile(r"\s*[\r\n]\s*")
# Control characters, which could control the terminal, other line ends, and surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def shortened(text: str, most: int = MAX_MESSAGE_CHARACTERS) -> str:
    """Return `text` in at most `most` characters, with ` … ` in place of the middle.

    Messages may quote lines of files, names or the output of other programs, of any length.
    """
    if len(text) <= most:
        return text
    gap = " … "
    tail = (most - len(gap)) * 2 // 5
    return text[: most - len(gap) - tail] + gap + text[len(text) - tail :]


def one_line(text: str, most: int = MAX_MESSAGE_CHARACTERS) -> str:
    """Return `text` without line breaks, control characters escaped, shortened to `most` characters."""
    return shortened(_UNPRINTABLE.sub(_escape, _LINE_BREAKS.sub(" ", text)), most)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class StgcmaError(Exception):
    """The work failed. The message is one line of at most 480 characters."""

    exit_code = 1

    def __init__(self, message: str = "", *more: object) -> None:
        super().__init__(one_line(str(message), _MAX_ERROR_CHARACTERS), *more)


class InputError(StgcmaError, ValueError):
    """The request or the input is wrong. It is also a `ValueError`, for callers from Python."""

    exit_code = 2


class OtherSettingsError(InputError):
    """An existing result was made with other settings or from other data than requested."""


class TooManyFailuresError(StgcmaError):
    """The work is done, but more clips were quarantined than allowed."""

    exit_code = 3
