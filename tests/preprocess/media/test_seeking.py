"""The packets after a seek are compared with those that were read from the beginning."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from stgcma.preprocess.media.reasons import DamageError
from stgcma.preprocess.media.video.seeking import LostPlaceError, packets_from
from stgcma.preprocess.media.video.timeline import Timeline

PTS = np.arange(0, 20, 2)
KEYS = PTS % 8 == 0  # packets 0, 4 and 8
TIMELINE = Timeline(PTS, np.ones(10, dtype=bool), KEYS, 0, 20, Fraction(1, 10))


class Container:
    """A container of which a seek leads to the packet `lands`."""

    def __init__(self, lands=0, corrupt=()):
        self.lands, self.corrupt, self.start = lands, corrupt, 0

    def seek(self, _pts, **_to):
        self.start = self.lands

    def demux(self, _stream):
        for number in range(self.start, len(PTS)):
            yield SimpleNamespace(
                pts=int(PTS[number]),
                size=9,
                is_corrupt=number in self.corrupt,
                is_keyframe=bool(KEYS[number]),
            )
        yield SimpleNamespace(pts=None, size=0, is_corrupt=False, is_keyframe=False)


def numbers(container, first, timeline=TIMELINE, *, seek=True):
    return [number for number, _ in packets_from(container, None, timeline, first, seek=seek)]


@pytest.mark.parametrize("lands", [0, 1, 3, 4])
def test_a_seek_to_the_place_or_before_it_gives_the_packets_from_there(lands):
    assert numbers(Container(lands), 4) == [4, 5, 6, 7, 8, 9]


def test_without_a_seek_the_file_is_read_from_its_beginning():
    assert numbers(Container(lands=8), 4, seek=False) == [4, 5, 6, 7, 8, 9]
    assert numbers(Container(lands=8), 0) == list(range(10))


@pytest.mark.parametrize("lands", [5, 8, 10])
def test_a_seek_that_leads_too_far_is_noticed(lands):
    with pytest.raises(LostPlaceError):
        numbers(Container(lands), 4)


def test_other_packets_than_before_are_noticed():
    other = PTS.copy()
    other[6] += 1
    with pytest.raises(LostPlaceError):
        numbers(Container(4), 4, replace(TIMELINE, pts=other))
    with pytest.raises(LostPlaceError):
        numbers(Container(4), 4, replace(TIMELINE, pts=PTS[:8], key=KEYS[:8]))


def test_a_damaged_packet_counts_from_the_place_on():
    without = np.delete(PTS, 2)
    timeline = replace(TIMELINE, pts=without, key=np.delete(KEYS, 2))
    assert numbers(Container(corrupt=[2]), 3, timeline, seek=False) == [3, 4, 5, 6, 7, 8]
    with pytest.raises(DamageError, match=r"a packet of its pictures is damaged"):
        numbers(Container(corrupt=[2]), 0, timeline)
