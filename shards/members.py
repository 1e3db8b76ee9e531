"""A clip's members as pictures and sentences, without any framework."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def frame_names(members: dict[str, bytes]) -> list[str]:
    """The names of the frames among a clip's members, in order."""
    return sorted(name for name in members if name.startswith("frame_"))


def open_frames(members: dict[str, bytes]) -> list[Any]:
    """The frames among a clip's members as Pillow images, in order; decoded when they are used."""
    from PIL import Image

    return [Image.open(io.BytesIO(members[name])) for name in frame_names(members)]


def read_mask(content: bytes) -> npt.NDArray[np.bool_]:
    """A mask member: `[H, W]`, true where the pixel belongs to what sounds."""
    import numpy as np
    from PIL import Image

    pixels: npt.NDArray[np.bool_] = np.asarray(Image.open(io.BytesIO(content))) > 127
    return pixels


def question_text(asked: dict[str, Any]) -> str:
    """A record of `qa.json` as the question that it asks."""
    return " ".join(asked["words"]).rstrip() + "?"
