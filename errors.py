"""The errors that a user of `stgcma` can meet, and the exit status each one means."""

from __future__ import annotations


class StgcmaError(Exception):
    """The work failed. The message is one line: what, where, and what would be right."""

    exit_code = 1


class InputError(StgcmaError, ValueError):
    """The request or the input is wrong. Also a `ValueError`, for callers from Python."""

    exit_code = 2


class OtherSettingsError(InputError):
    """What is there was made with other settings or from other data than those asked for."""


class TooManyFailuresError(StgcmaError):
    """The work is done, but more clips were quarantined than was allowed."""

    exit_code = 3
