"""Spans of faults in a file's sound."""

import math
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest
from stgcma.preprocess.media import audio_decoding

STREAM = SimpleNamespace(time_base=Fraction(1))


def packet(second):
    return SimpleNamespace(pts=second, duration=1, size=1, is_corrupt=False)


def test_an_error_of_the_container_concerns_all_that_follows(monkeypatch):
    """The first packet is decoded before it; the decoder is emptied after it."""
    monkeypatch.setattr(audio_decoding, "read_only", lambda _: None)
    given = []
    frame = SimpleNamespace(is_corrupt=False)
    context = SimpleNamespace(decode=lambda one: given.append(one) or [frame])
    monkeypatch.setattr(audio_decoding, "prepare_decoder", lambda _: context)

    def demux(_):
        yield packet(0)
        yield packet(1)
        raise av.error.InvalidDataError(1, "no more")

    faults = []
    frames = list(audio_decoding._frames(SimpleNamespace(demux=demux), STREAM, faults))
    assert len(frames) == 3
    assert given[-1] is None
    assert [(fault.begin, fault.end) for fault in faults] == [(2.0, math.inf)]
    assert faults[0].error.reason == "unreadable"


def test_an_error_of_a_packet_concerns_that_packet(monkeypatch):
    monkeypatch.setattr(audio_decoding, "read_only", lambda _: None)

    def decode(one):
        if one is not None and one.pts == 1:
            raise av.error.InvalidDataError(1, "damaged")
        return []

    monkeypatch.setattr(audio_decoding, "prepare_decoder", lambda _: SimpleNamespace(decode=decode))
    faults = []
    container = SimpleNamespace(demux=lambda _: iter([packet(0), packet(1), packet(2)]))
    assert list(audio_decoding._frames(container, STREAM, faults)) == []
    assert [(fault.begin, fault.end) for fault in faults] == [(1.0, pytest.approx(2.0))]
