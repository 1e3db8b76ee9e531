"""Specification of a collection's clips, made before anything is decoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from operator import attrgetter, itemgetter
from typing import Any, Literal

from ...errors import InputError
from ...shards.frame_times import FRAME_OFFSETS_SECONDS
from ...shards.published import Published
from ...shards.schema import SPLITS
from ..media.reasons import REASONS
from .options import CollectionOptions
from .packed import PackedRows
from .path_series import Series
from .plan_text import PlanText, hash_of_rows

FRAME_PIXELS = 224
JPEG_QUALITY = 95
MOST_MASK_CLASSES = 256
"""Masks of classes are pictures with one byte a pixel."""


@dataclass(frozen=True)
class FbankKind:
    """One kind of log-mel feature.

    Attributes:
        mel_bins: number of mel bins, also in the member's name (`fbank_128.npy`).
        frame_shift_milliseconds: distance of successive analysis frames.
        target_frames: longer features are cut to this many frames.
        alias: short name for `--features`, and the key in `dataset.json`; the first backbone that read it.
    """

    mel_bins: int
    frame_shift_milliseconds: float
    target_frames: int
    alias: str

    @property
    def name(self) -> str:
        """The member's name without its suffix."""
        return f"fbank_{self.mel_bins}"

    def to_json(self) -> dict[str, Any]:
        """Return the settings that decide the values, as `dataset.json` holds them."""
        return {name: value for name, value in asdict(self).items() if name != "alias"}


FBANK_KINDS = {
    kind.name: kind
    for kind in (
        FbankKind(mel_bins=128, frame_shift_milliseconds=10.0, target_frames=102, alias="clip"),
        FbankKind(mel_bins=224, frame_shift_milliseconds=4.4, target_frames=224, alias="swin"),
    )
}
"""Every kind of fbank by the name of its member."""
FBANK_ALIASES = {kind.alias: name for name, kind in FBANK_KINDS.items()}
"""Members by the alias of their kind."""


@dataclass(frozen=True)
class Sampling:
    """Sampling of a clip.

    Attributes:
        frames: number of frames M.
        frame_times: `evenly` over the clip, ends included; or one in each second, at 15/16 of it (`masks`) or
            in its middle (`middle`).
        resize: `crop`, short side to 224 and centre crop, or `squash` to 224×224.
        windows: number of audio windows K.
        window_seconds: length of an audio window.
    """

    frames: int
    frame_times: Literal["evenly", "masks", "middle"]
    resize: Literal["crop", "squash"]
    windows: int
    window_seconds: float

    @property
    def frame_offset_seconds(self) -> float | None:
        """The time of a frame within its second; None where the frames are spread over the clip."""
        return FRAME_OFFSETS_SECONDS.get(self.frame_times)


@dataclass(frozen=True)
class FeatureSettings:
    """Settings that decide the bytes of a sample.

    `fbanks` names members of `FBANK_KINDS`; aliases become members, repetitions are dropped.
    """

    sampling: Sampling
    fbanks: tuple[str, ...]

    def __post_init__(self) -> None:
        members = tuple(dict.fromkeys(FBANK_ALIASES.get(name, name) for name in self.fbanks))
        if not members or (unknown := sorted(set(members) - set(FBANK_KINDS))):
            what = ", ".join(unknown) if members else "nothing"
            raise InputError(f"features: got {what}, choose from {', '.join((*FBANK_ALIASES, *FBANK_KINDS))}")
        object.__setattr__(self, "fbanks", members)

    def of_clip(self, clip: ClipSpecification) -> FeatureSettings:
        """Return the settings with the number of frames and windows of `clip`."""
        frames, windows = clip.frames or self.sampling.frames, clip.windows or self.sampling.windows
        return replace(self, sampling=replace(self.sampling, frames=frames, windows=windows))

    def to_json(self) -> dict[str, Any]:
        """Return the features for `dataset.json`."""
        return {
            "sampling": asdict(self.sampling),
            "fbanks": {
                kind.alias: kind.to_json() for kind in map(FBANK_KINDS.__getitem__, sorted(self.fbanks))
            },
            "frame_pixels": FRAME_PIXELS,
            "jpeg_quality": JPEG_QUALITY,
        }


MaskKind = Literal["binary", "objects", "two-values", "colours", "indices", "indices-or-void"]


