"""The waveform: its rate, its level, and that it starts when the picture does."""

import dataclasses

import numpy as np
import pytest
from stgcma.preprocess.media.audio import SAMPLE_RATE_HZ, read_waveform
from stgcma.preprocess.media.probe import NO_DECODER, ClipError, DamageError, probe

SOUNDS = [
    "h264.mp4",
    "hevc-23976.mp4",
    "vp9-2997.webm",
    "vp8.webm",
    "av1.mp4",
    "av1.webm",
    "mpeg4.avi",
    "stream.ts",
    "fragments.mp4",
    "surround.mp4",
    "stereo.mp4",
    "edit-list.mp4",
    "sound.m4a",
    "opengop.mkv",
    "stereo.wav",
]


def onset_seconds(waveform):
    return np.flatnonzero(np.abs(waveform) > 0.1)[0] / SAMPLE_RATE_HZ


def pitch_hz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform))
    return spectrum.argmax() * SAMPLE_RATE_HZ / len(waveform)


@pytest.mark.parametrize("name", SOUNDS)
def test_every_kind_of_sound_becomes_16_khz_mono(clip, name):
    info = probe(clip(name))
    waveform = read_waveform(info.path, info=info)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert len(waveform) / SAMPLE_RATE_HZ == pytest.approx(info.claimed_end_seconds, abs=0.1)
    assert pitch_hz(waveform) == pytest.approx(440, abs=2)


def by_ffmpeg(info):
    """The waveform as the ffmpeg executable decodes it: what PyAV has no decoder for."""
    unknown = dataclasses.replace(info.audio, codec=NO_DECODER)
    return read_waveform(info.path, info=dataclasses.replace(info, audio=unknown))


@pytest.mark.parametrize("name", [*SOUNDS, "audio-late.mp4", "video-late.mp4", "cover.mp4", "gap.mkv"])
def test_the_ffmpeg_executable_hears_the_same(clip, name):
    info = probe(clip(name))
    ours, theirs = read_waveform(info.path, info=info), by_ffmpeg(info)
    # Versions of FFmpeg differ on whether what an encoder fills its last frame up with is sound.
    assert abs(len(ours) - len(theirs)) <= 1024
    common = min(len(ours), len(theirs)) - 16
    np.testing.assert_allclose(ours[:common], theirs[:common], atol=1e-4)


@pytest.mark.parametrize("name", ["h264.mp4", "fragments.mp4", "audio-late.mp4", "stereo.mp4", "stereo.wav"])
def test_what_fills_up_the_last_frame_is_no_sound(clip, name):
    assert len(read_waveform(clip(name))) == 2 * SAMPLE_RATE_HZ


@pytest.mark.parametrize("name", ["h264.mp4", "stereo.mp4"])
def test_equal_channels_keep_their_level(clip, name):
    assert np.abs(read_waveform(clip(name)))[4000:-4000].max() == pytest.approx(0.5, abs=0.05)


def test_sound_that_starts_late_is_padded(clip):
    waveform = read_waveform(clip("audio-late.mp4"))
    assert onset_seconds(waveform) == pytest.approx(
        0.3, abs=0.025
    )  # AAC spreads an onset over its first frame
    assert np.abs(waveform[: int(0.27 * SAMPLE_RATE_HZ)]).max() == 0


def test_sound_before_the_first_picture_is_cut(clip):
    info = probe(clip("video-late.mp4"))
    assert info.video.start_seconds == pytest.approx(0.3, abs=0.04)
    waveform = read_waveform(info.path, info=info)
    assert len(waveform) / SAMPLE_RATE_HZ == pytest.approx(2.3 - info.video.start_seconds, abs=0.03)
    assert onset_seconds(waveform) < 0.01


def test_a_gap_is_filled_with_silence(clip):
    waveform = read_waveform(clip("gap.mkv"))
    assert len(waveform) == pytest.approx(2.5 * SAMPLE_RATE_HZ, abs=16)
    assert np.abs(waveform[16100:23900]).max() == 0
    assert np.abs(waveform[24100:]).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("layout", "rate_hz"), [("stereo", 44100), ("mono", 48000)])
