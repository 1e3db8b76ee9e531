"""Reasons for which a clip is quarantined, and the error that carries one."""

from __future__ import annotations

from ...errors import shortened

# The complete list of reasons, as they appear in quarantine.parquet.
REASONS: dict[str, str] = {
    "missing": "the annotations name it, but there is no such file",
    "empty": "the file, or the stream that is needed, holds no data",
    "unreadable": "it cannot be opened, or some of its pictures or sound do not decode",
    "truncated": "more than 0.5 s are without picture or sound: a late start, holes, or an early end",
    "no-video": "the file has no video stream",
    "no-audio": "the file has no audio stream",
    "too-large": "its dimensions or duration are beyond what a clip may have (a decompression bomb)",
    "unsupported": "the decoder that was asked for is known to be wrong for such a file",
    "timeout": "decoding took longer than the deadline",
    "crashed": "the process that decoded it died or failed unexpectedly, every time it was tried",
    "out-of-memory": "decoding needed more memory than a clip may have",
    "unsafe-path": "its path or a link leaves the collection's folder",
    "duplicate-key": "another clip of the data set has the same key",
    "mask-mismatch": "its masks do not fit its frames",
    "longer-than-annotated": "it is more than 1 s longer than the span that its annotation describes",
    "changed": "a file or the annotation is not the one that the clip was made of (`shards add-column`)",
    "bad-annotation": "its annotation contradicts itself or the clip",
}


class ClipError(Exception):
    """A clip cannot be used. `reason` is a key of `REASONS`, `message` one line of at most 500 characters.

    Raises `ValueError` when `reason` is not listed.
    """

    def __init__(self, reason: str, message: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"reason is {reason!r}, allowed are {', '.join(REASONS)}")
        self.reason = reason
        self.message = shortened(" ".join(message.split()))
        super().__init__(reason, self.message)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class DamageError(ClipError):
    """The file opens, but some of its pictures or sound do not decode: another decoder would hide it."""
