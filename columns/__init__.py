"""Members that are added to the clips of a finished shard directory (`stgcma shards add-column`).

>>> from stgcma.columns import add_fbank, drop_column
>>> added = add_fbank("shards", "fbank_224", raw="RAW")
>>> added.written, added.quarantined
(4, 0)
>>> drop_column("shards", "fbank_224")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_exports import lazy_exports

if TYPE_CHECKING:
    from .fbank import add_fbank
    from .output import Added, drop_column
    from .tokens import add_tokens

_MODULES = {"Added": ".output", "add_fbank": ".fbank", "add_tokens": ".tokens", "drop_column": ".output"}
__all__ = ["Added", "add_fbank", "add_tokens", "drop_column"]

__getattr__, __dir__ = lazy_exports(__name__, _MODULES)
