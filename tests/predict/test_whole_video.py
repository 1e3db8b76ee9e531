"""A window has the same bytes as a sample of a clip with its content."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from stgcma.preprocess.collections import ave, avs_s4, music_avqa
from stgcma.preprocess.collections.specification import ClipSpecification, FeatureSettings
from stgcma.preprocess.media.probe import probe
from stgcma.preprocess.media.reasons import ClipError
from stgcma.preprocess.samples.sample import SampleMaker
from stgcma.preprocess.samples.whole_video import DecodeRequest, decode_video, read_window, windows_decoded

from .conftest import H264, picture, tone


def decoded_video(path, folder, sampling, window_seconds):
    folder.mkdir()
    return decode_video(DecodeRequest(probe(path), folder, sampling, window_seconds))


def sample_of(path, settings):
    made = SampleMaker(path.parent, settings)(ClipSpecification("key", "test", path.name))
    return {name: content for name, content in made.members.items() if not name.startswith("mask")}


@pytest.mark.parametrize(("task", "window"), [("ave", 10), ("avs", 5), ("avqa", 12)])
def test_a_clip_of_one_window_is_its_sample(shards_of, raw_of, tmp_path, task, window):
    from stgcma.shards.manifest import read_manifest
    from stgcma.shards.reader import ClipReader, clip_places
    from stgcma.train.data import open_task

    collection = {"ave": ave, "avs": avs_s4, "avqa": music_avqa}[task]
    shards = shards_of(task)
    records = read_manifest(shards, split="test")
    reader = ClipReader(shards)
    stored = reader.read(clip_places(records)[0])
    reader.close()
    fbanks = tuple(open_task(shards).info.features["fbanks"])
    decoded = decoded_video(
        raw_of(task) / records[0].source, tmp_path / "decoded", collection.SAMPLING, window
    )
    assert len(decoded.windows) == 1
    made = read_window(decoded, 0, FeatureSettings(collection.SAMPLING, fbanks))
    assert set(made) == {name for name in stored if name.startswith(("frame_", "fbank_"))}
    assert {name: made[name] == stored[name] for name in made} == dict.fromkeys(made, True)


@pytest.mark.parametrize("sampling", [ave.SAMPLING, avs_s4.SAMPLING], ids=["evenly", "masks"])
def test_a_window_of_a_long_video_is_the_sample_of_that_part(encoded, ffmpeg, tmp_path, sampling):
    sweep = ("-f", "lavfi", "-i", "aevalsrc='0.4*sin(2*PI*t*(200+40*t))':s=16000:d=13")
    exact = ("-c:v", "ffv1", "-c:a", "pcm_s16le")
    path = encoded("long.mkv", *picture(seconds=13, size="64x48"), *sweep, *exact)
    settings = FeatureSettings(sampling, ("swin",))
    decoded = decoded_video(path, tmp_path / "decoded", sampling, 5)
    starts = [window.start_seconds for window in decoded.windows]
    assert starts == [0, 5, 8]
    for place, start in enumerate(starts):
        part = tmp_path / f"part-{place}.mkv"
        ffmpeg("-ss", start, "-i", path, "-t", 5, *exact, part)
        made, expected = read_window(decoded, place, settings), sample_of(part, settings)
        assert made.keys() == expected.keys()
        for name, content in expected.items():
            assert made[name] == content, f"{name} of the window at {start} s"


def test_the_video_is_decoded_once(long_video, tmp_path, monkeypatch):
    from stgcma.preprocess.samples import whole_video

    calls = []
    stream = whole_video.stream_frames
    monkeypatch.setattr(
        whole_video,
        "stream_frames",
        lambda *arguments, **options: calls.append(1) or stream(*arguments, **options),
    )
    made = decoded_video(long_video, tmp_path / "decoded", ave.SAMPLING, 10)
    assert (len(made.windows), len(calls)) == (3, 1)
    assert windows_decoded(made.folder) == 3
    assert (made.width, made.height, made.has_audio, made.warnings) == (160, 120, True, ())


def test_pictures_that_must_be_counted_give_the_same_frames(encoded, ffmpeg, tmp_path):
    """AVI stores no presentation times, so that everything is decoded."""
    made = {}
    path = encoded(
        "clip.mp4", *picture(seconds=7), *tone(seconds=7), "-c:v", "mpeg4", "-q:v", 4, "-c:a", "aac"
    )
    ffmpeg("-i", path, "-c", "copy", tmp_path / "clip.avi")
    for source in (path, tmp_path / "clip.avi"):
        decoded = decoded_video(source, tmp_path / source.suffix, avs_s4.SAMPLING, 5)
        settings = FeatureSettings(avs_s4.SAMPLING, ("swin",))
        made[source.suffix] = [read_window(decoded, place, settings) for place in range(2)]
    frames = {
        suffix: [{name: one[name] for name in one if name.startswith("frame")} for one in windows]
        for suffix, windows in made.items()
    }
    assert frames[".avi"] == frames[".mp4"]


def test_a_video_that_states_no_length_is_not_decoded_when_it_is_too_long(encoded, tmp_path, monkeypatch):
    from stgcma.preprocess.samples import whole_video

    path = encoded("clip.avi", *picture(seconds=9, rate="5", size="64x48"), "-c:v", "mpeg4")
    info = dataclasses.replace(probe(path), duration_seconds=None, end_seconds=None)
    request = DecodeRequest(info, tmp_path, avs_s4.SAMPLING, 5, longest_seconds=8)
    with pytest.raises(ClipError, match="too-large: it lasts 0:09, longer than the 0:08 allowed"):
        decode_video(request)
    monkeypatch.setattr(whole_video, "displayed_timeline", None)  # which decodes
    with pytest.raises(ClipError, match="longer than the 0:02 allowed"):
        decode_video(dataclasses.replace(request, longest_seconds=2))
    assert not list(tmp_path.glob("0*"))


def test_frames_are_those_that_players_show(encoded, tmp_path):
    """Stored as 60×60 with pixels of 4:3 and interlaced, shown transposed: 60 wide, 80 high, red on top."""
    halves = "color=blue:s=60x60:r=5:d=1,drawbox=w=30:h=60:c=red:t=fill,setsar=4/3"
    stored = encoded("stored.mp4", "-f", "lavfi", "-i", halves, *H264, "-x264-params", "interlaced=1")
    how = ("-display_rotation", 270, "-display_hflip")
    path = encoded("shown.mp4", *how, "-i", stored, "-c", "copy")
    decoded = decoded_video(path, tmp_path / "decoded", avs_s4.SAMPLING, 5)
    assert (decoded.width, decoded.height) == (60, 80)
    assert decoded.warnings[0].startswith("interlaced pictures: ")
    members = read_window(decoded, 0, FeatureSettings(avs_s4.SAMPLING, ("swin",)))
    image = np.asarray(Image.open(io.BytesIO(members["frame_00.jpg"]))).astype(int)
    top, bottom = image[:100].mean(axis=(0, 1)), image[-100:].mean(axis=(0, 1))
    assert (top[0] > 200, top[2] < 50, bottom[0] < 50, bottom[2] > 200) == (True,) * 4


def test_missing_sound_becomes_silence_and_is_said(encoded, tmp_path):
    settings = FeatureSettings(avs_s4.SAMPLING, ("swin",))
    short = encoded("short.mp4", *picture(seconds=8), *tone(seconds=3), "-c:a", "aac")
    decoded = decoded_video(short, tmp_path / "short", avs_s4.SAMPLING, 5)
    assert decoded.has_audio
    assert len(decoded.warnings) == 1
    assert decoded.warnings[0].startswith("its sound ends at 3.0")
    silent = decoded_video(
        encoded("silent.mp4", *picture(seconds=0.3)), tmp_path / "silent", avs_s4.SAMPLING, 5
    )
    assert not silent.has_audio
    assert silent.warnings == ("no audio stream: silence was put in its place",)
    import io

    for made in (decoded, silent):
        last = np.load(io.BytesIO(read_window(made, len(made.windows) - 1, settings)["fbank_224.npy"]))
        assert last.min() == last[-1].max(), "the least energy there is"


def test_sound_alone_is_refused(encoded, tmp_path):
    path = encoded("sound.m4a", *tone(), "-c:a", "aac")
    with pytest.raises(ClipError, match=r"no-video: it holds sound alone; a video is needed"):
        decoded_video(path, tmp_path / "decoded", ave.SAMPLING, 10)


def test_a_slide_that_stays_is_seen_in_every_window(encoded, tmp_path):
    path = encoded("slides.mkv", *picture(seconds=24, rate="1/12", size="64x48"), *tone(seconds=24))
    decoded = decoded_video(path, tmp_path / "decoded", avs_s4.SAMPLING, 5)
    settings = FeatureSettings(avs_s4.SAMPLING, ("swin",))
    firsts = [read_window(decoded, place, settings)["frame_00.jpg"] for place in range(len(decoded.windows))]
    assert len(firsts) == 5
    assert firsts[1] == firsts[0] != firsts[-1]
