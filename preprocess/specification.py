"""What is to be made of a collection, decided before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from ..shards.schema import SPLITS, fingerprint

FRAME_PIXELS = 224
JPEG_QUALITY = 95


@dataclass(frozen=True)
class FbankKind:
    """One kind of log-mel feature.

    Attributes:
        mel_bins: number of mel bins, also in the member's name (`fbank_128.npy`).
        frame_shift_milliseconds: distance of successive analysis frames.
        target_frames: longer features are cut to this many frames.
    """

    mel_bins: int
    frame_shift_milliseconds: float
    target_frames: int

    @property
    def name(self) -> str:
        """The member's name without its suffix."""
        return f"fbank_{self.mel_bins}"


FBANK_KINDS = {
    "clip": FbankKind(mel_bins=128, frame_shift_milliseconds=10.0, target_frames=102),
    "swin": FbankKind(mel_bins=224, frame_shift_milliseconds=4.4, target_frames=224),
}


@dataclass(frozen=True)
class Sampling:
    """How a clip of a collection is sampled.

    Attributes:
        frames: number of frames M.
        frame_times: `evenly` over the clip, ends included, or at second l + 15/16 (`masks`).
        resize: `crop`, short side to 224 and centre crop, or `squash` to 224×224.
        windows: number of audio windows K.
        window_seconds: length of an audio window.
    """

    frames: int
    frame_times: Literal["evenly", "masks"]
    resize: Literal["crop", "squash"]
    windows: int
    window_seconds: float


@dataclass(frozen=True)
class FeatureSettings:
    """All that decides a sample's bytes, given the raw clip."""

    sampling: Sampling
    fbanks: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.fbanks or (unknown := sorted(set(self.fbanks) - set(FBANK_KINDS))):
            what = ", ".join(unknown) if self.fbanks else "nothing"
            raise InputError(f"features: got {what}, choose from {', '.join(FBANK_KINDS)}")

    def to_json(self) -> dict[str, Any]:
        """What `dataset.json` says of the features."""
        return {
            "sampling": asdict(self.sampling),
            "fbanks": {name: asdict(FBANK_KINDS[name]) for name in sorted(self.fbanks)},
            "frame_pixels": FRAME_PIXELS,
            "jpeg_quality": JPEG_QUALITY,
        }


@dataclass(frozen=True, slots=True)
class ClipSpecification:
    """One clip to be made.

    Attributes:
        key: its name in the shards.
        split: `train`, `val` or `test`.
        source: the media file, relative to the raw folder.
        labels: int class of every second, for `label.npy`; empty for tasks without.
        fields: the task's own fields of `KEY.json`.
        problem: (reason code, message) when the plan already knows that it cannot be made.
    """

    key: str
    split: str
    source: str
    labels: tuple[int, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    problem: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split of {self.key} is {self.split!r}, must be one of {', '.join(SPLITS)}")


@dataclass(frozen=True)
class Collection:
    """A collection as its authors ship it, read into clip specifications.

    Attributes:
        name: what the user calls it, e.g. `ave`.
        task: the task that its labels serve.
        sampling: how its clips are sampled.
        classes: class names in label order.
        clips: in the order of the shards within each split.
        findings: what the user should know before anything is decoded, one line each.
    """

    name: str
    task: str
    sampling: Sampling
    classes: tuple[str, ...]
    clips: tuple[ClipSpecification, ...]
    findings: tuple[str, ...] = ()

    @property
    def plan_sha256(self) -> str:
        """Hash of what is planned: every clip with its key, split, source and labels."""
        return fingerprint([[c.key, c.split, c.source, list(c.labels), c.fields] for c in self.clips])


CollectionReader = Callable[[Path], Collection]
