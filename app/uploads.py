"""Uploads: received in parts into a file, with limits on size and time."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request

from ..errors import one_line
from ..figures import mebibytes
from .limits import AppLimits

_MOST_NAME_CHARACTERS = 100
_MOST_NAME_BYTES = 200  # names of result files add an ending, and file systems allow 255
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")
_MOST_DIGITS = 18  # int() refuses thousands of them


def parse_number(text: str) -> int | None:
    """Return the number that a request has as `text`, at most 18 digits; None for anything else.

    >>> parse_number("12"), parse_number("-1"), parse_number("9" * 5000)
    (12, None, None)
    """
    usable = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if usable else None


def display_name(name: str) -> str:
    """Return the name of an uploaded file without folders, for results.

    >>> display_name("C:\\\\clips\\\\bell.mp4"), display_name("../../etc"), display_name("..")
    ('bell.mp4', 'etc', 'video')
    """
    plain = one_line(re.split(r"[/\\]", name)[-1], _MOST_NAME_CHARACTERS).strip()
    plain = plain.encode()[:_MOST_NAME_BYTES].decode(errors="ignore")
    return "video" if plain.strip(".") == "" else plain


async def receive_file(request: Request, folder: Path, name: str, limits: AppLimits) -> Path:
    """Write the body of a request into a new file in `folder`.

    Only the suffix of `name` is used. Raises HTTPException: 413 for too many bytes, 408 for a slow upload,
    400 for an empty one.
    """
    too_large = HTTPException(413, f"The file is larger than the {mebibytes(limits.upload_bytes)} allowed.")
    claimed = request.headers.get("content-length")
    if claimed is not None:
        claimed_bytes = parse_number(claimed)
        if claimed_bytes is None or claimed_bytes > limits.upload_bytes:
            raise too_large
    suffix = Path(name).suffix
    path = folder / f"upload{suffix if _SUFFIX.fullmatch(suffix) else ''}"
    size = 0
    try:
        with path.open("wb") as stream:
            async with asyncio.timeout(limits.upload_seconds):
                async for part in request.stream():
                    size += len(part)
                    if size > limits.upload_bytes:
                        raise too_large
                    stream.write(part)
    except TimeoutError:
        raise HTTPException(408, f"The upload took longer than {limits.upload_seconds:g} seconds.") from None
    if size == 0:
        raise HTTPException(400, "The file is empty.")
    return path
