"""The records of a shard directory; their fields are named here only.

A directory holds `dataset.json`, `manifest.parquet`, `quarantine.parquet` and `shards/SPLIT-000000.tar`; one
of several additions also `planned.parquet`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import InputError
from .additions import Addition, Sums, planned_ranges
from .info_checks import info_fault

# Version 1 differs only in the bytes of fbanks: they were torchaudio's, which depend on the processor.
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
SPLITS = ("train", "val", "test")
_EARLIER_CLIPS_PER_SHARD = 32  # of directories whose settings do not say it
DATASET_FILE = "dataset.json"
MANIFEST_FILE = "manifest.parquet"
QUARANTINE_FILE = "quarantine.parquet"
PLANNED_FILE = "planned.parquet"
SHARD_FOLDER = "shards"
# A repository on the Hub has these beside the shards; nothing reads them.
REPOSITORY_FILES = ("README.md", ".gitattributes")
CONTENT_HASH = "content_sha256"

# The types of MUSIC-AVQA's questions, modality and kind, as written in `KEY.qa.json`.
QUESTION_TYPES = (
    ("Audio", "Counting"),
    ("Audio", "Comparative"),
    ("Visual", "Counting"),
    ("Visual", "Location"),
    ("Audio-Visual", "Existential"),
    ("Audio-Visual", "Counting"),
    ("Audio-Visual", "Location"),
    ("Audio-Visual", "Comparative"),
    ("Audio-Visual", "Temporal"),
)


def question_types(vocabulary: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names of the types of questions: `types` of the vocabulary, by default MUSIC-AVQA's."""
    return tuple(vocabulary.get("types") or (" ".join(kind) for kind in QUESTION_TYPES))


# A plain tar header holds 100 bytes of name; the longest member suffix is 16.
MAX_KEY_CHARACTERS = 80
# Frames, fbanks and masks of a clip take a few megabytes; readers allocate no more than this.
MOST_CLIP_BYTES = 64 << 20
_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_KEY_CHARACTERS}}}")

_SHARD = re.compile(rf"({'|'.join(SPLITS)})-[0-9]{{6,12}}\.tar")


def is_valid_key(key: str) -> bool:
    """Tell whether `key` can name a clip's members in a shard."""
    return _KEY.fullmatch(key) is not None


def is_shard_name(name: str) -> bool:
    """Tell whether `shard_name` gives `name`; other names could lead out of the directory."""
    return _SHARD.fullmatch(name) is not None


def shard_name(split: str, index: int) -> str:
    """The file name of a split's shard, e.g. `train-000003.tar`."""
    return f"{split}-{index:06d}.tar"


def place_of(name: str) -> tuple[str, int]:
    """Return split and index of the shard with the file name `name`."""
    split, _, index = name.removesuffix(".tar").partition("-")
    return split, int(index)


class SourceFile(NamedTuple):
    """One file that a clip was made of: its path relative to the raw folder, its size and its SHA-256."""

    name: str
    bytes: int
    sha256: str


class ClipStatistics(NamedTuple):
    """Statistics of a clip's sound and frames, which `docs/shard-format.md` defines; None when not measured.

    `loudness_db` is in dBFS, `silence` the share of silent parts; `motion` and `brightness` are 0 to 1,
    `sharpness` is a variance. `still` and `mute` mark clips without motion and without sound.
    """

    loudness_db: float | None = None
    silence: float | None = None
    motion: float | None = None
    brightness: float | None = None
    sharpness: float | None = None
    still: bool | None = None
    mute: bool | None = None


_NOT_MEASURED = ClipStatistics()


@dataclass(frozen=True)
class Sample:
    """One clip, ready to be written.

    Attributes:
        key: matches `[A-Za-z0-9_-]+`, unique in its collection.
        members: member suffix (`frame_00.jpg`) to the member's bytes; `json` is added by the writer.
        fields: the task's own fields of `KEY.json`.
        source: the media file, relative to the raw folder.
        seconds: the clip's length.
        fps: average frames a second; 0 when there is no video stream.
        has_audio: whether the sound is real, not inserted silence.
        decoder: the decoder of the frames, and after a `+` another one of the sound; `dataset.json` has their
            versions.
        warnings: one line each, for the user.
        fbank_sums: fbank name to (sum, sum of squares, count) over its values, for the audio statistics.
        source_files: every file that was read to make it: the media file, masks, pictures.
        statistics: of its sound and frames.
    """

    key: str
    members: dict[str, bytes]
    fields: dict[str, Any]
    source: str
    seconds: float
    fps: float
    has_audio: bool
    decoder: str
    warnings: tuple[str, ...] = ()
    fbank_sums: dict[str, Sums] = dataclasses.field(default_factory=dict)
    source_files: tuple[SourceFile, ...] = ()
    statistics: ClipStatistics = _NOT_MEASURED

    def __post_init__(self) -> None:
        if not is_valid_key(self.key):
            raise ValueError(f"key is {self.key!r}, must match {_KEY.pattern}")
        if "json" in self.members:
            raise ValueError(f"members of {self.key} hold 'json', which the writer makes")


