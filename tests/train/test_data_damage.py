"""Damaged clips: found at the first read, in any epoch and by any worker."""

import os
import shutil

import pytest
from stgcma.errors import StgcmaError
from stgcma.train.batch import batches, make_loader
from stgcma.train.order import EpochOrder

from .conftest import item, load


@pytest.fixture
def damaged(dataset, ave_shards, tmp_path):
    """A copy of the shards with one bit of a clip's frame changed."""
    folder = tmp_path / "damaged"
    shutil.copytree(ave_shards, folder)
    place = dataset(ave_shards).places[3]
    shard = folder / "shards" / place.shard
    content = bytearray(shard.read_bytes())
    content[content.find(b"\xff\xd8\xff", place.offset_bytes) + 2000] ^= 1
    shard.write_bytes(bytes(content))
    return folder, place


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_clip_stops_the_first_epoch_with_its_shards_name(dataset, damaged, workers):
    folder, place = damaged
    with pytest.raises(StgcmaError, match=rf"{place.shard}: {place.key} is damaged") as caught:
        load(dataset(folder), workers=workers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_goes_on_in_a_later_epoch_checks_what_it_reads_first(dataset, damaged, workers):
    folder, place = damaged
    clips = dataset(folder)
    order = EpochOrder([place.shard for place in clips.places], 3, seed=1)
    order.start_at(1)
    with pytest.raises(StgcmaError, match=f"{place.key} is damaged"):
        list(batches(make_loader(clips, order, workers=workers)))
    assert len(load(dataset(folder, verify=False))) == order.steps


def test_a_clip_is_compared_at_its_first_read_alone(dataset, ave_shards, monkeypatch):
    clips = dataset(ave_shards)
    read, checked = clips._reader.read, []
    monkeypatch.setattr(
        clips._reader, "read", lambda place, *, check: checked.append(check) or read(place, check=check)
    )
    for _ in range(2):
        _ = clips[item(0)], clips[item(1, epoch=3)]
    assert checked == [True, True, False, False]
    clips.close()
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a process that was forked from this one
    _ = clips[item(0)]
    assert checked[4:] == [True]


def test_mixing_checks_the_other_clip_as_well(dataset, damaged):
    folder, place = damaged
    clips = dataset(folder, seed=1, mixup=1.0)
    clips._other = lambda _rng, _clip: 3
    read = clips[item(0, epoch=2)]
    assert f"{place.key} is damaged" in read.message
