"""Log-mel energies as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .drawing import Colour

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WINDOW_PIXELS = 112
"""The width of one window of a spectrogram, and its height."""

# Dark to bright in even steps of lightness.
_COLOURS: tuple[Colour, ...] = (
    (8, 8, 24),
    (70, 20, 105),
    (165, 45, 105),
    (235, 105, 70),
    (252, 200, 110),
    (255, 250, 220),
)


def spectrogram(energies: npt.NDArray[np.float16]) -> Any:
    """Draw log-mel energies `[K, frames, bins]` as a Pillow image, time to the right, frequency upwards.

    The windows are joined. The darkest colour is the 2nd percentile of all energies, the brightest the
    99.5th. The image is `K * WINDOW_PIXELS` wide and `WINDOW_PIXELS` high.
    """
    import numpy as np
    from PIL import Image

    levels = energies.astype(np.float32).reshape(-1, energies.shape[-1]).T[::-1]
    low, high = np.percentile(levels, [2, 99.5])
    levels = np.clip((levels - low) / max(high - low, 1e-6), 0, 1)
    stops = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(levels, stops, [colour[channel] for colour in _COLOURS]) for channel in range(3)]
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    return image.resize((WINDOW_PIXELS * len(energies), WINDOW_PIXELS))
