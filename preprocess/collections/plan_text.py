"""Canonical JSON of planned clips, from which the hash of a plan is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any

from ...shards.schema import canonical_json

_MOST_SHARED = 1024
_ADDED = ("frames", "windows", "mask_kind", "mask_classes", "frame_seconds", "frame_numbers")


class PlanText:
    """Writes everything that decides a clip's sample as canonical JSON.

    Labels, members and fields that clips share are encoded once, because a million clips are few of them.
    """

    def __init__(self) -> None:
        self._known: dict[Any, str] = {}
        self._fields: dict[int, tuple[Mapping[str, Any], str]] = {}  # by identity, so the objects are kept

    def of(self, values: tuple[Any, ...]) -> str:
        """Return the text of the clip with the fields `values`, in the order of `ClipSpecification`.

        Members are written as their hashes.
        """
        (
            key, split, source, labels, event_end, own, masks, members, pictures, sound, _, start, end,
            frames, windows, frame_seconds, frame_numbers, mask_kind, mask_classes, _,
        ) = values  # fmt: skip
        text = (
            f"[{encode_basestring(key)},{encode_basestring(split)},{encode_basestring(source)},"
            f"{self._labels(labels)},{self._own(own)},{_texts(masks)},{self._hashes(members)},"
            f"{_texts(pictures)},{'null' if sound is None else encode_basestring(sound)},{event_end}"
        )
        # Plans of clips that are whole files are as they were before there were spans.
        if end is not None:
            text += f",[{start!r},{end!r}]"
        # Named, and only where they are set: plans of collections without them have the hash they had before.
        if frames or windows or masks or mask_classes or frame_seconds or frame_numbers:
            kind = mask_kind if masks and mask_kind != "binary" else ""
            text += self._added(frames, windows, kind, mask_classes, frame_seconds, frame_numbers)
        return f"{text}]"

    def _added(self, *values: Any) -> str:
        known = self._known.get(values)
        if known is not None:
            return known
        given = {name: value for name, value in zip(_ADDED, values, strict=True) if value}
        return self._keep(values, f",{_json(given)}" if given else "")

    def _labels(self, labels: tuple[int, ...]) -> str:
        known = self._known.get(labels)
        return self._keep(labels, _json(labels)) if known is None else known

    def _hashes(self, members: tuple[tuple[str, bytes], ...]) -> str:
        known = self._known.get(members)
        if known is not None:
            return known
        return self._keep(members, _json([[name, sha256(content).hexdigest()] for name, content in members]))

    def _keep(self, value: Any, text: str) -> str:
        if len(self._known) == _MOST_SHARED:
            self._known.clear()
        self._known[value] = text
        return text

    def _own(self, fields: Mapping[str, Any]) -> str:
        if not fields:
            return "{}"
        known = self._fields.get(id(fields))
        if known is None:
            if len(self._fields) == _MOST_SHARED:
                self._fields.clear()
            known = self._fields[id(fields)] = (fields, _json(dict(fields)))
        return known[1]


def _json(value: Any) -> str:
    return canonical_json(value).decode()


def _texts(texts: tuple[str, ...]) -> str:
    return f"[{','.join(map(encode_basestring, texts))}]" if texts else "[]"


def hash_of_rows(rows: Iterable[tuple[Any, ...]]) -> str:
    """Return the hash of everything that decides the samples of clips with these fields."""
    text, digest = PlanText(), sha256()
    for values in rows:
        digest.update(f"{text.of(values)}\n".encode())
    return digest.hexdigest()
