"""The decoders against each other, and against a plain full decode, on tricky clips."""

import dataclasses

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from stgcma.preprocess.media.probe import ClipError, probe
from stgcma.preprocess.media.video import ffmpeg, pyav, read_frames
from stgcma.preprocess.media.video.frames import evenly
from stgcma.preprocess.media.video.shown import deinterlaced

VIDEOS = [
    "h264.mp4",
    "opengop.mp4",
    "opengop.mkv",
    "hevc-23976.mp4",
    "hevc-layers.mp4",
    "vp9-2997.webm",
    "vp8.webm",
    "av1.mp4",
    "av1.webm",
    "mpeg4.mp4",
    "mpeg4.avi",
    "fps60.mp4",
    "vfr.mp4",
    "rotated-90.mp4",
    "rotated-180.mp4",
    "rotated-270.mp4",
    "edit-list.mp4",
    "odd-size.mp4",
    "odd-size.webm",
    "h264-10bit.mp4",
    "hevc-10bit.mp4",
    "interlaced.mp4",
    "refresh.mp4",
    "bt709.mp4",
    "full-range.mp4",
    "stream.ts",
    "fragments.mp4",
    "audio-late.mp4",
    "video-late.mp4",
    "surround.mp4",
]
NOT_FOR_DECORD = {
    "av1.mp4": "codec av1",
    "av1.webm": "codec av1",
    "mpeg4.avi": "container avi",
    "rotated-90.mp4": r"turned or mirrored pictures \(transpose, vflip\)",
    "rotated-180.mp4": r"turned or mirrored pictures \(hflip, vflip\)",
    "rotated-270.mp4": r"turned or mirrored pictures \(transpose, hflip\)",
    "edit-list.mp4": "edit list",
    "odd-size.mp4": "pixel format yuv444p",
    "h264-10bit.mp4": "pixel format yuv420p10le",
    "hevc-10bit.mp4": "pixel format yuv420p10le",
    "interlaced.mp4": "interlaced",
    "stream.ts": "container mpegts",
}


def full_decode(path):
    """Every frame, with none of the shortcuts: {pts: RGB}, upright, and the time base."""
    frames = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            rgb = frame.to_ndarray(format="rgb24", interpolation=Interpolation.POINT)
            if frame.interlaced_frame:  # lines of the bottom field are made of those of the top one
                rgb = deinterlaced(rgb[None])[0]
            frames[frame.pts] = np.rot90(rgb, frame.rotation // 90)
        return frames, stream.time_base


def replace_reader(monkeypatch, module, read):
    monkeypatch.setattr(module, "DECODER", dataclasses.replace(module.DECODER, read=read))


@pytest.mark.parametrize("name", VIDEOS)
def test_sparse_frames_are_those_of_a_full_decode(clip, name):
    path = clip(name)
    reference, time_base = full_decode(path)
    pts = np.array(sorted(reference))
    # The cut is at 0.5 s, its first picture is of 0.52 s.
    first = 0.02 if name == "edit-list.mp4" else 0.0
    times = np.array([first + float((value - pts[0]) * time_base) for value in pts])
    rng = np.random.default_rng(0)
    everything = np.arange(len(pts))
    choices = [everything, everything[-1:], everything[::7], everything[1::2]]
    choices += [rng.integers(0, len(pts), size) for size in (1, 3, 10)]
    for choice in choices:
        frames = pyav.read_frames(path, lambda _, c=choice: c)
        np.testing.assert_allclose(frames.times_seconds, times[choice], atol=1e-6)
        for image, index in zip(frames.images, choice, strict=True):
            assert np.array_equal(image, reference[pts[index]]), f"frame {index} of {choice}"


@pytest.mark.parametrize("name", VIDEOS)
def test_decoders_agree(clip, name):
    path = clip(name)
    info = probe(path)
    seen = []
    reference = read_frames(
        path, lambda times: seen.append(times) or evenly(times, 9), decoder="pyav", info=info
    )
    half_a_frame = 0.5 * np.diff(seen[0]).min()
    for decoder in ("ffmpeg", "decord"):
        if decoder == "decord" and name in NOT_FOR_DECORD:
            continue
        other = read_frames(path, lambda times: evenly(times, 9), decoder=decoder, info=info)
        assert other.decoder == decoder
        assert other.images.shape == reference.images.shape
        assert np.abs(other.times_seconds - reference.times_seconds).max() <= half_a_frame
        apart = np.abs(other.images.astype(int) - reference.images).mean(axis=(1, 2, 3))
        assert apart.max() <= 2.0, f"{decoder}: {apart.round(2)}"


@pytest.mark.parametrize(("name", "why"), NOT_FOR_DECORD.items())
def test_decord_refuses_what_it_is_wrong_for(clip, name, why):
    with pytest.raises(ClipError, match=why) as caught:
        read_frames(clip(name), lambda times: evenly(times, 3), decoder="decord")
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("name", ["rotated-90.mp4", "av1.mp4", "edit-list.mp4"])
def test_auto_does_not_fall_back_to_decord_where_it_is_wrong(clip, name, monkeypatch):
    asked = []

    def fails(decoder):
        def read(*_, **__):
            asked.append(decoder)
            raise ClipError("unreadable", f"{decoder} is broken")

        return read

    replace_reader(monkeypatch, pyav, fails("pyav"))
    frames = read_frames(clip(name), lambda times: evenly(times, 3))
    assert (asked, frames.decoder) == (["pyav"], "ffmpeg")
    replace_reader(monkeypatch, ffmpeg, fails("ffmpeg"))
    with pytest.raises(ClipError, match=r"pyav is broken; ffmpeg is broken; decord is wrong for") as caught:
        read_frames(clip(name), lambda times: evenly(times, 3))
    assert caught.value.reason == "unreadable"


def test_auto_uses_decord_last_where_it_is_right(clip, monkeypatch):
    def fails(*_, **__):
        raise ClipError("unreadable", "broken")

    replace_reader(monkeypatch, pyav, fails)
    replace_reader(monkeypatch, ffmpeg, fails)
    assert read_frames(clip("h264.mp4"), lambda times: evenly(times, 3)).decoder == "decord"


def test_rotation_is_counter_clockwise_as_in_the_display_matrix(clip):
    upright = read_frames(clip("h264.mp4"), lambda times: evenly(times, 2)).images
    for degrees in (90, 180, 270):
        info = probe(clip(f"rotated-{degrees}.mp4"))
        turned = read_frames(info.path, lambda times: evenly(times, 2), info=info).images
        assert np.array_equal(turned, np.rot90(upright, degrees // 90, axes=(1, 2)))
