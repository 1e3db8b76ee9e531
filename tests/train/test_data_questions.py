"""Questions of a clip, and frames of other clips as negatives."""

import numpy as np
import pytest
import torch

from .conftest import item, load


def test_questions_come_alone_or_all_together(dataset, kept_shards):
    clips = dataset(kept_shards("avqa"), seed=1)
    counts = clips.question_counts()
    whole = clips[item(0)].targets
    assert whole["question"].shape == (counts[0], 14)
    for place in range(counts[0]):
        one = clips[item(0, question=place)].targets
        assert all(torch.equal(one[name][0], whole[name][place]) for name in ("question", "answer", "type"))
    assert counts.sum() > len(clips)


@pytest.mark.parametrize("verify", [True, False])
def test_every_negative_frame_is_one_of_another_clip(dataset, avqa_shards, verify):
    clips = dataset(avqa_shards, seed=1, verify=verify)
    videos = [clips[item(index)].inputs["video"] for index in range(len(clips))]
    owners, places = set(), set()
    for position in range(4):
        negative = clips[item(2, position=position)].inputs["negative"]
        assert negative.shape == videos[2].shape
        # Frames of a clip that are equal count as the first of them.
        drawn = [
            next(
                (clip, number)
                for clip, video in enumerate(videos)
                for number, own in enumerate(video)
                if torch.equal(own, frame)
            )
            for frame in negative
        ]
        assert len({clip for clip, _ in drawn}) > 2, "each frame draws a clip of its own"
        owners |= {clip for clip, _ in drawn}
        places |= {number for _, number in drawn}
    assert owners == set(range(len(clips))) - {2}
    assert len(places) > 5
    assert "negative" not in dataset(avqa_shards, "val")[item(0)].inputs


def test_negatives_are_a_function_of_seed_epoch_and_position(dataset, avqa_shards):
    def drawn(**place):
        return dataset(avqa_shards, seed=place.pop("seed", 1))[item(2, **place)].inputs["negative"]

    assert torch.equal(drawn(epoch=1, position=3), drawn(epoch=1, position=3))
    for other in ({"epoch": 0, "position": 3}, {"epoch": 1, "position": 4}):
        assert not torch.equal(drawn(epoch=1, position=3), drawn(**other))
    assert not torch.equal(drawn(position=3), drawn(position=3, seed=2))


def test_negatives_of_one_clip_as_in_version_0_1(dataset, avqa_shards):
    clips = dataset(avqa_shards, seed=1, negatives="clip")
    videos = [clips[item(index)].inputs["video"] for index in range(len(clips))]
    for position in range(4):
        negative = clips[item(2, position=position)].inputs["negative"]
        owners = [index for index, video in enumerate(videos) if torch.equal(video, negative)]
        assert len(owners) == 1
        assert owners != [2]
    assert "negative" not in dataset(avqa_shards, "val")[item(0)].inputs


def test_batches_say_whose_question_is_whose(dataset, kept_shards):
    clips = dataset(kept_shards("avqa"), seed=1)
    counts = clips.question_counts()
    (batch,) = load(clips, batch=len(clips), seed=None)
    assert batch.inputs["owner"].tolist() == np.repeat(np.arange(len(clips)), counts).tolist()
    assert batch.inputs["question"].shape == (counts.sum(), 14)
