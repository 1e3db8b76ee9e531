"""Small collections with known answers, as real encoded videos in the layouts that the authors ship.

To add one, write `preprocess/synthesis/NAME.py`, named like the collection, with a function like `synthesize`
in `ave.py`, and assign the function to `SYNTHESIZER`, and the settings of `stgcma demo` to `DEMO`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...registry import Registry

if TYPE_CHECKING:
    from .demo import Demo


class Synthesizer(Protocol):
    """Writes a collection of `clips` videos into the new folder `raw`; `seed` decides all that is drawn."""

    def __call__(self, raw: Path, *, clips: int, seed: int, workers: int) -> None: ...


SYNTHESIZERS: Registry[Synthesizer] = Registry(
    __name__, Path(__file__).parent, attribute="SYNTHESIZER", noun="synthetic collection"
)
DEMOS: Registry[Demo] = Registry(__name__, Path(__file__).parent, attribute="DEMO", noun="demo")
"""The settings of `stgcma demo` for each synthetic collection."""


def synthesize(name: str, raw: Path, *, clips: int, seed: int = 0, workers: int = 1) -> None:
    """Write a small collection of encoded videos in the layout of the collection `name`.

    70 % of the clips are for training, 10 % for val, 20 % for test. The same seed gives the same clips and
    labels, whatever the number of workers.

    Args:
        name: one of `SYNTHESIZERS.names`.
        raw: the folder to make; it must not exist, or be empty.
        clips: number of videos, at least 10.
        seed: decides everything that is drawn, at least 0.
        workers: encoding processes.

    Raises:
        InputError: for an unknown name, or for an argument that is not as above.
    """
    SYNTHESIZERS[name](raw, clips=clips, seed=seed, workers=workers)
