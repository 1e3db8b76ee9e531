"""Repetition of requests to an object store that fail for reasons which pass."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

Result = TypeVar("Result")

TRIES = 7
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 20.0
_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_CODES = frozenset(
    {
        *("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"),
        *("RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable", "Busy"),
    }
)
# Of the drivers and their HTTP clients, by name, since most are not installed.
_KINDS = frozenset(
    {
        *("ConnectionClosedError", "ReadTimeoutError", "ConnectTimeoutError", "ResponseParserError"),
        *("IncompleteRead", "IncompleteReadError", "FSTimeoutError", "ServerDisconnectedError"),
        *("ClientPayloadError", "ClientOSError", "ServerTimeoutError", "SocketTimeoutError"),
        *("TransferEncodingError", "ContentLengthError", "ChecksumError"),
    }
)
_PATTERNS = ("slowdown", "reduce your request rate", "please try again", "too many requests", "timed out")


def is_passing(error: BaseException) -> bool:
    """Tell whether a request that failed with `error` may succeed when it is repeated.

    These are timeouts, connections that were reset, throttling, and errors of the server (5xx).
    """
    for each in _chain(error):
        if isinstance(each, TimeoutError | ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
            return True
        if type(each).__name__ in _KINDS:
            return True
        response = getattr(each, "response", None)
        if isinstance(response, dict):  # botocore's
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status in _STATUSES or response.get("Error", {}).get("Code") in _CODES:
                return True
        if _http_status(each) in _STATUSES:
            return True
        if any(pattern in str(each).casefold() for pattern in _PATTERNS):
            return True
    return False


def _http_status(error: BaseException) -> int | None:
    """Return the status that an HTTP client's error has, under its first name: others may be deprecated."""
    found = (getattr(error, name, None) for name in ("status", "status_code", "code"))
    return next((status for status in found if isinstance(status, int)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def retried(request: Callable[[], Result]) -> Result:
    """Return the result of `request`, which is repeated after errors that pass.

    The waits double and are drawn at random from their upper half, so that many workers do not return at
    once. Raises the last error.
    """
    number = 0
    while True:
        number += 1
        try:
            return request()
        except Exception as error:
            if number >= TRIES or not is_passing(error):
                raise
        wait = min(FIRST_WAIT_SECONDS * 2 ** (number - 1), LONGEST_WAIT_SECONDS)
        time.sleep(wait * random.uniform(0.5, 1.0))


class RetriedFile(io.RawIOBase):
    """A file of an fsspec file system whose reads are repeated after errors that pass.

    `reaching` makes the context that the reads are done in: it turns the errors of drivers into one's own.
    """

    def __init__(self, file: Any, reaching: Callable[[], AbstractContextManager[None]]) -> None:
        self._file, self._reaching = file, reaching

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return int(self._file.tell())

    def read(self, size: int = -1) -> bytes:
        """Read bytes; one request."""
        at = self._file.tell()

        def read() -> bytes:
            self._file.seek(at)
            return bytes(self._file.read(size))

        with self._reaching():
            return retried(read)

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer; one request."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
