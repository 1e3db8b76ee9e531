"""Frames are chosen by presentation time: what is seen in them says whether that holds."""

import numpy as np
import pytest
from stgcma.preprocess.media.probe import ClipError, probe
from stgcma.preprocess.media.video import decoder_versions, read_frames
from stgcma.preprocess.media.video.decoding_plan import can_skip, make_plan
from stgcma.preprocess.media.video.frames import Frames, at_seconds, evenly
from stgcma.preprocess.media.video.timeline import read_timeline


def frame_numbers(frames):
    """Return the number of each frame in the ramp: luma 16 + 4 N, in RGB (luma - 16) * 255 / 219."""
    return np.rint(frames.images.mean(axis=(1, 2, 3)) * 219 / 255 / 4).astype(int)


@pytest.mark.parametrize("decoder", ["auto", "pyav", "ffmpeg", "decord"])
def test_variable_rate_frames_are_found_at_their_time(clip, decoder):
    frames = read_frames(clip("ramp-vfr.mp4"), lambda times: np.arange(len(times)), decoder=decoder)
    kept = [n for n in range(50) if not 10 <= n <= 25 and n % 7 != 3]
    assert frame_numbers(frames).tolist() == kept
    np.testing.assert_allclose(frames.times_seconds * 25, kept, atol=1e-6)


@pytest.mark.parametrize("decoder", ["auto", "ffmpeg"])
def test_an_edit_list_hides_what_comes_before(clip, decoder):
    frames = read_frames(clip("ramp-cut.mp4"), lambda times: evenly(times, 5), decoder=decoder)
    numbers = frame_numbers(frames)
    # Clip time 0 is 0.5 s, frame 12.5: the first whole one comes 20 ms later.
    assert numbers[0] == 13
    np.testing.assert_allclose(frames.times_seconds * 25, numbers - 12.5, atol=1e-6)
    assert read_timeline(probe(clip("ramp-cut.mp4"))).edited


@pytest.mark.parametrize("decoder", ["auto", "ffmpeg"])
def test_packed_b_frames_without_times_are_in_order(clip, decoder):
    frames = read_frames(clip("ramp-packed.avi"), lambda times: np.arange(len(times)), decoder=decoder)
    numbers = frame_numbers(frames)
    assert len(numbers) >= 49
    assert np.all(np.diff(numbers) == 1)
    np.testing.assert_allclose(frames.times_seconds * 25, numbers - numbers[0], atol=1e-6)
    few = read_frames(clip("ramp-packed.avi"), lambda _: np.array([40, 7]), decoder=decoder)
    assert frame_numbers(few).tolist() == numbers[[40, 7]].tolist()


def test_order_and_repeats_of_the_choice_are_kept(clip):
    frames = read_frames(clip("ramp.mp4"), lambda _: np.array([30, 2, 2, 49, 0]))
    assert frame_numbers(frames).tolist() == [30, 2, 2, 49, 0]
    np.testing.assert_allclose(frames.times_seconds, [1.2, 0.08, 0.08, 1.96, 0])


def test_evenly_takes_both_ends():
    times = np.array([0.0, 0.1, 0.2, 0.9, 1.0])
    assert evenly(times, 3).tolist() == [0, 2, 4]
    assert evenly(times, 1).tolist() == [0]
    assert evenly(times[:1], 4).tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="count is 0, at least 1"):
        evenly(times, 0)


def test_at_seconds_takes_the_nearest_and_of_two_the_earlier():
    times = np.array([0.0, 1.0, 2.0])
    assert at_seconds(times, np.array([-5.0, 0.5, 0.51, 1.49, 99.0])).tolist() == [0, 0, 1, 1, 2]
    with pytest.raises(ValueError, match="times is empty"):
        at_seconds(np.array([]), np.array([1.0]))


def test_the_plan_decodes_only_what_is_needed(clip):
    timeline = read_timeline(probe(clip("h264.mp4")))  # keys at 0, 20 and 40
    plan = make_plan(timeline, timeline.visible[[0, 41]])
    assert plan.decode[0]
    assert not plan.decode[1:40].any()
    assert np.flatnonzero(plan.restart).tolist() == [40]
    assert plan.wanted.sum() == 2
    assert plan.decode.sum() < 7


def test_an_open_group_is_entered_from_the_group_before(clip):
    timeline = read_timeline(probe(clip("opengop.mkv")))
    assert timeline.open_groups
    key = np.flatnonzero(timeline.key)[1]
    leading = int(key) + 1
    assert timeline.pts[leading] < timeline.pts[key]
    plan = make_plan(timeline, timeline.pts[leading : leading + 1])
    assert plan.decode[: leading + 1].all()


@pytest.mark.parametrize("codec", ["av1", "prores", "h263"])
def test_pictures_are_skipped_only_by_decoders_known_to_obey(codec):
    assert not can_skip(codec, b"")


def test_hevc_with_temporal_layers_is_decoded_whole(clip):
    import av

    for name, expected in (("hevc-23976.mp4", True), ("hevc-layers.mp4", False)):
        with av.open(str(clip(name))) as container:
            context = container.streams.video[0].codec_context
            assert can_skip("hevc", context.extradata) is expected, name
    assert not can_skip("hevc", None)
    assert not can_skip("hevc", b"\0\0\0\1" + bytes(40))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.array([], dtype=int), r"choose must return indices \[M\], not int64 \(0,\)"),
        (np.array([0.5]), "not float64"),
        (np.array([[1]]), r"not int64 \(1, 1\)"),
        (np.array([50]), r"choose returned 50\.\.50, there are 50 frames"),
        (np.array([-1, 3]), r"choose returned -1\.\.3"),
    ],
)
def test_a_nonsensical_choice_is_refused(clip, answer, message):
    with pytest.raises(ValueError, match=message):
        read_frames(clip("ramp.mp4"), lambda _: answer)


def test_an_unknown_decoder_is_refused_with_the_known_ones(clip):
    with pytest.raises(ValueError, match="decoder is 'opencv', allowed are auto, decord, ffmpeg, pyav"):
        read_frames(clip("ramp.mp4"), lambda times: evenly(times, 1), decoder="opencv")


def test_a_file_without_pictures_has_no_video(clip):
    for name in ("sound.m4a", "cover.mp4"):
        with pytest.raises(ClipError, match="no video stream") as caught:
            read_frames(clip(name), lambda times: evenly(times, 1))
        assert caught.value.reason == "no-video"


def test_frames_check_their_shapes():
    good = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"images must be uint8 \[M, H, W, 3\], not float64 \(2, 4, 4, 3\)"):
        Frames(good.astype(float), np.zeros(2), "pyav")
    with pytest.raises(ValueError, match=r"times_seconds must be float64 \[2\], not float64 \(3,\)"):
        Frames(good, np.zeros(3), "pyav")


def test_every_decoder_tells_its_version():
    versions = decoder_versions()
    assert list(versions) == ["decord", "ffmpeg", "pyav"]
    assert all(versions.values())
    assert all(library in versions["pyav"] for library in ("libavcodec", "libswresample"))
