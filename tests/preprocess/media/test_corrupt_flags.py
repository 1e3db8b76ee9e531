"""Decoders hand out what they had to make up, and mark it. Each mark alone is damage.

In real files the marks come together, or with an error: here one comes alone.
"""

from fractions import Fraction
from types import SimpleNamespace

import pytest
from stgcma.preprocess.media import audio_decoding
from stgcma.preprocess.media.probe import DamageError
from stgcma.preprocess.media.video import pyav


def packet(corrupt):
    return SimpleNamespace(pts=None, size=100, is_corrupt=corrupt)


@pytest.mark.parametrize("pts", [50, None])
def test_a_picture_that_was_made_up_is_damage(pts):
    stream = SimpleNamespace(time_base=Fraction(1, 25))
    good, bad = (SimpleNamespace(pts=pts, is_corrupt=corrupt) for corrupt in (False, True))
    assert pyav._undamaged([good], stream) == [good]
    where = "without a time" if pts is None else r"at 2\.00 s"
    with pytest.raises(DamageError, match=f"unreadable: the picture {where} .* is damaged"):
        pyav._undamaged([good, bad], stream)


@pytest.mark.parametrize(("packet_is", "frame_is"), [(False, False), (True, False), (False, True)])
def test_a_sound_that_was_made_up_is_damage(monkeypatch, packet_is, frame_is):
    frame = SimpleNamespace(is_corrupt=frame_is)
    context = SimpleNamespace(decode=lambda given: [frame] if given is not None else [])
    monkeypatch.setattr(audio_decoding, "read_only", lambda _: None)
    monkeypatch.setattr(audio_decoding, "prepare_decoder", lambda _: context)
    container = SimpleNamespace(demux=lambda _: iter([packet(packet_is)]))
    failures = []
    assert list(audio_decoding._frames(container, SimpleNamespace(time_base=Fraction(1)), failures)) == [
        frame
    ]
    said = ["unreadable: its sound does not decode (a part of it is damaged)"]
    assert [str(failure.error) for failure in failures] == (said if packet_is or frame_is else [])
