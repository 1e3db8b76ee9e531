"""RandAugment's operations, crop and flip on frames `[T, 3, H, W]` uint8, on whatever device they are.

Each does to all frames of a clip what Pillow does to a picture under the name that timm gives the operation;
statistics (contrast, equalising) are those of each frame. The operations of a table or of integers are exact,
the others differ by the order of float operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Fill = tuple[int, int, int]
Operation = Callable[..., Tensor]

_LEVELS = 256
_ROUNDING = 1 / 1024  # more than the error of a sum of 16 products in float32


def crop_and_resize(frames: Tensor, crop: tuple[int, int, int, int], pixels: int) -> Tensor:
    """Cut `crop` (top, left, height, width) out of all frames, and resize it to `pixels` × `pixels`."""
    top, left, height, width = crop
    cut = frames[..., top : top + height, left : left + width].float()
    resized = functional.interpolate(cut, (pixels, pixels), mode="bicubic", antialias=True)
    return resized.round_().clamp_(0, _LEVELS - 1).to(torch.uint8)


def _table(frames: Tensor, table: Tensor) -> Tensor:
    """Look every value up in a table: `[256]` for all, or `[T, 3, 256]` for each frame and channel."""
    if table.dim() == 1:
        return table.to(torch.uint8).index_select(0, frames.flatten().int()).view_as(frames)
    values = table.to(torch.uint8).flatten(0, 1).gather(1, frames.flatten(2).flatten(0, 1).long())
    return values.view_as(frames)


def _levels(frames: Tensor) -> Tensor:
    return torch.arange(_LEVELS, device=frames.device)


def _auto_contrast(frames: Tensor, _fill: Fill) -> Tensor:
    flat = frames.flatten(2)
    low, high = flat.amin(-1, keepdim=True).double(), flat.amax(-1, keepdim=True).double()
    scale = (_LEVELS - 1) / (high - low).clamp(min=1)
    levels = _levels(frames).double()
    stretched = (levels * scale - low * scale).trunc().clamp(0, _LEVELS - 1)
    return _table(frames, torch.where(high > low, stretched, levels))


def _equalize(frames: Tensor, _fill: Fill) -> Tensor:
    flat = frames.flatten(2).flatten(0, 1).long()
    counts = flat.new_zeros(len(flat), _LEVELS).scatter_add_(1, flat, torch.ones_like(flat))
    last = (_LEVELS - 1 - counts.flip(1).ne(0).int().argmax(1, keepdim=True)).long()
    step = (flat.shape[1] - counts.gather(1, last)) // (_LEVELS - 1)
    before = counts.cumsum(1) - counts
    spread = ((step // 2 + before) // step.clamp(min=1)).clamp(max=_LEVELS - 1)
    table = torch.where(step > 0, spread, _levels(frames))
    return _table(frames, table.view(*frames.shape[:2], _LEVELS))


def _invert(frames: Tensor, _fill: Fill) -> Tensor:
    return _LEVELS - 1 - frames


def _posterize(frames: Tensor, _fill: Fill, bits: int) -> Tensor:
    return frames & (0xFF & ~((1 << (8 - bits)) - 1)) if bits < 8 else frames


def _solarize(frames: Tensor, _fill: Fill, threshold: int) -> Tensor:
    levels = _levels(frames)
    return _table(frames, torch.where(levels < threshold, levels, _LEVELS - 1 - levels))


def _solarize_add(frames: Tensor, _fill: Fill, added: int, threshold: int = 128) -> Tensor:
    levels = _levels(frames)
    return _table(frames, torch.where(levels < threshold, (levels + added).clamp(max=_LEVELS - 1), levels))


def _luma(frames: Tensor) -> Tensor:
    """RGB to the brightness of ITU-R 601, `[T, 1, H, W]` int32, in the fixed point that Pillow uses."""
    red, green, blue = frames.int().unbind(1)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).unsqueeze(1)


def _blend(other: Tensor, frames: Tensor, share: float) -> Tensor:
    """Return `other + share·(frames − other)`, cut off to whole levels."""
    other = other.float()
    return frames.float().sub_(other).mul_(share).add_(other).clamp_(0, _LEVELS - 1).to(torch.uint8)


def _color(frames: Tensor, _fill: Fill, share: float) -> Tensor:
    return _blend(_luma(frames), frames, share)


def _contrast(frames: Tensor, _fill: Fill, share: float) -> Tensor:
    luma = _luma(frames)
    pixels = luma[0].numel()
    mean = (2 * luma.sum((1, 2, 3), keepdim=True) + pixels) // (2 * pixels)
    return _blend(mean, frames, share)


def _brightness(frames: Tensor, _fill: Fill, share: float) -> Tensor:
    return _blend(torch.zeros_like(frames), frames, share)


def _sharpness(frames: Tensor, _fill: Fill, share: float) -> Tensor:
    values = frames.to(torch.int16)
    rows = values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * values[..., 1:-1, 1:-1]
    values[..., 1:-1, 1:-1] = (2 * sums + 13) // 26  # of weights 1 around 5, rounded; the border stays
    return _blend(values, frames, share)


def _taps(places: Tensor, size: int, *, whole: bool) -> list[tuple[Tensor, Tensor]]:
    """Return the indices and weights of the pixels that a bicubic value is made of, along one axis.

    `places` are coordinates in which pixel i covers i to i + 1. The kernel is Pillow's for affine transforms:
    Keys' with a = −1. With `whole`, all places are centres of pixels.
    """
    places = places - 0.5
    first = places.floor()
    index = first.long()
    if whole:
        return [(index.clamp(0, size - 1), torch.ones_like(places))]
    x = places - first
    weights = (
        x * (-1 + x * (2 - x)),
        1 + x * x * (x - 2),
        x * (1 + x * (1 - x)),
        x * x * (x - 1),
    )
    return [
        ((index + step).clamp(0, size - 1), weight)
        for step, weight in zip(range(-1, 3), weights, strict=True)
    ]


def _affine(frames: Tensor, fill: Fill, matrix: tuple[float, float, float, float, float, float]) -> Tensor:
    """Return frames whose pixel (x, y) is that at (ax + by + c, dx + ey + f), or `fill` outside the frame."""
    a, b, c, d, e, f = matrix
    height, width = frames.shape[-2:]
    y = torch.arange(height, device=frames.device, dtype=torch.float64).unsqueeze(1) + 0.5
    x = torch.arange(width, device=frames.device, dtype=torch.float64) + 0.5
    at_x, at_y = a * x + b * y + c, d * x + e * y + f
    inside = (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
    columns = _taps(at_x, width, whole=(a, b, c) == (1, 0, 0))
    # A row for each pixel, of all frames and colours: a gather copies rows.
    pixels = frames.flatten(2).flatten(0, 1).T.float().contiguous()
    total = torch.zeros_like(pixels)
    for row, row_weight in _taps(at_y, height, whole=(d, e, f) == (0, 1, 0)):
        for column, weight in columns:
            place = (row * width + column).flatten()
            total.addcmul_(
                pixels.index_select(0, place), (row_weight * weight).float().flatten().unsqueeze(1)
            )
    # Pillow cuts off what float64 gives: whole levels must not become a little less in float32.
    total.add_(_ROUNDING).clamp_(0, _LEVELS - 1)
    result = total.to(torch.uint8).T.contiguous().view_as(frames)
    for channel, level in enumerate(fill):
        result[:, channel].masked_fill_(~inside, level)
    return result


def _rotate(frames: Tensor, fill: Fill, degrees: float) -> Tensor:
    angle = -math.radians(degrees % 360)
    cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = frames.shape[-1] / 2, frames.shape[-2] / 2
    return _affine(
        frames, fill, (cosine, sine, x - cosine * x - sine * y, -sine, cosine, y + sine * x - cosine * y)
    )


def _shear_x(frames: Tensor, fill: Fill, factor: float) -> Tensor:
    return _affine(frames, fill, (1, factor, 0, 0, 1, 0))


def _shear_y(frames: Tensor, fill: Fill, factor: float) -> Tensor:
    return _affine(frames, fill, (1, 0, 0, factor, 1, 0))


def _translate_x(frames: Tensor, fill: Fill, share: float) -> Tensor:
    return _affine(frames, fill, (1, 0, share * frames.shape[-1], 0, 1, 0))


def _translate_y(frames: Tensor, fill: Fill, share: float) -> Tensor:
    return _affine(frames, fill, (1, 0, 0, 0, 1, share * frames.shape[-2]))


# By the names of timm's operations.
OPERATIONS: dict[str, Operation] = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": _invert,
    "Rotate": _rotate,
    "Posterize": _posterize,
    "PosterizeIncreasing": _posterize,
    "Solarize": _solarize,
    "SolarizeIncreasing": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _color,
    "ColorIncreasing": _color,
    "Contrast": _contrast,
    "ContrastIncreasing": _contrast,
    "Brightness": _brightness,
    "BrightnessIncreasing": _brightness,
    "Sharpness": _sharpness,
    "SharpnessIncreasing": _sharpness,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateXRel": _translate_x,
    "TranslateYRel": _translate_y,
}
