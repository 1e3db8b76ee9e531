"""The clips of a split of a shard directory as tensors."""

from __future__ import annotations

import os
import statistics
from dataclasses import replace
from itertools import compress

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import InputError, StgcmaError
from ..model import ModelConfig
from ..model.inputs import pad_clip
from ..model.records import FRAME_MASK
from ..shards.cache import cache_folder
from ..shards.column_reader import ColumnReader
from ..shards.columns import add_command, read_column
from ..shards.manifest import read_dataset
from ..shards.members import frame_name, frame_names, member, named_clip, open_frames, read_questions
from ..shards.reader import ClipReader, small_members, split_places
from ..shards.schema import SHARD_FOLDER, DatasetInfo
from ..shards.storage import Location, open_store
from ..shards.where import Where
from .augmentation import ClipDraw, FrameAugmentation, mix_powers
from .batch import ClipTensors, TaskDataset, UnreadableClip
from .inputs import decode_frames, fbanks_of, normalisation_of, normalise, read_fbank
from .order import Item, item_rng
from .sections import DataConfig
from .tasks import task_of
from .tasks.base import Task, Tensors
from .tokens import TOKENS, StoredTokens, check_tokens

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
        without_column: number of clips that are left out because the fbank is a column that lacks them.

    Raises InputError when the directory lacks the split or the model's fbank.
    """

    _ahead_bytes = 0  # of sequential reads of objects; 0 for reads through a cache

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
        self.fbank = model.backbone.fbank
        self._column = self._open_column(model)
        self.without_column = 0 if self._column is None else self._leave_out(self._column)
        self.tokens = self._open_tokens(model) if data.tokens else None
        self._stored = None
        if self.tokens is not None:
            self.without_column += self._leave_out(self.tokens)
            self._stored = StoredTokens(self.tokens, padded=FRAME_MASK in model.head_inputs)
        self.places = self._all_places.select(self._selected)
        self.usual_seconds = statistics.median(compress(seconds, self._selected))
        self.modalities = model.modalities
        self._model = model
        self._shapes = {name: shape[1:] for name, shape in model.input_shapes().items()}
        self.audio_frames = model.audio_shape[0]
        self.normalisation = normalisation_of(measured or self.info, data, self.fbank, where=str(location))
        self.seed = seed
        self._reader = ClipReader(
            location,
            cache=cache_folder(
                location, task.info.data_fingerprint, root=data.cache, most_bytes=data.cache_bytes
            ),
        )
        self._augmentation = (
            FrameAugmentation(data, model.backbone) if seed is not None and data.augment else None
        )
        self._negatives = seed is not None and task.needs_negatives and len(self.places) > 1
        self._frames = model.frames
        self._read_by = 0  # id of the process whose reads `_was_read` records
        self._was_read = bytearray()

    def _select(self, where: str) -> dict[str, int]:
        found = Where(where).select(self.location, split=self.split, keys=self._all_places.keys)
        self._selected = found.selected
        clips = {"selected": sum(found.selected), "clips": len(found.selected), "unknown": found.unknown}
        if not clips["selected"]:
            raise InputError(
                f"data.where={where!r} selects none of the {clips['clips']} {self.split} clips of "
                f"{self.location}; `stgcma shards stats` shows the ranges of the columns"
            )
        return clips

    def _open_column(self, model: ModelConfig) -> ColumnReader | None:
        """Return the reader of the fbank, where the model takes one that is not in the shards."""
        if "audio" not in model.modalities or self.fbank in fbanks_of(self.task.info):
            return None
        if read_column(self.location, self.fbank) is None:
            there = ", ".join(sorted(fbanks_of(self.task.info))) or "none"
            raise InputError(
                f"{self.location} has no {self.fbank} (it has {there}); add it with "
                f"{add_command(self.location, self.fbank)}"
            )
        return ColumnReader(
            self.location,
            self.fbank,
            fingerprint=self.task.info.data_fingerprint,
            cache=self.data.cache,
            cache_bytes=self.data.cache_bytes,
            ahead_bytes=self._ahead_bytes,
        )

    def _open_tokens(self, model: ModelConfig) -> ColumnReader:
        """Return the reader of the stored tokens, which are read in place of frames and sound."""
        check_tokens(self.task, self.data, model)
        return ColumnReader(
            self.location,
            TOKENS,
            fingerprint=self.task.info.data_fingerprint,
            cache=self.data.cache,
            cache_bytes=self.data.cache_bytes,
            ahead_bytes=self._ahead_bytes,
            command=f"`stgcma shards add-tokens {self.location} --preset NAME`",
        )

    def _leave_out(self, column: ColumnReader) -> int:
        """Select only clips that the column has; return the number of the others among the selected."""
        there = column.has(self._all_places)
        before = sum(self._selected)
        self._selected = [one and other for one, other in zip(self._selected, there, strict=True)]
        if before and not any(self._selected):
            raise InputError(
                f"{self.location}: the column {column.member} has none of the {self.split} clips"
            )
        return before - sum(self._selected)

    @property
    def info(self) -> DatasetInfo:
        """The description of the directory, with the fbank that is read from a column."""
        info = self.task.info
        if self._column is None:
            return info
        member, column = self._column.member, self._column.info
        fbanks = info.features["fbanks"] | {member: column.settings["fbank"]}
        audio = {} if column.audio is None else {member: column.audio}
        return replace(info, features=info.features | {"fbanks": fbanks}, audio=info.audio | audio)

    @property
    def columns(self) -> dict[str, str]:
        """Hashes of the columns that are read, by name."""
        opened = (column for column in (self._column, self.tokens) if column is not None)
        return {column.member: column.info.sha256 for column in opened}

    @property
    def lacking(self) -> str:
        """A message about the clips that are left out."""
        column = self.fbank if self.tokens is None else TOKENS
        return f"{self.without_column} {self.split} clips are left out: the column {column} lacks them"

    def _joined(self, members: dict[str, bytes], key: str) -> dict[str, bytes]:
        """Return the members of a clip with those of the column, whose hash is checked with `data.verify`."""
        if self.tokens is not None:
            return members | self.tokens.read(key, check=self.data.verify)
        return members if self._column is None else members | self._column.read(key, check=self.data.verify)

    def close(self) -> None:
        """Close the shards that this process has open."""
        self._reader.close()
        for column in (self._column, self.tokens):
            if column is not None:
                column.close()

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
        place = self.places[clip]
        members = self._joined(self._reader.read(place, check=check), place.key)
        self._was_read[clip] = True
        return members

    def question_counts(self) -> npt.NDArray[np.int64]:
        """Return the number of questions of each clip, `[clips]`, read from the shards."""
        store = open_store(self.location)
        counts = []
        for shard in dict.fromkeys(self._all_places.shards):
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
        draw = None
        if self._stored is not None:
            inputs |= self._stored.inputs(members)
            if self._negatives:
                inputs["negative"] = self._negative_tokens(self._stored, item)
            targets = self.task.targets(members, item.question)
            return ClipTensors(self.places[item.clip].key, inputs, targets, item)
        if "video" in self.modalities:
            inputs["video"], draw = self._video(members, item)
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
        return ClipTensors(self.places[item.clip].key, inputs, targets, item, draw)

    def _video(self, members: dict[str, bytes], item: Item) -> tuple[Tensor, ClipDraw | None]:
        """Return the frames, and the augmentation that is left to the device."""
        if self._augmentation is None:
            return decode_frames(members), None
        seed = int(item_rng(self.seed or 0, item, _AUGMENT).integers(2**32))
        if self.data.augment_on == "device":
            frames = decode_frames(members)
            height, width = frames.shape[-2:]
            return frames, self._augmentation.draw(height, width, seed)
        return self._augmentation(open_frames(members), seed), None

    def _negative(self, item: Item) -> dict[str, bytes]:
        """Return frames that do not belong to the item's clip, under the names of its frames.

        With `data.negatives=frames`, as the authors' loader draws them: for each frame another clip is drawn,
        and one of its frames.
        """
        rng = item_rng(self.seed or 0, item, _NEGATIVE)
        if self.data.negatives == "clip":
            other = self.members(self._other(rng, item.clip))
            return {name: other[name] for name in frame_names(other)}
        return {frame_name(index): self._frame(*frame) for index, frame in enumerate(self._drawn(rng, item))}

    def _drawn(self, rng: np.random.Generator, item: Item) -> list[tuple[int, int]]:
        return [(self._other(rng, item.clip), int(rng.integers(self._frames))) for _ in range(self._frames)]

    def _negative_tokens(self, stored: StoredTokens, item: Item) -> Tensor:
        """Return the stored outputs of the same frames as `_negative`, `[T, …]` float16."""
        rng = item_rng(self.seed or 0, item, _NEGATIVE)
        if self.data.negatives == "clip":
            other = self._other(rng, item.clip)
            drawn = [(other, number) for number in range(self._frames)]
        else:
            drawn = self._drawn(rng, item)
        return torch.stack([self._stored_frame(stored, *frame) for frame in drawn])

    def _stored_frame(self, stored: StoredTokens, clip: int, number: int) -> Tensor:
        """Return the stored output for one frame; reads only that when the clip's hash has been checked."""
        if self._is_unchecked(clip):
            return stored.frame_of(self.members(clip), number)
        return stored.read_frame(self.places[clip].key, number)

    def _is_unchecked(self, clip: int) -> bool:
        return self.data.verify and not (self._read_by == os.getpid() and self._was_read[clip])

    def _frame(self, clip: int, number: int) -> bytes:
        """Return one frame of a clip; reads only that and headers when the clip's hash has been checked."""
        name = frame_name(number)
        if self._is_unchecked(clip):
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
