"""Picture and sound must cover the clip: holes and late starts are damage, wherever they are."""

import re
import shutil
import struct

import numpy as np
import pytest
from stgcma.preprocess.media.audio import read_waveform
from stgcma.preprocess.media.probe import ClipError, DamageError, probe
from stgcma.preprocess.media.video import read_frames
from stgcma.preprocess.media.video.frames import evenly

from .conftest import AAC, H264, VP8, picture, tone

# One process for all: they share two videos.
pytestmark = pytest.mark.xdist_group("coverage")

PACKET_BYTES = 188
KEEP_ALL = ("-fps_mode", "passthrough")


def frames(path, **options):
    return read_frames(path, lambda times: evenly(times, 6), **options)


@pytest.fixture(scope="module")
def whole_stream(tmp_path_factory, ffmpeg):
    path = tmp_path_factory.mktemp("stream") / "stream.ts"
    ffmpeg(*picture(seconds=8), *tone(seconds=8), *H264, *AAC, path)
    return path


@pytest.fixture
def stream(whole_stream, tmp_path):
    """Eight seconds of picture and sound in a transport stream, to be changed."""
    return shutil.copy(whole_stream, tmp_path / "stream.ts")


def pid(packet):
    return int.from_bytes(packet[1:3], "big") & 0x1FFF


def test_packets_cut_out_of_the_middle_are_damage(stream):
    data = stream.read_bytes()
    packets = len(data) // PACKET_BYTES
    first, last = (round(packets * share) * PACKET_BYTES for share in (0.35, 0.65))
    stream.write_bytes(data[:first] + data[last:])
    for read in (read_waveform, frames):
        with pytest.raises(ClipError) as caught:
            read(stream)
        assert caught.value.reason in ("truncated", "unreadable")
    assert probe(stream).duration_seconds == pytest.approx(8, abs=0.1)  # which is why nothing ends early


