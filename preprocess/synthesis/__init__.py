"""Small collections made of nothing, as real encoded videos in the layouts that the authors ship."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from ...errors import InputError


class Synthesizer(Protocol):
    """Writes a collection of `clips` videos under the new folder `raw`; the seed decides all of it."""

    def __call__(self, raw: Path, *, clips: int, seed: int, workers: int) -> None: ...


# Collection to the module beside this one that makes it; loaded when it is asked for.
SYNTHESIZERS = {"ave": "ave", "avs-s4": "avs_s4", "music-avqa": "music_avqa"}


def synthesizer(name: str) -> Synthesizer:
    """What makes the collection `name`. Raises InputError listing the known ones."""
    if name not in SYNTHESIZERS:
        raise InputError(
            f"collection {name!r} cannot be synthesised; choose from {', '.join(sorted(SYNTHESIZERS))}"
        )
    return cast("Synthesizer", import_module(f".{SYNTHESIZERS[name]}", __name__).synthesize)
