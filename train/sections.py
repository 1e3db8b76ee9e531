"""The sections of a run's configuration: how clips are read, the optimiser, the losses, the run itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ..errors import InputError
from .trackers import TRACKERS


class Section(BaseModel):
    """A group of settings; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _range(value: tuple[float, float]) -> tuple[float, float]:
    low, high = value
    if not 0 < low <= high:
        raise ValueError("a range is two numbers above 0, the smaller one first")
    return value


def _share_range(value: tuple[float, float]) -> tuple[float, float]:
    if _range(value)[1] > 1:
        raise ValueError("shares are at most 1")
    return value


def _condition(value: str | None) -> str | None:
    if value is not None:
        from ..shards.where import Where  # loads pyarrow

        try:
            Where(value)
        except InputError as error:
            raise ValueError(str(error)) from None
    return value


def _known_trackers(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in TRACKERS:
            raise ValueError(f"trackers are {', '.join(TRACKERS)}")
    if len(set(value)) < len(value):
        raise ValueError("a tracker is named twice")
    return value


def _compile_mode(value: Any) -> Any:
    """Return the mode for booleans, which earlier versions had, and as which YAML reads `on` and `off`."""
    return {True: "default", False: "off"}[value] if isinstance(value, bool) else value


# timm's names of RandAugment's settings, e.g. magnitude 7 in 4 layers.
_RAND_AUGMENT = r"^rand(-((m|mmax|n|inc)\d+|(mstd|p)\d+(\.\d+)?))+$"


class DataConfig(Section):
    """Reading of clips. Fbanks are normalised as `(x − mean) / (2·std)`."""

    # None: as measured on the training clips, from dataset.json.
    fbank_mean: float | None = None
    fbank_std: float | None = Field(default=None, gt=0)
    # Loader processes. None: 1 on a CPU, else as many as the cores allow.
    workers: int | None = Field(default=None, ge=0)
    # RandAugment, random crop, flip and erasing, one draw a clip. Moves pixels that masks and questions
    # ("left of") refer to.
    augment: bool = False
    # Augment frames in the loader, by Pillow, or as tensors on the device that trains: the same draws.
    augment_on: Literal["loader", "device"] = "loader"
    # The settings of RandAugment, as timm writes them.
    rand_augment: str = Field(default="rand-m7-n4-mstd0.5-inc1", pattern=_RAND_AUGMENT)
    # The random crop's share of the frame's area, and its aspect (width / height).
    crop_scale: Annotated[tuple[float, float], AfterValidator(_share_range)] = (0.08, 1.0)
    crop_aspect: Annotated[tuple[float, float], AfterValidator(_range)] = (3 / 4, 4 / 3)
    # How often frames are mirrored, and how often a random rectangle of them is erased.
    flip: float = Field(default=0.5, ge=0, le=1)
    erasing: float = Field(default=0.25, ge=0, le=1)
    # A condition on the manifest's columns, such as `motion > 0.02`: only clips that meet it are trained on,
    # and select the epoch. None: all clips.
    where: Annotated[str | None, AfterValidator(_condition)] = None
    # How often a training clip's sound is mixed with another's.
    mixup: float = Field(default=0.0, ge=0, le=1)
    # The share of a mixture is drawn from Beta(mixup_beta, mixup_beta).
    mixup_beta: float = Field(default=10.0, gt=0)
    # AVQA: a step's clips come with `one` question each, or with `all` of theirs.
    questions: Literal["one", "all"] = "one"
    # AVQA: every negative frame is one of another clip (`frames`), or they are those of one (`clip`).
    negatives: Literal["frames", "clip"] = "frames"
    # `indexed`: clips in any order; `streamed`: shard after shard, for shards larger than a local disk.
    read: Literal["indexed", "streamed"] = "indexed"
    # Streamed: clips among which each loader process shuffles.
    shuffle_buffer: int = Field(default=100, ge=1)
    # Compare every clip with the manifest's hash when a process first reads it; streamed, at every read.
    verify: bool = True
    # Read the stored outputs of the frozen backbone in place of frames and sound; for adapter `side`.
    tokens: bool = False
    # Folder for shards behind a URL; None: the user's cache folder.
    cache: str | None = None
    # Size of the folder beyond which shards are removed that were not read for longest; None: no limit.
    cache_bytes: int | None = Field(default=None, ge=1)

    def of_all_clips(self) -> DataConfig:
        """Return the settings for scoring a whole split from its frames and sound."""
        return self.model_copy(update={"where": None, "tokens": False})


class OptimConfig(Section):
    """Adam with two learning rates, warm-up and cosine (paper, Table 9)."""

    adapter_lr: float = Field(gt=0)
    task_lr: float = Field(gt=0)
    minimal_lr: float = Field(ge=0)
    # Clips of a step, of all processes and all `train.accumulate` parts together.
    batch_size: int = Field(ge=1)
    epochs: int = Field(default=20, ge=1)
    warmup_epochs: int = Field(default=2, ge=0)
    betas: tuple[float, float] = (0.95, 0.999)
    weight_decay: float = Field(default=5e-7, ge=0)


class LossConfig(Section):
    """Options of the losses."""

    # AVS: soft Jaccard, binary cross-entropy, or their sum; `bounded-bce` is AVSBench's cross-entropy,
    # computed from probabilities: a pixel that is wrong and saturated costs 100 and has no gradient.
    mask: Literal["iou", "bce", "iou+bce", "bounded-bce"] = "iou+bce"
    # AVS: the weight of the term between the sound and the features under the predicted mask, and its kind:
    # `kl` of AVSBench's training on MS3, a sum over the frames of a batch, or `cosine` of its options for S4,
    # a mean.
    audio_visual: float = Field(default=0.0, ge=0)
    audio_visual_term: Literal["kl", "cosine"] = "kl"
    # AVSS: cross-entropy as published, or its sum with the soft Jaccard loss of the objects in a frame, and
    # with the cross-entropy of the classes of their pixels.
    semantic: Literal["ce", "ce+iou", "ce+iou+objects"] = "ce"
    # AVQA: the weight of the match loss, which tells a clip's own frames from another's.
    match: float = Field(default=0.5, ge=0)
    # AVVP: the visual target of a clip's tags is (1 − s)·tag + s/2; 0 for no smoothing.
    visual_smoothing: float = Field(default=0.1, ge=0, lt=1)
    # AVVP: the weight of the loss by second, for training clips that have events of every second.
    seconds: float = Field(default=1.0, gt=0)


class TrainConfig(Section):
    """Settings of the training loop."""

    seed: int = Field(default=0, ge=0)
    select_on: Literal["val", "test"] = "val"
    # Recompute activations in the backward pass: the same numbers, less memory, more time.
    checkpointing: bool = False
    # Number format of the activations; trained weights and optimiser stay fp32. `auto`: bf16 on a GPU that
    # has it, else fp32.
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    # Work off a step's clips in this many parts, to need less memory: the same gradient but for AVS, whose
    # batch normalisation sees a part at a time.
    accumulate: int = Field(default=1, ge=1)
    # Let matrix products and convolutions in fp32 round their factors to TF32 (10 bits), on GPUs that can.
    tf32: bool = False
    # torch.compile the model in training and in scoring after each epoch; `graphs`: and replay each pass as a
    # CUDA graph.
    compile: Annotated[Literal["off", "default", "graphs"], BeforeValidator(_compile_mode)] = "off"
    # Save the whole state every so many steps, and after every epoch.
    save_every_steps: int = Field(default=500, ge=1)
    # Where losses and scores can be watched. All but TensorBoard also get pictures and the machine's load.
    trackers: Annotated[tuple[str, ...], AfterValidator(_known_trackers)] = ("tensorboard",)
    # Clips of the selection split whose predictions are drawn for them after every epoch; 0 for none.
    tracked_clips: int = Field(default=4, ge=0, le=100)
