"""The clips of a split of a shard directory as tensors."""

from __future__ import annotations

import os
import statistics
from itertools import compress

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..errors import InputError, StgcmaError
from ..model import ModelConfig
from ..model.inputs import pad_clip
from ..shards.cache import cache_folder
from ..shards.manifest import read_dataset
from ..shards.members import frame_name, frame_names, member, named_clip, open_frames, read_questions
from ..shards.reader import ClipReader, small_members, split_places
from ..shards.schema import SHARD_FOLDER, DatasetInfo
from ..shards.storage import Location, open_store
from ..shards.where import Where
from .augmentation import FrameAugmentation, mix_powers
from .batch import ClipTensors, TaskDataset, UnreadableClip
from .inputs import decode_frames, normalisation_of, normalise, read_fbank
from .order import Item, item_rng
from .sections import DataConfig
from .tasks import task_of
from .tasks.base import Task, Tensors

# Purposes of a clip's random draws; each has a generator of its own.
_AUGMENT, _MIXUP, _NEGATIVE = range(3)


class ClipDataset(TaskDataset):
    """The clips of one split of a shard directory, each as `ClipTensors`.

    Args:
        location: of the shard directory.
        split: name of the split.
        task: decodes the targets.
        data: how clips are read, augmented and mixed.
        model: decides which inputs are read, and their shapes.
        seed: of training; clips are augmented, mixed and have negatives as `data` says, all drawn from the
            seed and the item. None for scoring.
        measured: the statistics that normalise fbanks: of the data that the model was trained on; those of
            the shards when not given.

    Attributes:
        usual_seconds: the median length of the clips.
        selection: number of `selected` clips of all `clips` of the split, and of `unknown` ones that lack a
            value, with `data.where`; None without.

    Raises InputError when the directory lacks the split or the model's fbank.
    """

    def __init__(
        self,
        location: Location,
        split: str,
        task: Task,
        data: DataConfig,
        model: ModelConfig,
        *,
        seed: int | None = None,
        measured: DatasetInfo | None = None,
    ) -> None:
        self.location, self.split, self.task, self.data = location, split, task, data
        self._all_places, seconds = split_places(location, split)
        if not self._all_places:
            raise InputError(
                f"{location} has no clips in split {split!r}; make shards of more clips, or of clips in "
                "folders train, val and test"
            )
        self._selected = [True] * len(seconds)
        self.selection = None if data.where is None else self._select(data.where)
        self.places = list(compress(self._all_places, self._selected))
        self.usual_seconds = statistics.median(compress(seconds, self._selected))
        self.modalities = model.modalities
        self._model = model
        self._shapes = {name: shape[1:] for name, shape in model.input_shapes().items()}
        self.audio_frames = model.audio_shape[0]
        self.fbank = model.backbone.fbank
        self.normalisation = normalisation_of(measured or task.info, data, self.fbank, where=str(location))
        self.seed = seed
        self._reader = ClipReader(
            location, cache=cache_folder(location, task.info.data_fingerprint, root=data.cache)
        )
        self._augmentation = (
            FrameAugmentation(data, model.backbone) if seed is not None and data.augment else None
        )
        self._negatives = seed is not None and task.needs_negatives and len(self.places) > 1
        self._frames = model.frames
        self._read_by = 0  # id of the process whose reads `_was_read` records
        self._was_read = bytearray()

    def _select(self, where: str) -> dict[str, int]:
        found = Where(where).select(self.location, split=self.split)
        self._selected = found.selected
        clips = {"selected": sum(found.selected), "clips": len(found.selected), "unknown": found.unknown}
        if not clips["selected"]:
            raise InputError(
                f"data.where={where!r} selects none of the {clips['clips']} {self.split} clips of "
                f"{self.location}; `stgcma shards stats` shows the ranges of the columns"
            )
        return clips

    def close(self) -> None:
        """Close the shard that this process has open."""
        self._reader.close()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, item: Item) -> ClipTensors | UnreadableClip:
        # An exception in a worker would arrive as a page of traceback.
        try:
            return self._read(item)
        except StgcmaError as error:
            return UnreadableClip(type(error), str(error))

    def members(self, clip: int) -> dict[str, bytes]:
        """Return the members of a clip; its hash is checked at the first read in this process."""
        if self._read_by != os.getpid():
            # In every loader process, and in a run that was resumed: another may have read other bytes.
            self._read_by, self._was_read = os.getpid(), bytearray(len(self.places))
        check = self.data.verify and not self._was_read[clip]
        members = self._reader.read(self.places[clip], check=check)
        self._was_read[clip] = True
        return members

    def question_counts(self) -> npt.NDArray[np.int64]:
        """Return the number of questions of each clip, `[clips]`, read from the shards."""
        store = open_store(self.location)
        counts = []
        for shard in dict.fromkeys(place.shard for place in self._all_places):
            members = small_members(store, f"{SHARD_FOLDER}/{shard}", ("qa.json",))
            counts += [len(read_questions(content)) for _, content in members]
        if len(counts) != len(self._all_places):
            raise StgcmaError(
                f"{self.location}: {len(counts)} question lists, {len(self._all_places)} {self.split} clips"
            )
        return np.asarray(counts, dtype=np.int64)[self._selected]

    def _read(self, item: Item) -> ClipTensors:
        members = self.members(item.clip)
        with named_clip(self.location, self.places[item.clip].key):
            return self._tensors(members, item)

    def _tensors(self, members: dict[str, bytes], item: Item) -> ClipTensors:
        inputs: Tensors = {}
        if "video" in self.modalities:
            inputs["video"] = self._video(members, item)
        if "audio" in self.modalities:
            inputs["audio"] = self._audio(members, item)
        if self._negatives:
            inputs["negative"] = decode_frames(self._negative(item))
        try:
            inputs = pad_clip(inputs, self._model)
        except InputError as error:
            raise StgcmaError(str(error)) from None
        for name, tensor in inputs.items():
            if tuple(tensor.shape) != self._shapes[name]:
                wanted = list(self._shapes[name])
                raise StgcmaError(f"its {name} has the shape {list(tensor.shape)}, the model takes {wanted}")
        targets = self.task.targets(members, item.question)
        return ClipTensors(self.places[item.clip].key, inputs, targets, item)

    def _video(self, members: dict[str, bytes], item: Item) -> Tensor:
        if self._augmentation is None:
            return decode_frames(members)
        seed = int(item_rng(self.seed or 0, item, _AUGMENT).integers(2**32))
        return self._augmentation(open_frames(members), seed)

    def _negative(self, item: Item) -> dict[str, bytes]:
        """Return frames that do not belong to the item's clip, under the names of its frames.

        With `data.negatives=frames`, as the authors' loader draws them: for each frame another clip is drawn,
        and one of its frames.
        """
        rng = item_rng(self.seed or 0, item, _NEGATIVE)
        if self.data.negatives == "clip":
            other = self.members(self._other(rng, item.clip))
            return {name: other[name] for name in frame_names(other)}
        drawn = [(self._other(rng, item.clip), int(rng.integers(self._frames))) for _ in range(self._frames)]
        return {frame_name(index): self._frame(*frame) for index, frame in enumerate(drawn)}

    def _frame(self, clip: int, number: int) -> bytes:
        """Return one frame of a clip; reads only that and headers when the clip's hash has been checked."""
        name = frame_name(number)
        if self.data.verify and not (self._read_by == os.getpid() and self._was_read[clip]):
            return member(self.members(clip), name)
        return self._reader.read_member(self.places[clip], name)

    def _audio(self, members: dict[str, bytes], item: Item) -> Tensor:
        features = read_fbank(members, self.fbank)
        if self.seed is not None and self.data.mixup and len(self.places) > 1:
            rng = item_rng(self.seed, item, _MIXUP)
            if rng.random() < self.data.mixup:
                other = self.members(self._other(rng, item.clip))
                share = float(rng.beta(self.data.mixup_beta, self.data.mixup_beta))
                features = mix_powers(features, read_fbank(other, self.fbank), share)
        return normalise(features, self.audio_frames, self.normalisation)

    def _other(self, rng: np.random.Generator, clip: int) -> int:
        """Draw the index of a clip other than `clip`."""
        return int((clip + 1 + rng.integers(len(self.places) - 1)) % len(self.places))


def open_task(location: Location) -> Task:
    """Return the task of the shard directory at `location`. Raises InputError for an unknown task."""
    return task_of(read_dataset(location))
