"""The data that a model was trained on, stored in checkpoints, so that their folder is enough to use them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The data of a training, as far as scoring and predicting need it.

    Attributes:
        collection: such as `ave` or `folder`.
        preset: of the training.
        classes: their names in label order (AVE: the background last).
        vocabulary: `words` and `answers` in the order of their ids, and `types` of questions where they are
            not MUSIC-AVQA's (AVQA); else empty.
        features: how a clip becomes a sample: `sampling`, `fbanks`, `frame_pixels`, `jpeg_quality`, as in
            `dataset.json`.
        clip_seconds: the median length of the training clips.
        fbank: the member that the model reads, such as `fbank_128`.
        fbank_mean, fbank_std: it is normalised as `(x − mean) / (2·std)`.
        image_mean, image_std: by channel; frames are normalised as `(x / 255 − mean) / std`.
        precision, tf32: of the activations, and of fp32 products, as in the settings of `train`.
    """

    collection: str
    preset: str
    classes: tuple[str, ...]
    vocabulary: Mapping[str, tuple[str, ...]]
    features: Mapping[str, Any]
    clip_seconds: float
    fbank: str
    fbank_mean: float
    fbank_std: float
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    precision: str = "fp32"
    tf32: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Any) -> TrainedOn:
        """Return the record of `to_dict`. Raises InputError naming a field that is missing or wrong.

        Fields that this version does not know are left out.
        """
        if not isinstance(content, dict):
            raise InputError(f"trained_on is a {type(content).__name__}, expected fields")
        for name, (expected, fits) in _FIELDS.items():
            if not fits(content.get(name)):
                raise InputError(f"trained_on.{name} is {_short(content.get(name))}, expected {expected}")
        values = {name: content[name] for name in _FIELDS}
        for name in ("classes", "image_mean", "image_std"):
            values[name] = tuple(values[name])
        values["vocabulary"] = {name: tuple(words) for name, words in values["vocabulary"].items()}
        return cls(**values)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)


def _is_vocabulary(value: Any) -> bool:
    return isinstance(value, dict) and (
        not value or (set(value) - {"types"} == {"words", "answers"} and all(map(_are_texts, value.values())))
    )


def _is_colour(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(map(_is_number, value))


_FIELDS = {
    "collection": ("text", _is_text),
    "preset": ("text", _is_text),
    "classes": ("a list of texts", _are_texts),
    "vocabulary": ("words and answers, or nothing", _is_vocabulary),
    "features": ("fields", lambda value: isinstance(value, dict)),
    "clip_seconds": ("a number above 0", _is_positive),
    "fbank": ("text", _is_text),
    "fbank_mean": ("a number", _is_number),
    "fbank_std": ("a number above 0", _is_positive),
    "image_mean": ("three numbers", _is_colour),
    "image_std": ("three numbers above 0", lambda value: _is_colour(value) and min(value) > 0),
    "precision": ("fp32, bf16 or fp16", lambda value: value in ("fp32", "bf16", "fp16")),
    "tf32": ("true or false", lambda value: isinstance(value, bool)),
}