@dataclass(slots=True)  # frozen ones take three times as long to make, and there may be a million
class ClipSpecification:
    """One clip to be made. It is not changed once it is made.

    Attributes:
        key: its name in the shards.
        split: `train`, `val` or `test`.
        source: the media file, or the folder of `pictures`, relative to the raw folder.
        labels: int class of every second, for `label.npy`; empty for tasks without.
        event_end_seconds: end of the annotated event, which the clip must reach; 0 for none.
        fields: the task's own fields of `KEY.json`. Clips may share one dict: it is not changed.
        masks: picture files of the ground truth, one a frame from the first on, relative to the raw folder;
            empty for a frame without.
        members: further members that need no decoding: (`qa.json`, bytes), …
        pictures: the frames as picture files, for a clip that is shipped without a video.
        sound: the sound file of such a clip, if any.
        annotated_seconds: length of the annotated span; 0 when that is the whole clip.
        start_seconds, end_seconds: the span `[start, end)` of a longer file that is the clip; by default the
            whole file is. Spans of one file should be next to each other: it is then opened once.
        frames: its number of frames, when it has fewer than `Sampling.frames`; 0 for that number. Stored in
            `KEY.json`, as `windows` is.
        windows: its number of audio windows, likewise.
        frame_seconds: times of its frames in the file, in place of those of the sampling, ascending.
        frame_numbers: numbers of these frames in the file, from 0 in the order of presentation, where they
            are known: they decide, and `frame_seconds` are estimates.
        mask_kind: coding of the mask files: `binary`, bright where there is an object; `two-values`, above 0
            where there is one; `objects`, anything but 0 or black there
            (`preprocess/samples/object_masks.py`); `colours` of the AVSS palette
            (`preprocess/collections/avss_colours.py`) or `indices` of classes as pixel values, from which
            masks of class indices are made; `indices-or-void` is the latter with 255 for pixels that are not
            annotated.
        mask_classes: number of classes of `colours` and of both kinds of indices, background included.
        problem: (reason, message) for a clip that cannot be made, known from the annotations; the reason is a
            key of `REASONS` (`preprocess/media/reasons.py`).

    Raises ValueError for an unknown split, for masks of no classes, and for a `problem` that is not such a
    pair.
    """

    key: str
    split: str
    source: str
    labels: tuple[int, ...] = ()
    event_end_seconds: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    masks: tuple[str, ...] = ()
    members: tuple[tuple[str, bytes], ...] = ()
    pictures: tuple[str, ...] = ()
    sound: str | None = None
    annotated_seconds: int = 0  # follows from the collection and `frames`, so not part of the plan
    start_seconds: float = 0.0
    end_seconds: float | None = None
    frames: int = 0
    windows: int = 0
    frame_seconds: tuple[float, ...] = ()
    frame_numbers: tuple[int, ...] = ()
    mask_kind: MaskKind = "binary"
    mask_classes: int = 0
    problem: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split of {self.key} is {self.split!r}, must be one of {', '.join(SPLITS)}")
        if self.end_seconds is None:
            if self.start_seconds:
                raise ValueError(f"span of {self.key} starts at {self.start_seconds} s and has no end")
        elif not 0 <= self.start_seconds < self.end_seconds < math.inf:
            raise ValueError(
                f"span of {self.key} is {self.start_seconds} to {self.end_seconds} s, must be one from 0 s on"
            )
        if (
            self.mask_kind in ("colours", "indices", "indices-or-void")
            and not 1 <= self.mask_classes <= MOST_MASK_CLASSES
        ):
            raise ValueError(
                f"mask_classes of {self.key} is {self.mask_classes}, must be 1 to {MOST_MASK_CLASSES}"
            )
        problem: Any = self.problem
        if problem is None:
            return
        if (
            not isinstance(problem, tuple)
            or len(problem) != 2
            or not all(isinstance(p, str) for p in problem)
        ):
            raise ValueError(f"problem of {self.key} is {problem!r}, must be (reason, message)")
        if problem[0] not in REASONS:
            raise ValueError(
                f"problem of {self.key} has the reason {problem[0]!r}, must be one of {', '.join(REASONS)}"
            )

    @property
    def lengths(self) -> dict[str, int]:
        """The numbers of frames and windows that `KEY.json` states, where they are the clip's."""
        return {name: count for name in ("frames", "windows") if (count := getattr(self, name))}

    @property
    def plan_text(self) -> str:
        """Everything that decides the clip's sample, as JSON; members by their hash."""
        return PlanText().lines([field_values(self)]).rstrip("\n")


# In C: a million clips are packed and hashed by it.
field_values: Callable[[ClipSpecification], tuple[Any, ...]] = attrgetter(
    *(each.name for each in fields(ClipSpecification))
)
"""Return all fields of a clip, in their order."""

_NO_FIELDS: Mapping[str, Any] = {}


