"""Limits on uploads, on the queue, and on the results that are stored."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import InputError


@dataclass(frozen=True)
class AppLimits:
    """Limits of the page. Decoding has the limits of `predict` in addition.

    Attributes:
        upload_bytes: of one video file.
        upload_seconds: the time that an upload may take.
        longest_seconds: the length of a video.
        waiting: the number of uploads and predictions that wait.
        results: the number of finished predictions that are stored; the oldest ones are deleted.
        result_seconds: the time for which they are stored.

    Raises InputError for a limit that is not positive.
    """

    upload_bytes: int = 200 * 2**20
    upload_seconds: float = 600.0
    longest_seconds: float = 600.0
    waiting: int = 8
    results: int = 32
    result_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not (value := getattr(self, field.name)) > 0:
                raise InputError(f"{field.name} is {value}, it must be positive")
