"""Options of preprocessing, as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...errors import InputError
from ..collections.specification import FBANK_KINDS
from ..media.sound_choice import check_choice
from ..media.video import AUTO, decoder_choices
from .parts import Part

MISSING_AUDIO = ("quarantine", "silence")
ENGINES = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits for one clip; a clip beyond them is quarantined.

    Attributes:
        timeout_seconds: time to make it, on a clock that does not jump; suspended time does not count.
        memory_bytes: memory of the process that decodes it.
        tries: number of tries when its process dies.
    """

    timeout_seconds: float = 300.0
    memory_bytes: int = 4 << 30
    tries: int = 3


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `preprocess`.

    Attributes:
        features: members with log-mel features, such as `fbank_128`, or their aliases (`clip`, `swin`).
        workers: number of decoding processes.
        decoder: name of a video decoder, or `auto`.
        missing_audio: `quarantine` a clip without an audio stream, or use `silence` for it.
        allow_links: whether clips may be links that lead out of the raw folder.
        audio_stream: audio stream of a clip to use: `default`, `loudest`, or a number counted from 0.
        trim: use the first part of a clip that is longer than its annotation, rather than quarantine it.
        limit: make at most this many clips, from all splits in proportion.
        overwrite: discard the content of the output folder.
        retry_quarantined: make the shards again that lack a clip, and keep the others.
        append: add the clips of the list that a finished output folder lacks, in new shards.
        repair: compare every shard and table with its hash, and make those that are missing or damaged again.
        engine: `local` processes, or `ray`.
        ray_address: of the Ray cluster; None for RAY_ADDRESS, or else a Ray on this machine alone.
        limits: time and memory for each clip.
        clips_per_shard: number of clips in each shard; by default 32 for up to 20,000 clips, else as many as
            make a shard of some 200 MB; when clips are appended, that of the first addition.
        part: number I, from 1, and number N of parts: make every N-th shard, beside processes that make the
            others; `finish_parts` then writes the tables.
        collection: values of the options that the collection declares, by name.

    Raises:
        InputError: for a value that is not allowed, naming the option.
    """

    features: tuple[str, ...] = tuple(FBANK_KINDS)
    workers: int = 1
    decoder: str = AUTO
    missing_audio: Literal["quarantine", "silence"] = "quarantine"
    allow_links: bool = False
    audio_stream: str = "default"
    trim: bool = False
    limit: int | None = None
    overwrite: bool = False
    retry_quarantined: bool = False
    append: bool = False
    repair: bool = False
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    limits: Limits = field(default_factory=Limits)
    clips_per_shard: int | None = None
    part: tuple[int, int] | None = None
    collection: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"workers is {self.workers}, must be at least 1")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit is {self.limit}, must be at least 1")
        if self.clips_per_shard is not None and self.clips_per_shard < 1:
            raise InputError(f"clips_per_shard is {self.clips_per_shard}, must be at least 1")
        if self.decoder not in decoder_choices():
            raise InputError(f"decoder is {self.decoder!r}, must be one of {', '.join(decoder_choices())}")
        if self.missing_audio not in MISSING_AUDIO:
            raise InputError(
                f"missing_audio is {self.missing_audio!r}, must be one of {', '.join(MISSING_AUDIO)}"
            )
        check_choice(self.audio_stream)
        if self.overwrite and self.retry_quarantined:
            raise InputError("overwrite makes every clip again; leave out retry_quarantined")
        if self.overwrite and self.repair:
            raise InputError("overwrite makes every clip again; leave out repair")
        if self.part_of is not None and self.overwrite:
            raise InputError("overwrite would discard the shards of other parts; leave out part or overwrite")
        if self.overwrite and self.append:
            raise InputError("overwrite makes every clip again; leave out append")
        if self.engine not in ENGINES:
            raise InputError(f"engine is {self.engine!r}, must be {' or '.join(ENGINES)}")
        if self.ray_address is not None and self.engine != "ray":
            raise InputError("ray_address is for engine ray")

    @property
    def part_of(self) -> Part | None:
        """The part to make; None for the whole."""
        return None if self.part is None else Part(*self.part)
