"""Small encoded clips of every tricky kind, made with ffmpeg when a test first asks for one."""

from functools import cache

import pytest

SECONDS = 2


def picture(*, rate="25", size="160x120", seconds=SECONDS):
    return ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}"]


def ramp(*, rate="25", seconds=SECONDS):
    """Frame N is a flat grey of 16 + 4 N: what is seen tells which frame it is."""
    return ["-f", "lavfi", "-i", f"nullsrc=s=64x48:r={rate}:d={seconds},geq=lum='16+4*N':cb=128:cr=128"]


def tone(*, rate_hz=44100, seconds=SECONDS, layout="mono"):
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    waves = "|".join(["0.5*sin(880*PI*t)"] * channels)
    return ["-f", "lavfi", "-i", f"aevalsrc={waves}:c={layout}:s={rate_hz}:d={seconds}"]


H264 = ["-c:v", "libx264", "-bf", "3", "-g", "20", "-pix_fmt", "yuv420p", "-threads", "1"]
OPEN_GOP = [*H264, "-x264-params", "open-gop=1:keyint=12:bframes=3:b-pyramid=2:scenecut=0"]
HEVC = ["-c:v", "libx265", "-tag:v", "hvc1", "-pix_fmt", "yuv420p", "-x265-params"]
HEVC_OPTIONS = "pools=none:frame-threads=1:log-level=error:bframes=3:keyint=16"
# Several threads would wait for each other in loops: ten times the CPU time.
LIBVPX = ["-b:v", "200k", "-lag-in-frames", "10", "-auto-alt-ref", "1", "-cpu-used", "5", "-threads", "1"]
VP8 = ["-c:v", "libvpx", *LIBVPX]
VP9 = ["-c:v", "libvpx-vp9", "-g", "20", *LIBVPX]
AV1 = ["-c:v", "libsvtav1", "-preset", "9", "-g", "20", "-svtav1-params", "lp=1"]
MPEG4 = ["-c:v", "mpeg4", "-bf", "2", "-g", "12", "-q:v", "4"]
AAC = ["-c:a", "aac"]
BT709 = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
EXACT = ["-qp", "0"]
COVER = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic"]
DROP_SOME = "select='not(between(n,10,25))*not(eq(mod(n,7),3))'"

