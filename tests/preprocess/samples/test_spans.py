"""Clips that are spans of recordings: their samples, their cost, and damage beside them."""

from dataclasses import replace

import pytest
from stgcma.preprocess.collections import ave
from stgcma.preprocess.collections.specification import ClipSpecification, FeatureSettings
from stgcma.preprocess.media import recording as recordings
from stgcma.preprocess.media.probe import probe
from stgcma.preprocess.media.reasons import ClipError, DamageError
from stgcma.preprocess.media.video import pyav
from stgcma.preprocess.samples.sample import SampleMaker
from stgcma.preprocess.samples.whole_video import DecodeRequest, decode_video, read_window

# One process for all: they share the recordings.
pytestmark = pytest.mark.xdist_group("spans")

SETTINGS = FeatureSettings(ave.SAMPLING, ("clip",))
PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=33.4")
SWEEP = ("-f", "lavfi", "-i", "aevalsrc='0.4*sin(2*PI*t*(200+20*t))':s=22050:d=33.4")
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "12", "-pix_fmt", "yuv420p")
KINDS = {
    "mp4": (*X264, "-c:a", "aac"),
    "open.mkv": (*X264, "-x264-params", "open-gop=1:bframes=2:b-adapt=0", "-c:a", "libopus"),
    "ts": (*X264, "-c:a", "aac"),
    "avi": ("-c:v", "mpeg4", "-g", "12", "-bf", "2", "-c:a", "pcm_s16le"),
}


@pytest.fixture(scope="module")
def recording(ffmpeg, tmp_path_factory):
    """`recording(kind)` is a recording of 33.4 s with changing pictures and a rising tone."""
    folder = tmp_path_factory.mktemp("recordings")

    def make(kind):
        path = folder / f"recording.{kind}"
        if not path.exists():
            ffmpeg(*PICTURE, *SWEEP, *KINDS[kind], path)
        return path

    return make


def make_span(path, start, end):
    clip = ClipSpecification("key", "train", path.name, start_seconds=start, end_seconds=end)
    return SampleMaker(path.parent, SETTINGS)(clip)


@pytest.mark.parametrize("kind", ["mp4", "open.mkv", "avi"])
def test_a_span_is_the_sample_of_that_window_in_prediction(recording, tmp_path, kind):
    path = recording(kind)
    decoded = decode_video(DecodeRequest(probe(path), tmp_path, ave.SAMPLING, 10))
    assert [window.start_seconds for window in decoded.windows] == [0, 10, 20, 23]
    # Backwards as well: each worker makes other windows in its own order.
    for place in (3, 1, 0, 2):
        window = decoded.windows[place]
        made = make_span(path, window.start_seconds, window.end_seconds)
        expected = read_window(decoded, place, SETTINGS)
        if place == 3:  # prediction reads the sound to its end, here somewhat after the pictures
            expected.pop("fbank_128.npy")
        assert {name: made.members[name] == content for name, content in expected.items()} == dict.fromkeys(
            expected, True
        )
        assert made.seconds == pytest.approx(window.end_seconds - window.start_seconds, abs=0.2)


def test_the_cost_does_not_grow_with_windows_times_length(recording, monkeypatch):
    path = recording("mp4")
    calls = {"pictures": 0, "scans": 0, "sounds": 0}

    def count(module, name, key, amount=lambda _: 1):
        original = getattr(module, name)

        def counted(*arguments, **options):
            result = original(*arguments, **options)
            calls[key] += amount(result)
            return result

        monkeypatch.setattr(module, name, counted)

    count(pyav, "_undamaged", "pictures", len)
    count(recordings, "scan_timeline", "scans")
    count(recordings, "stream_waveform", "sounds")
    recordings._opened.cache_clear()
    for start in range(0, 24, 3):
        make_span(path, start, start + 10)
    assert (calls["scans"], calls["sounds"]) == (1, 1)
    # 5 pictures a second: a span of 10 s holds 50, and begins within a group of 12.
    assert calls["pictures"] <= 8 * (50 + 12 + 1)


def test_a_picture_is_found_without_reading_what_comes_before(recording, monkeypatch):
    path = recording("mp4")
    read = []
    original = pyav.packets_from

    def noted(container, stream, timeline, first, *, seek):
        read.append((first, seek))
        return original(container, stream, timeline, first, seek=seek)

    monkeypatch.setattr(pyav, "packets_from", noted)
    make_span(path, 20, 30)
    assert read == [(96, True)], "the key picture at 19.2 s, and no second try from the beginning"


def test_damage_concerns_the_spans_that_it_lies_in(recording, tmp_path):
    whole = recording("ts").read_bytes()
    packets = [bytearray(whole[at : at + 188]) for at in range(0, len(whole), 188)]
    middle = len(packets) * 15 // 33
    for packet in packets[middle : middle + 12]:
        packet[4:] = bytes(184)
    path = tmp_path / "damaged.ts"
    path.write_bytes(b"".join(packets))
    outcomes = {}
    for start in (0, 10, 20):
        try:
            outcomes[start] = make_span(path, start, start + 10).key
        except ClipError as error:
            outcomes[start] = error.reason
    assert outcomes[0] == outcomes[20] == "key"
    assert outcomes[10] in ("unreadable", "truncated")
    intact = make_span(recording("ts"), 20, 30)
    assert make_span(path, 20, 30).members == intact.members


def test_damaged_sound_concerns_the_spans_that_it_lies_in(recording, monkeypatch):
    """The error of one packet at 15 s, as the decoder reports it."""
    original = recordings.stream_waveform

    def with_damage(path, info, take):
        sound = original(path, info, take)
        begin = info.clip_start_seconds + 15.0
        return replace(sound, damaged=((begin, begin + 0.02),))

    monkeypatch.setattr(recordings, "stream_waveform", with_damage)
    recordings._opened.cache_clear()
    path = recording("mp4")
    for start, end in ((10, 15.05), (14.95, 20), (10, 20)):
        with pytest.raises(DamageError, match=r"its sound between .* s is damaged"):
            make_span(path, start, end)
    assert make_span(path, 0, 10)
    assert make_span(path, 20, 30)
    recordings._opened.cache_clear()


def test_a_recording_that_was_cut_off_keeps_the_spans_before_the_cut(recording, tmp_path):
    whole = recording("open.mkv").read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    assert make_span(path, 0, 10).members == make_span(recording("open.mkv"), 0, 10).members
    with pytest.raises(
        ClipError, match=r"^truncated: the pictures end at (1|2)\d\.\d\d s, the span at 30\.00 s"
    ):
        make_span(path, 20, 30)


def test_a_recording_without_sound_is_silent_where_that_is_allowed(ffmpeg, tmp_path):
    path = tmp_path / "silent.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=12", *X264, path)
    with pytest.raises(ClipError, match=r"^no-audio: "):
        make_span(path, 0, 10)
    clip = ClipSpecification("key", "train", path.name, start_seconds=2, end_seconds=12)
    made = SampleMaker(tmp_path, SETTINGS, missing_audio="silence")(clip)
    assert not made.has_audio


@pytest.mark.parametrize(("start", "end"), [(5, None), (5, 5), (-1, 5)])
def test_a_span_has_a_length(start, end):
    with pytest.raises(ValueError, match=rf"span of key .*{start}"):
        ClipSpecification("key", "train", "a.mp4", start_seconds=start, end_seconds=end)