@pytest.mark.parametrize("decoder", ["auto", "ffmpeg"])
def test_one_lost_packet_is_damage(stream, decoder):
    data = stream.read_bytes()
    packets = [data[at : at + PACKET_BYTES] for at in range(0, len(data), PACKET_BYTES)]
    pictures = [number for number, packet in enumerate(packets) if pid(packet) == 0x100]
    del packets[pictures[len(pictures) // 2]]
    stream.write_bytes(b"".join(packets))
    with pytest.raises(DamageError, match=r"\d packets of its pictures are damaged"):
        frames(stream, decoder=decoder)


def test_a_hole_in_the_sound_is_truncated(film):
    gap = "asetpts='PTS+if(gt(T,2),2/TB,0)'"
    path = film("gap.mkv", *picture(seconds=8), *tone(seconds=6), "-af", gap, *H264, "-c:a", "pcm_s16le")
    frames(path)
    message = r"sound begins late or has holes: 2\.0\d s are missing before its end at 8\.0\d s"
    with pytest.raises(ClipError, match=message) as caught:
        read_waveform(path)
    assert caught.value.reason == "truncated"


def test_several_small_holes_add_up(film):
    gaps = "asetpts='PTS+min(floor(T),3)*0.2/TB'"
    path = film("gaps.mkv", *tone(seconds=4), "-af", gaps, "-c:a", "pcm_s16le")
    with pytest.raises(ClipError, match=r"0\.6\d s are missing before its end at 4\.6"):
        read_waveform(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_sound_that_begins_late_is_truncated(film, suffix):
    path = film(f"late.{suffix}", *picture(seconds=4), "-itsoffset", "2", *tone(), *H264, *AAC)
    frames(path)
    with pytest.raises(ClipError, match=r"sound begins late or has holes: (1\.9|2\.0)\d s are missing"):
        read_waveform(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_picture_that_begins_late_is_truncated(film, suffix):
    path = film(f"late.{suffix}", "-itsoffset", "2", *picture(), *tone(seconds=4), *H264, *AAC)
    for decoder in ("pyav", "ffmpeg", "decord"):
        with pytest.raises(
            ClipError, match=r"picture begins late or has holes: (1\.9|2\.0)\d s are missing"
        ) as caught:
            frames(path, decoder=decoder)
        assert caught.value.reason == "truncated"


def test_a_hole_in_a_constant_stream_is_truncated(film):
    still = ("-vf", "select='not(between(n,50,100))'", *KEEP_ALL)
    path = film("hole.mkv", *picture(seconds=8), *tone(seconds=8), *still, *H264, *AAC)
    with pytest.raises(ClipError, match=r"picture begins late or has holes: 2\.04 s are missing"):
        frames(path)


def test_a_fragment_that_is_lost_is_truncated(film):
    """MP4 says how long each picture is shown: what is missing is known, whatever the rate."""
    path = film(
        "fragments.mp4", *picture(seconds=8), *tone(seconds=8), *H264, *AAC,
        "-movflags", "frag_keyframe+empty_moov+default_base_moof",
    )  # fmt: skip
    data = path.read_bytes()
    starts = [match.start() - 4 for match in re.finditer(b"moof", data)]
    at = len(starts) // 2
    path.write_bytes(data[: starts[at]] + data[starts[at + 2] :])
    with pytest.raises(ClipError, match=r"are missing|picture ends at") as caught:
        frames(path)
    assert caught.value.reason == "truncated"


# Pictures that show nothing new are left out: at one place, for a while, and now and then.
STILLS = "select='not(between(n,50,120))*not(eq(mod(n,7),3))'"


@pytest.mark.parametrize(
    ("name", "filtering"),
    [
        ("still.mp4", ("-vf", "select='not(between(n,50,120))'")),
        ("stills.mp4", ("-vf", STILLS)),
        ("stills.mkv", ("-vf", STILLS)),
        ("slides.mkv", ("-vf", "select='eq(n,0)+eq(n,30)+eq(n,100)+eq(n,199)'")),
        ("slow.mkv", ("-vf", "select='not(mod(n,25))*not(between(n,80,140))'")),
    ],
)
def test_long_still_pictures_are_no_holes(film, name, filtering):
    path = film(name, *picture(seconds=8), *tone(seconds=8), *filtering, *KEEP_ALL, *H264, *AAC)
    frames(path)
    read_waveform(path)


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60"])
@pytest.mark.parametrize("suffix", ["mkv", "ts", "flv", "mp4"])
def test_rounded_times_are_no_holes(film, suffix, rate):
    sound = tone(rate_hz=44100)
    path = film(f"whole.{suffix}", *picture(rate=rate), *sound, *H264, *AAC)
    frames(path)
    read_waveform(path)


def ivf_frames(path):
    data, at, found = path.read_bytes(), 32, []
    while at < len(data):
        size = struct.unpack_from("<I", data, at)[0]
        found.append(data[at + 12 : at + 12 + size])
        at += 12 + size
    return data[:32], found


@pytest.fixture(scope="module")
def turned(tmp_path_factory, ffmpeg):
    """VP8 whose pictures are 64x48 for a second, then 48x64."""
    folder = tmp_path_factory.mktemp("turned")
    parts = [folder / f"{size}.ivf" for size in ("64x48", "48x64")]
    for part in parts:
        ffmpeg(*picture(size=part.stem, seconds=1), *VP8, part)
    header, first = ivf_frames(parts[0])
    both = parts[0].with_name("both.ivf")
    packets = [
        struct.pack("<IQ", len(data), at) + data for at, data in enumerate(first + ivf_frames(parts[1])[1])
    ]
    both.write_bytes(header + b"".join(packets))
    ffmpeg("-i", both, "-c", "copy", folder / "turned.webm")
    return folder / "turned.webm"


@pytest.mark.parametrize("decoder", ["auto", "pyav", "ffmpeg"])
def test_a_change_of_size_is_not_squashed(turned, decoder):
    with pytest.raises(
        DamageError, match=r"the picture's size changes from 64x48|its pictures do not decode"
    ):
        frames(turned, decoder=decoder)


def test_pictures_before_the_change_of_size_are_good(turned):
    found = [
        read_frames(turned, lambda _: np.arange(3), decoder=decoder).images for decoder in ("pyav", "ffmpeg")
    ]
    np.testing.assert_array_equal(found[0], found[1])