def test_sound_that_changes_its_kind_stays_in_its_place(tmp_path, ffmpeg, layout, rate_hz):
    tone = {"mono": "sin(880*PI*t)/2", "stereo": "sin(880*PI*t)/2|sin(880*PI*t)/2"}
    parts = []
    for start, (channels, hz) in enumerate([("mono", 44100), (layout, rate_hz)]):
        parts.append(tmp_path / f"{start}.ts")
        source = f"aevalsrc={tone[channels]}:c={channels}:s={hz}:d=1"
        timing = ["-muxdelay", "0", "-output_ts_offset", start]
        ffmpeg("-f", "lavfi", "-i", source, "-c:a", "mp2", *timing, parts[-1])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    waveform = read_waveform(joined)
    assert len(waveform) / SAMPLE_RATE_HZ == pytest.approx(2, abs=0.03)
    loudest = np.abs(waveform[: len(waveform) // 160 * 160]).reshape(-1, 160).max(1)  # of every 10 ms
    assert (loudest[4:-4] > 0.4).sum() >= len(loudest) - 12  # but where the two meet
    assert np.abs(waveform).max() < 0.55


def test_a_clip_without_sound_says_so(clip):
    with pytest.raises(ClipError, match="the file has no audio stream") as caught:
        read_waveform(clip("silent.mp4"))
    assert caught.value.reason == "no-audio"


def test_sound_that_ends_early_is_truncated(clip):
    with pytest.raises(ClipError, match=r"sound ends at 1\.0\d s, the container claims 2\.00 s") as caught:
        read_waveform(clip("sound-short.mp4"))
    assert caught.value.reason == "truncated"


def test_damaged_sound_is_not_passed_over(clip, tmp_path):
    import av

    path = clip("h264.mp4")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in packets[30:34]:
        data[packet.pos : packet.pos + packet.size] = bytes([0xFF]) * packet.size
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    with pytest.raises(ClipError, match="its sound does not decode") as caught:
        read_waveform(damaged)
    assert caught.value.reason == "unreadable"


def with_packets(path, source, change):
    """Writes the sound of `source` to `path`, its packets as `change(number, bytes)` makes them."""
    import av

    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = given.streams.audio[0]
        copy = made.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in given.demux(stream) if packet.size):
            changed = av.Packet(change(number, bytes(packet)))
            changed.pts, changed.dts, changed.duration = packet.pts, packet.dts, packet.duration
            changed.time_base, changed.stream = packet.time_base, copy
            made.mux(changed)


def test_damage_behind_a_frame_that_decodes_is_not_passed_over(clip, tmp_path):
    """PyAV tells of no error in a packet whose first frame decodes."""
    path = tmp_path / "more.mkv"
    with_packets(path, clip("h264.mp4"), lambda _, data: data)
    assert len(read_waveform(path)) == pytest.approx(
        2 * SAMPLE_RATE_HZ, abs=800
    )  # the encoder's lead-in is in it
    with_packets(path, clip("h264.mp4"), lambda number, data: data + data[: len(data) // 2 * (number == 40)])
    with pytest.raises(DamageError, match="its sound does not decode") as caught:
        read_waveform(path)
    assert caught.value.reason == "unreadable"


def test_a_packet_that_is_not_whole_is_not_passed_over(clip, tmp_path):
    data = clip("stream.ts").read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[: len(data) - 188 * 10])
    with pytest.raises(DamageError, match="a part of it is damaged") as caught:
        read_waveform(cut)
    assert caught.value.reason == "unreadable"


def test_sound_that_is_not_finite_is_damage(tmp_path, ffmpeg):
    samples = np.sin(np.arange(16000) / 10).astype("<f4")
    for name, value in (("good", 0.5), ("nan", np.nan), ("inf", np.inf)):
        samples[8000] = value
        (tmp_path / f"{name}.f32").write_bytes(samples.tobytes())
        raw = ["-f", "f32le", "-ar", "16000", "-ac", "1", "-i", tmp_path / f"{name}.f32"]
        ffmpeg(*raw, "-c:a", "pcm_f32le", tmp_path / f"{name}.wav")
    assert np.isfinite(read_waveform(tmp_path / "good.wav")).all()
    for name in ("nan", "inf"):
        with pytest.raises(DamageError, match="unreadable: its sound decodes to numbers that are not finite"):
            read_waveform(tmp_path / f"{name}.wav")