# name.suffix -> arguments; "{other.mp4}" stands for the path of another clip, made before.
CLIPS = {
    "h264.mp4": [*picture(), *tone(), *H264, *AAC],
    "opengop.mp4": [*picture(), *tone(), *OPEN_GOP, *AAC],
    "opengop.mkv": [*picture(), *tone(), *OPEN_GOP, *AAC],
    "hevc-23976.mp4": [*picture(rate="24000/1001"), *tone(rate_hz=48000), *HEVC, HEVC_OPTIONS, *AAC],
    "hevc-layers.mp4": [*picture(), *tone(), *HEVC, HEVC_OPTIONS + ":temporal-layers=2:b-pyramid=1", *AAC],
    "vp9-2997.webm": [*picture(rate="30000/1001"), *tone(rate_hz=48000), *VP9, "-c:a", "libopus"],
    "vp8.webm": [*picture(), *tone(), *VP8, "-c:a", "libvorbis"],
    "av1.mp4": [*picture(), *tone(rate_hz=48000), *AV1, *AAC],
    "av1.webm": [*picture(), *tone(rate_hz=48000), *AV1, "-c:a", "libopus"],
    "mpeg4.mp4": [*picture(), *tone(), *MPEG4, *AAC],
    "mpeg4.avi": [*picture(), *tone(), *MPEG4, "-c:a", "libmp3lame"],
    "fps60.mp4": [*picture(rate="60"), *tone(), *H264, *AAC],
    "vfr.mp4": [*picture(rate="30"), *tone(), "-vf", DROP_SOME, "-fps_mode", "vfr", *H264, *AAC],
    "rotated-90.mp4": ["-display_rotation", "90", "-i", "{h264.mp4}", "-c", "copy"],
    "rotated-180.mp4": ["-display_rotation", "180", "-i", "{h264.mp4}", "-c", "copy"],
    "rotated-270.mp4": ["-display_rotation", "270", "-i", "{h264.mp4}", "-c", "copy"],
    "edit-list.mp4": ["-ss", "0.5", "-i", "{h264.mp4}", "-c", "copy"],
    "odd-size.mp4": [*picture(size="161x121"), *tone(), *H264, "-pix_fmt", "yuv444p", *AAC],
    "odd-size.webm": [*picture(size="161x121"), *tone(), *VP9, "-pix_fmt", "yuv420p", "-c:a", "libopus"],
    "h264-10bit.mp4": [*picture(), *tone(), *H264, "-pix_fmt", "yuv420p10le", *AAC],
    "hevc-10bit.mp4": [*picture(), *tone(), *HEVC, HEVC_OPTIONS, "-pix_fmt", "yuv420p10le", *AAC],
    "interlaced.mp4": [*picture(), *tone(), *H264, "-x264-params", "interlaced=1", *AAC],
    "refresh.mp4": [*picture(), *tone(), *H264, "-x264-params", "intra-refresh=1:keyint=20", *AAC],
    "bt709.mp4": [*picture(), *tone(), *H264, "-vf", "scale=out_color_matrix=bt709", *BT709, *AAC],
    "full-range.mp4": [*picture(), *tone(), *H264, "-pix_fmt", "yuvj420p", *AAC],
    "stream.ts": [*picture(), *tone(), *H264, *AAC],
    "fragments.mp4": [*picture(), *tone(), *H264, *AAC, "-movflags", "frag_keyframe+empty_moov"],
    "audio-late.mp4": [*picture(), "-itsoffset", "0.3", *tone(seconds=1.7), *H264, *AAC],
    "video-late.mp4": ["-itsoffset", "0.3", *picture(), *tone(seconds=2.3), *H264, *AAC],
    "surround.mp4": [*picture(), *tone(rate_hz=48000, layout="5.1"), *H264, *AAC],
    "stereo.mp4": [*picture(), *tone(rate_hz=48000, layout="stereo"), *H264, *AAC],
    "silent.mp4": [*picture(), *H264],
    "sound.m4a": [*tone(), *AAC],
    "stereo.wav": [*tone(layout="stereo"), "-c:a", "pcm_s16le"],
    "gap.mkv": [*tone(), "-af", "asetpts='PTS+if(gt(T,0.99),0.5/TB,0)'", "-c:a", "pcm_s16le"],
    "faststart.mp4": [*picture(), *tone(), *H264, *AAC, "-movflags", "+faststart"],
    "sound-short.mp4": [*picture(), *tone(seconds=1), *H264, *AAC],
    "picture-short.mp4": [*picture(seconds=1), *tone(), *H264, *AAC],
    "ramp.mp4": [*ramp(), *tone(), *H264, *EXACT, *AAC],
    "ramp-vfr.mp4": [*ramp(), *tone(), "-vf", DROP_SOME, "-fps_mode", "vfr", *H264, *EXACT, *AAC],
    "ramp-cut.mp4": ["-ss", "0.5", "-i", "{ramp.mp4}", "-c", "copy"],
    "ramp-packed.avi": [*ramp(), *tone(), "-c:v", "libxvid", "-bf", "2", "-q:v", "1", "-c:a", "libmp3lame"],
    "cover.mp4": ["-i", "{sound.m4a}", "-i", "{cover.png}", *COVER],
    "cover.png": [*picture(seconds=0.04), "-frames:v", "1"],
}  # fmt: skip


@pytest.fixture(scope="session")
def clip(made_once, ffmpeg):
    """`clip("h264.mp4")` is the path of that clip. Tests do not change it."""

    @cache
    def path_of(name):
        def make(folder):
            arguments = [
                path_of(word[1:-1]) if isinstance(word, str) and word.startswith("{") else word
                for word in CLIPS[name]
            ]
            ffmpeg(*arguments, folder / name)

        return made_once(f"clip-{name}", make) / name

    return path_of


@pytest.fixture
def film(tmp_path, ffmpeg):
    """`film("a.mkv", *arguments)` encodes a clip."""

    def make(name, *arguments):
        ffmpeg(*arguments, tmp_path / name)
        return tmp_path / name

    return make
