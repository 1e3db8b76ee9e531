"""A clip's members as pictures for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import StgcmaError
from ..shards.members import open_frames

FRAME_PIXELS = 112
# Dark to bright, even in lightness; log-mel energies are drawn with it.
_HEAT = ((8, 8, 24), (70, 20, 105), (165, 45, 105), (235, 105, 70), (252, 200, 110), (255, 250, 220))
_MASK_COLOUR = np.array([255, 64, 32], dtype=np.float32)


def frame_strip(
    members: dict[str, bytes], masks: Iterable[npt.NDArray[np.bool_] | None] | None = None
) -> Any:
    """The clip's frames side by side, as a Pillow image.

    `masks`, `[T, H, W]` or one `[H, W]` a frame: where true, the frame is coloured, where false, darker. A
    frame whose mask is None is left as it is.
    """
    from PIL import Image

    frames = open_frames(members)
    strip = Image.new("RGB", (FRAME_PIXELS * len(frames), FRAME_PIXELS))
    of_frames = [None] * len(frames) if masks is None else masks
    for place, (frame, mask) in enumerate(zip(frames, of_frames, strict=True)):
        pixels = np.asarray(frame.convert("RGB"), dtype=np.float32)
        if mask is not None and mask.shape != pixels.shape[:2]:
            raise StgcmaError(f"mask {place} is {list(mask.shape)}, its frame {list(pixels.shape[:2])}")
        if mask is not None:
            pixels = np.where(mask[..., None], 0.45 * pixels + 0.55 * _MASK_COLOUR, 0.55 * pixels)
        image = Image.fromarray(pixels.astype(np.uint8)).resize((FRAME_PIXELS, FRAME_PIXELS))
        strip.paste(image, (place * FRAME_PIXELS, 0))
    return strip


def spectrogram(features: npt.NDArray[np.float16]) -> Any:
    """Log-mel energies `[K, frames, bins]` as a Pillow image: time to the right, frequency upwards."""
    from PIL import Image

    energies = features.astype(np.float32).reshape(-1, features.shape[-1]).T[::-1]
    low, high = np.percentile(energies, [2, 99.5])
    level = np.clip((energies - low) / max(high - low, 1e-6), 0, 1)
    stops = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(level, stops, [colour[channel] for colour in _HEAT]) for channel in range(3)]
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    return image.resize((FRAME_PIXELS * len(features), FRAME_PIXELS))


def data_url(image: Any, kind: str = "JPEG") -> str:
    """A Pillow image as a `data:` URL, so that the page needs no other file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=85)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
