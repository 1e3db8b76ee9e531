"""A trained model as one file that runs without `stgcma`: `torch.export` and ONNX.

`export` writes it. `FORMATS` has the formats by the ending of the file; a module of this package that assigns
`FORMAT` adds one.

>>> from stgcma.export import FORMATS
>>> FORMATS.names
('onnx', 'pt2')
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..lazy_exports import lazy_exports
from ..registry import Registry

if TYPE_CHECKING:
    from .base import FileFormat
    from .service import Exported, export

FORMATS: Registry[FileFormat] = Registry(__name__, Path(__file__).parent, attribute="FORMAT", noun="format")
"""The formats by the ending of their files, without the dot."""

__all__ = ["FORMATS", "Exported", "export"]
__getattr__, __dir__ = lazy_exports(__name__, dict.fromkeys(("Exported", "export"), ".service"))
