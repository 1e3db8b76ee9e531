"""Files made to mislead: playlists, scripts, strange names, pictures too large to hold."""

import os
import shutil
import socket
import struct
import threading
from fractions import Fraction

import numpy as np
import pytest
from stgcma.preprocess.media import container as container_module
from stgcma.preprocess.media.audio import read_waveform
from stgcma.preprocess.media.orientation import Orientation
from stgcma.preprocess.media.probe import AudioFacts, ClipError, MediaInfo, VideoFacts, probe
from stgcma.preprocess.media.video import ffmpeg, pyav, read_frames
from stgcma.preprocess.media.video.frames import check_bytes, evenly

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
    'bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
}
NAMES = [
    b"-rf.mp4",
    b"a:b.mp4",
    b"x%03d.mp4",
    b"http:x.mp4",
    b"a b\n'\"$(id).mp4",
    b"\xff\xfe.mp4",
    "ü—.mp4".encode(),
]


def every_reader(path, info):
    """The ways into a file, past the checks that `probe` makes."""
    return {
        "probe": lambda: probe(path),
        "pyav": lambda: pyav.read_frames(path, lambda times: evenly(times, 2), info=info),
        "ffmpeg": lambda: ffmpeg.read_frames(path, lambda times: evenly(times, 2), info=info),
        "decord": lambda: read_frames(path, lambda times: evenly(times, 2), decoder="decord", info=info),
        "sound": lambda: read_waveform(path, info=info),
    }


def believable(path):
    video = VideoFacts(0, "h264", 160, 120, 25.0, Orientation(), Fraction(1), 0.0, "yuv420p", False)
    return MediaInfo(path, "mov", 0.0, 2.0, video, AudioFacts(1, "aac", 44100, 1, 0.0))


@pytest.fixture
def listener():
    """A port of this machine, and the list of connections that anyone makes to it."""
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stop = threading.Event()

        def accept():
            while not stop.is_set():
                try:
                    calls.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1], calls
        stop.set()
        thread.join()
    for call in calls:
        call.close()


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8"])
def test_playlists_are_not_followed(clip, tmp_path, listener, kind, suffix):
    port, calls = listener
    for target in (clip("h264.mp4"), f"http://127.0.0.1:{port}/x.mp4"):
        path = tmp_path / f"playlist{suffix}"
        path.write_text(PLAYLISTS[kind].format(target=target, port=port))
        for name, read in every_reader(path, believable(path)).items():
            with pytest.raises(ClipError) as caught:
                read()
            assert caught.value.reason in ("unreadable", "truncated"), name
    assert calls == []


def test_a_numbered_name_is_no_picture_sequence(tmp_path, clip, ffmpeg):
    ffmpeg("-i", clip("h264.mp4"), "-frames:v", "3", tmp_path / "frame1%d.png")
    pattern = tmp_path / "frame%d.png"
    shutil.copy(tmp_path / "frame11.png", pattern)
    with pytest.raises(ClipError, match="cannot be opened") as caught:
        probe(pattern)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("name", NAMES)
def test_strange_names_are_taken_literally(clip, tmp_path, monkeypatch, name):
    reference = read_frames(clip("h264.mp4"), lambda times: evenly(times, 2)).images
    path = tmp_path / os.fsdecode(name)
    shutil.copy(clip("h264.mp4"), path)
    monkeypatch.chdir(tmp_path)
    for given in (path, path.relative_to(tmp_path)):
        for decoder in ("auto", "pyav", "ffmpeg"):
            frames = read_frames(given, lambda times: evenly(times, 2), decoder=decoder)
            assert np.array_equal(frames.images, reference)
        assert len(read_waveform(given)) == 32000
        if b"\xff" in name:
            with pytest.raises(ClipError, match="names that are not UTF-8"):
                read_frames(given, lambda times: evenly(times, 2), decoder="decord")
        else:
            assert read_frames(given, lambda times: evenly(times, 2), decoder="decord").decoder == "decord"


def test_messages_about_names_that_are_not_utf8_are_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.mp4")
    with pytest.raises(ClipError, match=r"no such file: .*\\udcff\.mp4") as caught:
        probe(path)
    caught.value.message.encode("utf-8")


def test_pictures_too_large_to_hold_are_refused_before_they_are_made(tmp_path, ffmpeg):
    """A motion JPEG whose headers claim 16,000 x 16,000 pixels."""
    path = tmp_path / "bomb.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=1", "-c:v", "mjpeg", path)
    data = bytearray(path.read_bytes())
    side = 16000
    at = data.find(b"\xff\xc0")
    while at >= 0:  # SOF0: length 2, precision 1, height 2, width 2
        data[at + 5 : at + 9] = side.to_bytes(2, "big") * 2
        at = data.find(b"\xff\xc0", at + 2)
    header = data.find(b"strf") + 8 + 4  # BITMAPINFOHEADER: size 4, width 4, height 4
    data[header : header + 8] = side.to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(ClipError, match="pictures of 16000x16000, at most 67108864 pixels") as caught:
        probe(path)
    assert caught.value.reason == "too-large"


def test_limits_on_sizes():
    with pytest.raises(ClipError, match="pictures of 20000x10"):
        container_module.check_size(20000, 10)
    container_module.check_size(8192, 8192)
    with pytest.raises(ClipError, match="100 frames of 4000x3000, at most 2147483648 bytes"):
        check_bytes(100, 4000, 3000)


def claim(path, seconds):
    """Has a Matroska file claim another duration: element 4489, its size, a float64 in milliseconds."""
    data = bytearray(path.read_bytes())
    at = data.find(bytes.fromhex("448988"))
    assert at > 0
    data[at + 3 : at + 11] = struct.pack(">d", seconds * 1000)
    path.write_bytes(data)


def test_a_duration_beyond_any_clip_is_refused(clip, tmp_path):
    path = tmp_path / "long.mkv"
    shutil.copy(clip("opengop.mkv"), path)
    claim(path, 100_000)
    with pytest.raises(ClipError, match="it claims 100000 s, at most 14400 s is read") as caught:
        probe(path)
    assert caught.value.reason == "too-large"
    claim(path, 60)
    for read in (read_waveform, lambda given: read_frames(given, lambda times: evenly(times, 2))):
        with pytest.raises(ClipError, match=r"ends at 2\.0\d s, the container claims 60\.00 s") as caught:
            read(path)
        assert caught.value.reason == "truncated"


def test_a_wild_timestamp_asks_for_no_hours_of_silence(tmp_path, ffmpeg):
    path = tmp_path / "gap.mkv"
    gap = "asetpts='PTS+if(gt(T,0.2),3000/TB,0)'"
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-af", gap, "-c:a", "pcm_s16le", path)
    claim(path, 1)
    with pytest.raises(ClipError, match=r"sound ends at 0\.\d\d s, the container claims 1\.00 s") as caught:
        read_waveform(path)
    assert caught.value.reason == "truncated"


def test_a_stream_cut_before_its_first_key_picture_keeps_its_clock(clip, tmp_path):
    data = clip("stream.ts").read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[int(len(data) * 0.35) // 188 * 188 :])
    frames = read_frames(cut, lambda times: evenly(times, 5))
    assert 0 < frames.times_seconds[0] <= 0.5
    late = tmp_path / "late.ts"
    late.write_bytes(data[len(data) // 2 // 188 * 188 :])
    with pytest.raises(ClipError, match=r"no picture decodes before 0\.\d\d s") as caught:
        read_frames(late, lambda times: evenly(times, 5))
    assert caught.value.reason == "truncated"
