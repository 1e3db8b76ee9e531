"""Streamed questions: each is an item of its own, with frames of other clips from the stream."""

from contextlib import closing

import numpy as np
import torch
from stgcma.model import preset_config
from stgcma.train.batch import batches
from stgcma.train.config import architecture
from stgcma.train.data import open_task
from stgcma.train.loading import open_clips, training_batches
from stgcma.train.order import MicroBatches


def streamed(folder, config, *, first=0):
    task = open_task(folder)
    model = preset_config(config.preset, **architecture(config))
    with closing(open_clips(folder, "train", task, config.data, model, seed=1)) as clips:
        counts = clips.question_counts()
        order, loader = training_batches(
            clips, config, rank=0, micro_batches=MicroBatches(), questions=counts
        )
        order.start_at(1, first)
        return counts, list(batches(loader))


def test_every_question_is_asked_once_and_the_middle_is_begun_alike(kept_shards, small_config):
    shards = kept_shards("avqa")
    config = small_config("avqa", "data.read=streamed", "optim.batch_size=3", "data.shuffle_buffer=3")
    counts, whole = streamed(shards, config)
    asked = [key for batch in whole for key in batch.keys]
    assert sorted(asked.count(key) for key in set(asked)) == sorted(counts.tolist())
    assert len(asked) == np.sum(counts)
    rest = streamed(shards, config, first=3)[1]
    assert len(rest) == len(whole) - 3
    for one, other in zip(rest, whole[3:], strict=True):
        assert one.keys == other.keys
        assert all(torch.equal(*pair) for pair in zip(one.tensors, other.tensors, strict=True))
    for batch in whole:
        assert not torch.equal(batch.inputs["negative"], batch.inputs["video"])
