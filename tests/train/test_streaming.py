"""`data.read=streamed`: whole shards, dealt out, shuffled in a buffer, and gone on with anywhere."""

import itertools
import json
import shutil
import sys
from contextlib import closing

import numpy as np
import pytest
import torch
from stgcma.errors import InputError, OtherSettingsError, StgcmaError
from stgcma.model.noise import BatchSlice
from stgcma.shards.manifest import (
    read_dataset,
    read_manifest,
    write_dataset,
    write_manifest,
)
from stgcma.shards.reader import ClipReader, clip_places
from stgcma.shards.schema import Sample
from stgcma.shards.writer import write_shard
from stgcma.train import loading, streaming
from stgcma.train.batch import batches
from stgcma.train.distributed import ProcessGroup
from stgcma.train.loading import open_clips, scoring_batches, training_batches
from stgcma.train.order import ALL_QUESTIONS, MicroBatches
from stgcma.train.run import train
from stgcma.train.sections import DataConfig
from stgcma.train.stream_plan import ClipIndex, EpochPlan, StreamOrder, Streams
from stgcma.train.tasks import task_of
from stgcma.train.trainer import Trainer

from ..conftest import SMALL

SIZES = (5, 1, 4, 3, 2, 6, 1)  # clips of the training shards


@pytest.fixture(scope="module")
def many(ave_shards, tmp_path_factory):
    """The clips of `ave_shards` in shards of several sizes: 22 for training, 3 for val, under new keys."""
    out = tmp_path_factory.mktemp("many") / "out"
    rows = read_manifest(ave_shards)
    reader = ClipReader(ave_shards)
    contents = [reader.read(place) for place in clip_places(rows)]
    reader.close()
    (out / "shards").mkdir(parents=True)
    written, numbers = [], itertools.count()
    for split, sizes in (("train", SIZES), ("val", (2, 1)), ("test", (1,))):
        for index, size in enumerate(sizes):
            samples = [sample(rows, contents, next(numbers)) for _ in range(size)]
            written += write_shard(out / "shards", split, index, samples)
    info = read_dataset(ave_shards)
    files = info.files | {"manifest.parquet": write_manifest(out, written)}
    shutil.copy(ave_shards / "quarantine.parquet", out)
    counts = {
        split: {"written": sum(row.split == split for row in written), "quarantined": 0}
        for split in info.counts
    }
    write_dataset(out, type(info)(**{**vars(info), "files": files, "counts": counts}))
    return out


def sample(rows, contents, number):
    row, members = rows[number % len(rows)], dict(contents[number % len(rows)])
    fields = {
        name: value for name, value in json.loads(members.pop("json")).items() if name not in row._fields
    }
    return Sample(
        f"clip-{number:02d}", members, fields, row.source, row.seconds, row.fps, row.has_audio, row.decoder
    )


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


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_an_epoch_begun_in_its_middle_is_the_rest_of_it(many, small_config, workers):
    """With augmentation and mixing, whose other clips come from the stream as well."""
    settings = (
        f"data.workers={workers}", "data.shuffle_buffer=4", "data.mixup=1.0", "data.augment=true",
    )  # fmt: skip
    whole = streamed(many, small_config, *settings, epoch=1)
    assert sorted(key for batch in whole for key in batch.keys) == [f"clip-{n:02d}" for n in range(22)]
    firsts = (1, len(whole) // 2, len(whole) - 1, len(whole)) if workers == 0 else (2,)
    for first in firsts:
        rest = streamed(many, small_config, *settings, epoch=1, first=first)
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


def test_a_damaged_clip_is_named_wherever_the_stream_begins(many, small_config, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(many, folder)
    place = clip_places(read_manifest(many))[4]
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


SETTINGS = (
    "data.read=streamed", "data.shuffle_buffer=4", "data.mixup=0.5", "data.augment=true",
    "optim.batch_size=4", "optim.epochs=2", "train.save_every_steps=1",
)  # fmt: skip


class KilledError(BaseException):
    """Stands for a kill: nothing in the program handles it."""


@pytest.mark.parametrize(("workers", "accumulate", "last"), [(0, 2, 2), (2, 1, 7)])
def test_a_killed_run_ends_with_the_same_weights(
    many, small_config, tmp_path, monkeypatch, workers, accumulate, last
):
    """Killed in the middle of the first epoch, and of the second."""
    config = small_config("ave", *SETTINGS, f"data.workers={workers}", f"train.accumulate={accumulate}")
    train(many, tmp_path / "whole", config)
    expected = outcome(tmp_path / "whole")
    steps = [json.loads(line) for line in expected["steps"].decode().splitlines()]
    assert sorted(key for row in steps if row["epoch"] == 1 for key in row["clips"]) == [
        f"clip-{n:02d}" for n in range(22)
    ]
    assert sum(row["epoch"] == 1 for row in steps) in (5, 6)
    step, run = Trainer._step, tmp_path / "killed"

    def killed_after(trainer, *arguments):
        stop = step(trainer, *arguments)
        if trainer.progress.step == last + 1:
            raise KilledError
        return stop

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", killed_after)
        with pytest.raises(KilledError):
            train(many, run, config)
    train(many, run, config, resume=True)
    assert outcome(run) == expected


def outcome(run):
    last = "checkpoints/last/adapters.safetensors"
    return {"weights": (run / last).read_bytes(), "steps": (run / "steps.jsonl").read_bytes()}


def test_another_number_of_streams_is_another_order(many, small_config, tmp_path):
    config = small_config("ave", *SETTINGS[:5], "optim.epochs=1")
    train(many, tmp_path / "run", config)
    (tmp_path / "run" / "summary.json").unlink()
    other = small_config("ave", *SETTINGS[:5], "optim.epochs=1", "data.workers=2")
    with pytest.raises(OtherSettingsError, match="streamed by 0 loader processes, now by 2"):
        train(many, tmp_path / "run", other, resume=True)


def test_two_processes_have_equally_many_steps_and_every_clip_once(forks, many, tmp_path):
    """With 4 and 3 shards, so that one of them runs out of clips before the other."""
    chosen = [*SMALL["ave"], *SETTINGS, "data.workers=1", "train.accumulate=2"]
    options = [part for setting in chosen for part in ("--set", setting)]
    command = [sys.executable, "-m", "stgcma", "train", many, "--preset", "ave-demo", *options]
    done = forks.run_ranks([*command, "--run-folder", tmp_path / "run"], processes=2)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    for epoch in (1, 2):
        clips = [key for row in steps if row["epoch"] == epoch for key in row["clips"]]
        assert sorted(clips) == [f"clip-{n:02d}" for n in range(22)]


def test_processes_with_room_for_other_numbers_of_workers_agree_on_the_smallest(monkeypatch):
    class TwoRanks(ProcessGroup):
        def gather(self, values):
            return np.array([values, [1.0]])  # the other has room for one

    monkeypatch.setattr(loading, "possible_workers", lambda wanted: wanted)
    group = TwoRanks(0, 2, torch.device("cpu"))
    streamed = DataConfig(read="streamed", workers=4)
    assert loading.stream_shape(streamed, group) == {"processes": 2, "loader processes": 1}
    assert loading.stream_shape(DataConfig(workers=4), group) is None