def clip_values(
    key: str,
    split: str,
    source: str,
    labels: tuple[int, ...] = (),
    event_end_seconds: int = 0,
    fields: Mapping[str, Any] = _NO_FIELDS,
    masks: tuple[str, ...] | Series = (),
    members: tuple[tuple[str, bytes], ...] = (),
    pictures: tuple[str, ...] | Series = (),
    sound: str | None = None,
    annotated_seconds: int = 0,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    frames: int = 0,
    windows: int = 0,
    frame_seconds: tuple[float, ...] = (),
    frame_numbers: tuple[int, ...] = (),
    mask_kind: MaskKind = "binary",
    mask_classes: int = 0,
    problem: tuple[str, str] | None = None,
) -> tuple[Any, ...]:
    """Return the fields of a clip in their order, unchecked, in a fifth of the time of `ClipSpecification`.

    For readers of a million clips: a `ClipList` checks them a block at a time.
    """
    return (
        key, split, source, labels, event_end_seconds, fields, masks, members, pictures, sound,
        annotated_seconds, start_seconds, end_seconds, frames, windows, frame_seconds, frame_numbers,
        mask_kind, mask_classes, problem,
    )  # fmt: skip


_checked_values = itemgetter(
    *map(
        [each.name for each in fields(ClipSpecification)].index,
        ("split", "start_seconds", "end_seconds", "mask_kind", "mask_classes", "problem"),
    )
)


def check_values(rows: Sequence[tuple[Any, ...]]) -> None:
    """Raise ValueError as `ClipSpecification` when one of the clips with the fields `rows` has a fault.

    Of clips with equal values of the checked fields one is checked.
    """
    for row in dict(zip(map(_checked_values, rows), rows, strict=True)).values():
        ClipSpecification(*row)


PLAN_HASH = "plan_sha256"
"""Name under which packed clips remember their hash."""


def plan_hash(clips: Iterable[ClipSpecification]) -> str:
    """Return the hash of everything that decides the samples of planned clips."""
    if isinstance(clips, PackedRows):
        return clips.remembered(PLAN_HASH, lambda: hash_of_rows(clips.values()))
    return hash_of_rows(map(field_values, clips))


@dataclass(frozen=True)
class Collection:
    """A collection as its authors ship it, read into clip specifications.

    Attributes:
        name: its name on the command line, e.g. `ave`.
        task: the task that its labels serve.
        sampling: how its clips are sampled.
        classes: class names in label order.
        clips: in the order of the shards within each split; a `ClipList` where there may be many.
        findings: notes for the user, one line each.
        vocabulary: `words` of the questions and `answers` in the order of their ids (`music-avqa`).
        rows: split to its number of annotation rows, where that is not the number of clips.
        media_folders: the folders whose videos should all be referenced, relative to the raw folder.
        annotation_files: files with annotations that lie in these folders.
        published: numbers of the publication.
        features: further settings for the features in `dataset.json`, such as `labels_per_clip`.
    """

    name: str
    task: str
    sampling: Sampling
    classes: tuple[str, ...]
    clips: Sequence[ClipSpecification]
    findings: tuple[str, ...] = ()
    vocabulary: dict[str, list[str]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    media_folders: tuple[str, ...] = ()
    annotation_files: tuple[str, ...] = ()
    published: Published | None = None
    features: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plan_sha256(self) -> str:
        """Hash of all clips."""
        return plan_hash(self.clips)


@dataclass(frozen=True, kw_only=True)
class CollectionEntry:
    """An entry of `COLLECTIONS`: everything that the program knows of one collection.

    Attributes:
        read: reads the annotations under a raw folder: `read(raw, allow_links=…)`, with `options=…` when the
            entry declares options. Annotation files that are links out of RAW need `allow_links`.
        task: the task that the labels serve, such as `ave`.
        summary: the files that RAW holds, in a few words for help texts.
        published: numbers of the publication; None for one's own data.
        options: the collection's options; None without.
        other_tasks: tasks that the labels serve instead, depending on what is annotated. The collection then
            has an option `task`.
        needs_folder: RAW must be a folder, because media are opened before clips are decoded.
    """

    read: Callable[..., Collection]
    task: str
    summary: str
    published: Published | None = None
    options: type[CollectionOptions] | None = None
    other_tasks: tuple[str, ...] = ()
    needs_folder: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks that the labels can serve."""
        return (self.task, *self.other_tasks)

    def check_raw(self, url: str | None, name: str) -> None:
        """Raise InputError when RAW of the collection `name` is at `url` and must be a folder."""
        if self.needs_folder and url is not None:
            raise InputError(
                f"RAW {url} is a URL; {name} reads the lengths of recordings first: give a folder"
            )

    def parse_options(self, values: Mapping[str, Any]) -> CollectionOptions | None:
        """Return the collection's options. Raises InputError for one that it does not have."""
        if self.options is not None:
            return self.options.parse(values)
        if values:
            raise InputError(f"the collection has no options, {', '.join(values)} was given")
        return None
