"""Positions of clips as columns."""

from stgcma.shards.places import ClipPlace, places_of

KEYS, SHARDS = ["a", "b", "c", "d"], ["train-0", "train-0", "train-1", "train-1"]
EXPECTED = [
    ClipPlace("a", "train-0", 0, 10, "ha"),
    ClipPlace("b", "train-0", 10, 20, "hb"),
    ClipPlace("c", "train-1", 0, 30, "hc"),
    ClipPlace("d", "train-1", 30, 40, "hd"),
]


def test_the_clips_of_a_shard_follow_each_other():
    places = places_of(KEYS, SHARDS, [10, 20, 30, 40], ["ha", "hb", "hc", "hd"])
    assert list(places) == EXPECTED
    assert [places[index] for index in (0, 1, 2, -1)] == EXPECTED
    assert list(places[1:3]) == EXPECTED[1:3]
    assert list(places_of([], [], [], [])) == []


def test_selected_clips_keep_their_positions():
    places = places_of(KEYS, SHARDS, [10, 20, 30, 40], ["ha", "hb", "hc", "hd"])
    some = places.select([False, True, False, True])
    assert list(some) == [EXPECTED[1], EXPECTED[3]]
    assert (some.keys, some.shards) == (["b", "d"], ["train-0", "train-1"])
    assert places.select([True] * 4) is places
