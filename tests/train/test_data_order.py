"""The order of an epoch, and how a step is shared out."""

import numpy as np
import pytest
from stgcma.model.noise import BatchSlice
from stgcma.train.order import ALL_QUESTIONS, SHARDS_PER_BLOCK, EpochOrder, MicroBatches, ScoringOrder


def names(clips, shards):
    return [f"train-{index * shards // clips:06d}.tar" for index in range(clips)]


def clips(batches):
    return [item.clip for items in batches for item in items]


@pytest.mark.parametrize(("count", "shards", "batch"), [(1, 1, 4), (7, 1, 2), (1000, 50, 4), (5, 5, 5)])
def test_every_clip_once_an_epoch(count, shards, batch):
    order = EpochOrder(names(count, shards), batch, seed=0)
    batches = list(order)
    assert len(batches) == len(order) == order.steps
    assert sorted(clips(batches)) == list(range(count))
    assert {len(items) for items in batches[:-1]} <= {batch}


def test_the_order_depends_on_seed_and_epoch():
    first = clips(EpochOrder(names(50, 5), 3, seed=1))
    again, other_epoch = EpochOrder(names(50, 5), 7, seed=1), EpochOrder(names(50, 5), 3, seed=1)
    assert clips(again) == first
    other_epoch.start_at(1)
    assert clips(other_epoch) != first
    assert clips(EpochOrder(names(50, 5), 3, seed=2)) != first


def test_an_epoch_can_begin_at_any_batch():
    order = EpochOrder(names(23, 3), 4, seed=3)
    order.start_at(2)
    whole = list(order)
    for batch in range(order.steps + 1):
        order.start_at(2, batch)
        assert list(order) == whole[batch:]
        assert len(order) == len(whole) - batch


def test_neighbours_in_the_order_lie_in_few_shards():
    shards = np.repeat(np.arange(100), 32)
    order = EpochOrder([str(shard) for shard in shards], 4, seed=0).order()
    named = np.array([str(shard) for shard in shards])
    block = SHARDS_PER_BLOCK * 32
    for start in range(0, len(order), block):
        assert len(np.unique(named[order[start : start + block]])) <= SHARDS_PER_BLOCK


@pytest.mark.parametrize(("total", "own"), [(2, 1), (3, 1), (4, 2), (6, 2)])
def test_the_shares_of_a_step_make_up_the_whole(total, own):
    size, count = 6, 15  # the last step has three clips for up to six parts
    whole = list(EpochOrder(names(count, 2), size, seed=1))
    shared = [
        list(EpochOrder(names(count, 2), size, seed=1, micro_batches=MicroBatches(total, first, own)))
        for first in range(0, total, own)
    ]
    assert {len(parts) for parts in shared} == {len(whole) * own}
    for step, items in enumerate(whole):
        parts = [part for one in shared for part in one[step * own : (step + 1) * own]]
        counted = [item for part in parts for item in part if item.counted]
        assert [item.clip for item in counted] == [item.clip for item in items]
        assert [item.position for item in counted] == [item.position for item in items]
        for part in parts:
            assert part[0].batch_slice.total == len(items)
            assert part[0].batch_slice.count == len(part)
            assert (
                all(not item.counted for item in part)
                or part[0].clip == items[part[0].batch_slice.first].clip
            )


def test_questions_are_items_of_their_own():
    order = EpochOrder(names(4, 2), 3, seed=0, questions=np.array([2, 0, 3, 1]))
    items = [item for batch in order for item in batch]
    assert sorted((item.clip, item.question) for item in items) == [
        (0, 0),
        (0, 1),
        (2, 0),
        (2, 1),
        (2, 2),
        (3, 0),
    ]
    assert [item.position for item in items] == list(range(6))


def test_without_questions_clips_come_with_all_of_theirs():
    assert {item.question for batch in EpochOrder(names(4, 1), 2, seed=0) for item in batch} == {
        ALL_QUESTIONS
    }


@pytest.mark.parametrize(("count", "world"), [(7, 1), (7, 2), (7, 3), (2, 4)])
def test_scoring_takes_every_clip_once_over_all_processes(count, world):
    shares = [clips(ScoringOrder(count, 2, rank=rank, world_size=world)) for rank in range(world)]
    assert sorted(clip for share in shares for clip in share) == list(range(count))


@pytest.mark.parametrize("wrong", [(-1, 1, 2), (0, 0, 2), (1, 2, 2)])
def test_a_part_lies_within_its_total(wrong):
    with pytest.raises(ValueError, match="must lie within its total"):
        BatchSlice(*wrong)
