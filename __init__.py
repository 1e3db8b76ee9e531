"""Audio-visual learning with frozen vision transformers (STG-CMA, CVPR-W 2024).

>>> import stgcma
>>> model = stgcma.build_model("ave-demo")
>>> model = stgcma.load_model("run")  # or hf:ORG/NAME
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hub import load_model
    from .model import build_model, prepare_inputs

__version__ = "0.2.0"  # read by pyproject.toml too
__all__ = ["__version__", "build_model", "load_model", "prepare_inputs"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; `stgcma --help` must not wait for it.
    if name in __all__:
        from . import hub, model

        return getattr(hub if name == "load_model" else model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
