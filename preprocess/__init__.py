"""Preprocessing: raw videos of a collection to frames and log-mel features in a shard directory.

>>> from stgcma.preprocess import Options, preprocess
>>> outcome = preprocess("ave", "RAW", "new_shards", Options(features=("fbank_128",), limit=4))
>>> outcome.written, outcome.quarantined
(4, 0)

`COLLECTIONS`, `DECODERS` and `SYNTHESIZERS` are the registries of collections, video decoders and synthetic
collections; `DEMOS` holds the settings of `stgcma demo` for the latter. Their `names` are available without
loading a decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_exports import lazy_exports

if TYPE_CHECKING:
    from .collections import COLLECTIONS, published
    from .media.video import DECODERS
    from .pipeline.finishing import Outcome, finish_parts
    from .pipeline.forecast import Forecast
    from .pipeline.options import Limits, Options
    from .pipeline.run import plan, preprocess
    from .synthesis import DEMOS, SYNTHESIZERS, synthesize

# Loaded on first use: the decoders take a second, and `stgcma --help` needs the names only.
_MODULES = {
    "COLLECTIONS": ".collections",
    "DECODERS": ".media.video",
    "DEMOS": ".synthesis",
    "SYNTHESIZERS": ".synthesis",
    "Forecast": ".pipeline.forecast",
    "Limits": ".pipeline.options",
    "Options": ".pipeline.options",
    "Outcome": ".pipeline.finishing",
    "finish_parts": ".pipeline.finishing",
    "plan": ".pipeline.run",
    "preprocess": ".pipeline.run",
    "published": ".collections",
    "synthesize": ".synthesis",
}
__all__ = [
    "COLLECTIONS",
    "DECODERS",
    "DEMOS",
    "SYNTHESIZERS",
    "Forecast",
    "Limits",
    "Options",
    "Outcome",
    "finish_parts",
    "plan",
    "preprocess",
    "published",
    "synthesize",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULES)