class ClipRecord(NamedTuple):
    """A row of `manifest.parquet`: one written clip, in the order of the shards.

    `bytes` is the size of the clip's members in the shard with tar headers and padding: a clip starts where
    the previous one ends. `sha256` is the hash of exactly those bytes.

    `source_files`, `source_bytes` and `source_sha256` are equally long: name, size and hash of every file
    that the clip was made of. They are empty in directories of versions that did not record them.

    The last columns are those of `ClipStatistics`, None for clips of versions that did not measure them.
    """

    key: str
    split: str
    shard: str
    bytes: int
    sha256: str
    source: str
    seconds: float
    fps: float
    has_audio: bool
    decoder: str
    warnings: tuple[str, ...]
    source_files: tuple[str, ...] = ()
    source_bytes: tuple[int, ...] = ()
    source_sha256: tuple[str, ...] = ()
    loudness_db: float | None = None
    silence: float | None = None
    motion: float | None = None
    brightness: float | None = None
    sharpness: float | None = None
    still: bool | None = None
    mute: bool | None = None

    @property
    def statistics(self) -> ClipStatistics:
        """The statistics of the clip's sound and frames."""
        return ClipStatistics._make(getattr(self, name) for name in ClipStatistics._fields)

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """The files that the clip was made of."""
        columns = (self.source_files, self.source_bytes, self.source_sha256)
        return tuple(map(SourceFile._make, zip(*columns, strict=True)))


class QuarantineRecord(NamedTuple):
    """A row of `quarantine.parquet`: one clip that was not written."""

    key: str
    source: str
    reason: str
    message: str


class PlannedRecord(NamedTuple):
    """A row of `planned.parquet`, which directories of several additions have: one planned clip.

    `addition` is its number, from 0. `clip_sha256` is the hash of the clip's specification; empty where that
    was not known when the directory was added to.
    """

    key: str
    split: str
    addition: int
    clip_sha256: str


@dataclass(frozen=True)
class AudioStatistics:
    """Mean and standard deviation of the log-mel energies of the training clips, over all values."""

    mean: float
    std: float


@dataclass(frozen=True)
class DatasetInfo:
    """Content of `dataset.json`.

    Attributes:
        name: the collection, e.g. `ave`.
        task: the task it is made for: `ave`, `avs` or `avqa`.
        features: the settings that decide the samples' bytes.
        classes: class names in label order (AVE: background last).
        counts: split to `{"written": n, "quarantined": n}`.
        audio: fbank name to its statistics over the training clips.
        versions: tool name to version.
        plan_sha256: hash of the planned clips (keys, splits, sources, labels).
        vocabulary: `words` of questions and `answers`, and `types` of questions unless they are MUSIC-AVQA's;
            empty for other tasks.
        files: file name to SHA-256, of the tables beside it.
        additions: records of the additions, for a directory that was added to; else empty.
    """

    name: str
    task: str
    features: dict[str, Any]
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    audio: dict[str, AudioStatistics]
    versions: dict[str, str]
    plan_sha256: str
    vocabulary: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    additions: tuple[Addition, ...] = ()

    @property
    def all_additions(self) -> tuple[Addition, ...]:
        """The additions; of a directory that was made at once its only one, without sums."""
        if self.additions:
            return self.additions
        clips_per_shard = self.features.get("clips_per_shard", _EARLIER_CLIPS_PER_SHARD)
        planned = {split: sum(count.values()) for split, count in self.counts.items()}
        shards = planned_ranges(planned, clips_per_shard, {})
        return (Addition(self.plan_sha256, clips_per_shard, shards, self.counts),)

    @property
    def fingerprint(self) -> str:
        """Hash of the request: collection, features, classes, plan."""
        return fingerprint(
            {
                "name": self.name,
                "features": self.features,
                "classes": list(self.classes),
                "plan": self.plan_sha256,
                "format_version": self.format_version,
            }
        )

    @property
    def data_fingerprint(self) -> str:
        """Hash of the samples' content: clips that are repaired later change it, but not `fingerprint`.

        The manifest, whose hash is in `files`, holds the hash of every clip.
        """
        return fingerprint({"settings": self.fingerprint, "files": self.files})

    def to_json(self) -> dict[str, Any]:
        """The content of `dataset.json`."""
        content = dataclasses.asdict(self) | {"fingerprint": self.fingerprint}
        if not self.additions:
            del content["additions"]
        return content | {CONTENT_HASH: content_sha256(content)}

    @classmethod
    def from_json(cls, content: dict[str, Any], *, where: str) -> DatasetInfo:
        """Read the output of `to_json`. Raises InputError naming `where` for another format or type."""
        version = content.get("format_version")
        if version not in READABLE_VERSIONS:
            readable = " and ".join(map(str, READABLE_VERSIONS))
            raise InputError(f"{where}: format_version is {version!r}, this stgcma reads {readable}")
        content = {"additions": []} | content
        known = {field.name for field in dataclasses.fields(cls)}
        if missing := sorted(known - set(content)):
            raise InputError(f"{where}: not a dataset.json of stgcma, it lacks {', '.join(missing)}")
        if fault := info_fault(content):
            raise InputError(f"{where}: {fault}")
        values = {name: content[name] for name in known}
        values["classes"] = tuple(values["classes"])
        values["audio"] = {name: AudioStatistics(**stats) for name, stats in values["audio"].items()}
        values["additions"] = tuple(map(Addition.from_json, values["additions"]))
        return cls(**values)


def content_sha256(content: dict[str, Any]) -> str:
    """Return the hash of all fields of `dataset.json` but `content_sha256`, which records it."""
    return fingerprint({name: value for name, value in content.items() if name != CONTENT_HASH})


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical_json(content: Any) -> bytes:
    """Return JSON whose bytes depend on the content alone: sorted keys, no spaces, UTF-8."""
    return _CANONICAL.encode(content).encode()


def fingerprint(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `content`."""
    return hashlib.sha256(canonical_json(content)).hexdigest()
