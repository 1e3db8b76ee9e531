"""`data.read=streamed`: whole shards, dealt out, shuffled in a buffer, read from any step on."""

import itertools
import shutil
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stgcma.errors import StgcmaError
from stgcma.shards.manifest import read_dataset, read_manifest
from stgcma.shards.reader import clip_places
from stgcma.train import evaluation, streaming
from stgcma.train.batch import batches
from stgcma.train.distributed import ProcessGroup
from stgcma.train.loading import open_clips, scoring_batches, training_batches
from stgcma.train.order import MicroBatches
from stgcma.train.tasks import task_of

from .stream_shards import MANY

SIZES = MANY["train"]


def opened(folder, small_config, *settings, split="train", seed=1):
    config = small_config("ave", "data.read=streamed", "optim.batch_size=3", *settings)
    task = task_of(read_dataset(folder))
    from stgcma.model import preset_config
    from stgcma.train.config import architecture

    model = preset_config(config.preset, **architecture(config))
    return config, open_clips(folder, split, task, config.data, model, seed=seed)


def streamed(folder, small_config, *settings, epoch=0, first=0, parts=1):
    """The batches of an epoch from step `first` on."""
    config, clips = opened(folder, small_config, *settings)
    order, loader = training_batches(
        clips, config, rank=0, micro_batches=MicroBatches(total=parts, first=0, count=parts), questions=None
    )
    order.start_at(epoch, first)
    with closing(clips):
        return list(batches(loader))


def same(one, other):
    return (
        one.keys == other.keys
        and one.batch_slice == other.batch_slice
        and all(torch.equal(*pair) for pair in zip(one.tensors, other.tensors, strict=True))
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_begun_in_its_middle_is_the_rest_of_it(few, small_config, workers):
    """With augmentation and mixing, whose other clips come from the stream as well."""
    settings = (
        f"data.workers={workers}", "data.shuffle_buffer=4", "data.mixup=1.0", "data.augment=true",
    )  # fmt: skip
    whole = streamed(few, small_config, *settings, epoch=1)
    assert sorted(key for batch in whole for key in batch.keys) == [f"clip-{n:02d}" for n in range(8)]
    firsts = (1, len(whole) - 1, len(whole)) if workers == 0 else (2,)
    for first in firsts:
        rest = streamed(few, small_config, *settings, epoch=1, first=first)
        assert len(rest) == len(whole) - first
        assert all(same(*pair) for pair in zip(rest, whole[first:], strict=True))


def test_going_on_reads_no_shard_that_is_used_up(many, small_config, monkeypatch):
    read = []
    stream = streaming.StreamedClips.stream
    monkeypatch.setattr(
        streaming.StreamedClips, "stream", lambda clips, clip: read.append(clip) or stream(clips, clip)
    )
    monkeypatch.setattr(streaming, "NEIGHBOURS", 2)
    streamed(many, small_config, "data.shuffle_buffer=2")
    assert sorted(read) == list(range(22))
    whole = list(read)
    read.clear()
    rest = streamed(many, small_config, "data.shuffle_buffer=2", first=6)
    assert len(read) == sum(len(batch.keys) for batch in rest)
    assert set(read) <= set(whole)


def test_the_order_is_shuffled_across_shards_and_neighbours_are_mixed(many, small_config):
    keys = [key for batch in streamed(many, small_config, "data.shuffle_buffer=50") for key in batch.keys]
    shards = {row.key: row.shard for row in read_manifest(many)}
    changes = sum(shards[one] != shards[other] for one, other in itertools.pairwise(keys))
    assert changes > len(SIZES) + 2
    plain = [key for batch in streamed(many, small_config, "data.shuffle_buffer=1") for key in batch.keys]
    assert sum(shards[one] != shards[other] for one, other in itertools.pairwise(plain)) == len(SIZES) - 1


def test_a_damaged_clip_is_named_wherever_the_stream_begins(few, small_config, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(few, folder)
    place = clip_places(read_manifest(few))[4]
    shard = folder / "shards" / place.shard
    content = bytearray(shard.read_bytes())
    content[content.find(b"\xff\xd8\xff", place.offset_bytes) + 2000] ^= 1
    shard.write_bytes(bytes(content))
    for workers, epoch in ((0, 0), (2, 3)):
        with pytest.raises(StgcmaError, match=rf"{place.shard}: {place.key} is damaged"):
            streamed(folder, small_config, f"data.workers={workers}", epoch=epoch)
    assert streamed(folder, small_config, "data.verify=false")


@pytest.mark.parametrize("workers", [0, 2])
def test_scoring_has_every_clip_once(many, small_config, workers):
    config, clips = opened(many, small_config, f"data.workers={workers}", split="val", seed=None)
    _, loader = scoring_batches(clips, config, batch_size=1, rank=0, world_size=1)
    keys = [batch.keys for batch in batches(loader)]
    clips.close()
    assert sorted(keys) == [("clip-22",), ("clip-23",), ("clip-24",)]


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_of_streamed_clips_have_the_order_of_the_manifest(many, small_config, monkeypatch, processes):
    """Of one process whose batches arrive in another order, and of two, with a shard each."""
    config, clips = opened(many, small_config, "data.workers=0", split="val", seed=None)
    read = []
    for rank in range(processes):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        _, loader = scoring_batches(clips, config, batch_size=1, rank=rank, world_size=processes)
        read.append(list(batches(loader)))
    clips.close()
    assert [[n for batch in part for n in batch.clips] for part in read] == [[[0, 1, 2]], [[0, 1], [2]]][
        processes - 1
    ]
    monkeypatch.setattr(
        evaluation, "outputs", lambda *_: ((batch, {"clips": batch.clips}) for batch in read[0][::-1])
    )

    class Group(ProcessGroup):
        def _concatenate(self, rows):
            others = np.array(
                [n for part in read[1:] for batch in part for n in batch.clips], dtype=rows.dtype
            )
            return np.concatenate([rows, others])

    group = Group(0, processes, torch.device("cpu"))
    meter = evaluation.score(None, SimpleNamespace(meter=ClipNumbers), loader, group, "fp32")
    assert np.concatenate(meter.rows["clips"]).tolist() == [0, 1, 2]


class ClipNumbers:
    """A meter whose row of a clip is the clip's index."""

    def __init__(self):
        self.counts, self.rows = {}, {"clips": [np.zeros(0)]}

    def update(self, outputs, targets):  # noqa: ARG002
        self.rows["clips"].append(np.array(outputs["clips"], dtype=float))
