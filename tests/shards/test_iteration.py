"""Clips are iterated in the order of the manifest, with the members that were written."""

import pytest
from stgcma.errors import StgcmaError
from stgcma.shards import iterate_clips, read_manifest
from stgcma.shards.reader import ClipReader, clip_places


def test_all_clips_come_in_the_order_of_the_manifest(directory):
    shards = directory()
    records = read_manifest(shards)
    clips = list(iterate_clips(shards, check=True))
    assert [key for key, _ in clips] == [record.key for record in records]
    reader = ClipReader(shards)
    assert [members for _, members in clips] == [reader.read(place) for place in clip_places(records)]
    reader.close()


def test_one_split_is_iterated(directory):
    shards = directory()
    keys = [key for key, _ in iterate_clips(shards, split="train")]
    assert keys == [record.key for record in read_manifest(shards, split="train")]
    assert 0 < len(keys) < len(read_manifest(shards))


def test_damage_is_found_when_it_is_asked_for(directory):
    shards = directory()
    record = read_manifest(shards)[0]
    path = shards / "shards" / record.shard
    content = bytearray(path.read_bytes())
    content[600] ^= 1  # in the first member, past its header
    path.write_bytes(content)
    assert len(list(iterate_clips(shards))) == len(read_manifest(shards))
    with pytest.raises(StgcmaError, match=f"{record.key} is damaged, its hash is not the manifest's"):
        list(iterate_clips(shards, check=True))
