"""The plan of a streamed epoch: every clip in one step of one process."""

import itertools

import pytest
from stgcma.errors import InputError
from stgcma.model.noise import BatchSlice
from stgcma.train.order import ALL_QUESTIONS
from stgcma.train.stream_plan import ClipIndex, EpochPlan, StreamOrder, Streams

from .stream_shards import MANY

SIZES = MANY["train"]


def contents_of(sizes):
    numbers = itertools.count()
    return {
        f"train-{index:06d}.tar": [ClipIndex(next(numbers), ALL_QUESTIONS) for _ in range(size)]
        for index, size in enumerate(sizes)
    }


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(("processes", "batch"), [(1, 4), (2, 4), (3, 7), (5, 5)])
def test_every_clip_is_in_one_step_of_one_process(workers, processes, batch):
    for epoch in range(3):
        seen, totals, kinds = [], {}, []
        for rank in range(processes):
            streams = Streams(batch, rank, processes, workers, seed=3)
            plan = EpochPlan(contents_of(SIZES), streams, epoch)
            quota = int(streams.quota[rank])
            steps = {}
            for worker in range(workers):
                clips = plan.clips_of(worker)
                for step, turn in plan.steps_of(worker, first=0):
                    assert step not in steps
                    steps[step] = plan.items(step, clips[turn * quota : (turn + 1) * quota], ClipIndex(0, -1))
            assert sorted(steps) == list(range(plan.steps)), "as many steps as every other process"
            kinds.append(plan.steps)
            for step, parts in steps.items():
                for item in itertools.chain(*parts):
                    totals.setdefault(step, set()).add(item.batch_slice.total)
                    if item.counted:
                        seen.append((item.clip, item.position, step, item.batch_slice))
        assert len(set(kinds)) == 1
        assert sorted(clip for clip, *_ in seen) == list(range(sum(SIZES)))
        assert sorted(position for _, position, *_ in seen) == list(range(sum(SIZES)))
        for step, total in totals.items():
            mine = [part for _, _, each, part in seen if each == step]
            assert total == {len(mine)}, "all know how many clips the step has"
            assert sum(part.count for part in set(mine)) == len(mine)


def test_epochs_and_seeds_differ():
    def order(seed, epoch):
        return EpochPlan(contents_of(SIZES), Streams(2, seed=seed), epoch).shards

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert order(None, 5) == list(contents_of(SIZES))


def test_a_step_is_cut_into_parts_as_in_indexed_reading():
    plan = EpochPlan(contents_of((4,)), Streams(4, micro_batches=2, seed=0), 0)
    clips = plan.clips_of(0)
    parts = plan.items(0, clips, clips[-1])
    assert [[item.clip for item in part] for part in parts] == [[0, 1], [2, 3]]
    assert [part[0].batch_slice for part in parts] == [BatchSlice(0, 2, 4), BatchSlice(2, 2, 4)]
    lonely = plan.items(0, clips[:1], clips[-1])
    assert [[(item.clip, item.counted) for item in part] for part in lonely] == [[(0, False)], [(0, True)]]


def test_fewer_shards_than_processes_are_refused():
    with pytest.raises(InputError, match=r"there are 2 for 3 processes; use data\.read=indexed"):
        StreamOrder(["a", "a", "b"], Streams(3, 0, 3, seed=0))
