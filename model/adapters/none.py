"""No adapter: the head alone learns, and the final norm where the backbone trains it."""

from __future__ import annotations

from dataclasses import dataclass

from ..records import AdapterConfig, AdapterMethod


@dataclass(frozen=True, kw_only=True)
class NoneConfig(AdapterConfig):
    """A frozen backbone; there are no options."""

    method = "none"


ADAPTER = AdapterMethod(config=NoneConfig)
