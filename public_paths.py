"""Texts and records without the paths of this machine, and without the credentials in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

ABSOLUTE_PATH = re.compile(r"(?<![\w.\-/:])(?:~?/(?!/)|[A-Za-z]:\\{1,2}(?=\w))[^\s\"'<>:,;()\[\]{}`|*?=]+")
"""An absolute path within a text: with `/`, or of Windows; not within a URL."""

_WHOLE_PATH = re.compile(r"(?:~?/|[A-Za-z]:[\\/]|\\\\|file:|local:)")
# AudioSet's names of classes.
_CLASS_ID = re.compile(r"/[mtg]/[0-9a-z_]+")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>`]+", re.IGNORECASE)
# Parameters that give access, as in addresses that a store has signed.
_SECRET = re.compile(
    r"(?:.*[-_])?(?:sig|signature|token|credential|password|secret|(?:api|access)?key|\w*accesskeyid)=.*",
    re.IGNORECASE,
)
_PLACES = ("shards",)


def is_path(text: str) -> bool:
    """Tell whether a text that begins like an absolute path is one, and not the name of a class."""
    return not _CLASS_ID.fullmatch(text)


def without_paths(content: Any, *, shards: str | None = None) -> Any:
    """Return parsed JSON or YAML with the last part of each absolute path in its place.

    URLs lose the user, the password and the parameters that give access.

    Args:
        content: the values.
        shards: the public address of the shards, in place of where they were; empty for none. None: where
            they were is treated like all other values.
    """
    if isinstance(content, dict):
        return {
            name: shards
            if shards is not None and name in _PLACES and isinstance(value, str)
            else without_paths(value, shards=shards)
            for name, value in content.items()
        }
    if isinstance(content, list):
        return [without_paths(value, shards=shards) for value in content]
    if not isinstance(content, str):
        return content
    if _WHOLE_PATH.match(content) and is_path(content):
        return _last_part(content)
    return _URL.sub(lambda match: without_credentials(match[0]), content)


def public_text(text: str, names: Mapping[str, str]) -> str:
    """Return a message with the last part of each absolute path in its place.

    Args:
        text: the message.
        names: by path with a slash; each is replaced by its name first, also where it has spaces.

    >>> public_text("/srv/runs/run a is damaged: /srv/w.pt, 1/2", {"/srv/runs/run a": "the run"})
    'the run is damaged: w.pt, 1/2'
    """
    for path in sorted(names, key=len, reverse=True):
        if "/" in path:
            text = text.replace(path, names[path])
    return ABSOLUTE_PATH.sub(lambda match: _last_part(match[0]) if is_path(match[0]) else match[0], text)


def credentials_in(text: str) -> Iterator[str]:
    """Yield the URLs of a text that hold credentials, without these."""
    for match in _URL.finditer(text):
        public = without_credentials(match[0])
        if public != match[0]:
            yield public


def without_credentials(url: str) -> str:
    """Return a URL without user, password and parameters that give access.

    >>> without_credentials("https://eva:x@host/w.pt?v=2"), without_credentials("s3://data/w?X-Amz-Signature=1")
    ('https://host/w.pt?v=2', 's3://data/w')
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are no address: it cannot be used as a URL either
        return url
    signed = any(_SECRET.fullmatch(each) for each in parts.query.split("&"))
    if "@" not in parts.netloc and not signed:
        return url
    query = "" if signed else parts.query
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query).geturl()


def _last_part(path: str) -> str:
    windows = "\\" in path or (re.match(r"[A-Za-z]:", path) is not None and not path.startswith("file:"))
    return (PureWindowsPath(path) if windows else PurePosixPath(path)).name
