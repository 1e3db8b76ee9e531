"""Built-in clips of half a second with known pictures and a known tone, to test decoders.

The left half of picture N is flat, with a brightness that depends on N; the right half has another hue and
moving stripes. A wrong picture, a wrong order, swapped planes or a wrong colour matrix changes a mean colour.
The files were written by `make_clips`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "samples"

PIXELS = 64  # each side
FRAMES = 12
FPS = 24
SECONDS = FRAMES / FPS
TONE_HZ = 1000.0
TONE_AMPLITUDE = 0.5

# The picture in Y'CbCr (ITU-R BT.601, limited range). The mean of the stripes is the middle of their wave.
LEFT_LUMA_FIRST, LEFT_LUMA_STEP = 60, 12
LEFT_CHROMA = (110, 150)
STRIPES_LUMA, STRIPES_AMPLITUDE = 120, 40
STRIPES_CHROMA = (150, 110)


@dataclass(frozen=True)
class Clip:
    """A built-in file and the encoding of its streams.

    Attributes:
        name: name of the file in `folder`.
        title: names of the codecs, for messages.
        video: arguments of ffmpeg for the video stream.
        audio: arguments of ffmpeg for the audio stream.
    """

    name: str
    title: str
    video: tuple[str, ...]
    audio: tuple[str, ...]
    folder: Path = FOLDER

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.folder / self.name


_X264 = ("-c:v", "libx264", "-preset", "veryslow", "-crf", "20")
_AAC = ("-c:a", "aac", "-b:a", "48k")
_OPUS = ("-c:a", "libopus", "-b:a", "48k")

CLIPS = (
    Clip("h264.mp4", "H.264, AAC", (*_X264, "-profile:v", "baseline"), _AAC),
    Clip("h264-b.mp4", "H.264 with B-frames, AAC", (*_X264, "-bf", "3", "-g", "6"), _AAC),
    Clip("hevc.mp4", "HEVC, AAC", ("-c:v", "libx265", "-tag:v", "hvc1", "-crf", "20"), _AAC),
    Clip("vp9.webm", "VP9, Opus", ("-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0"), _OPUS),
    Clip("av1.webm", "AV1, Opus", ("-c:v", "libsvtav1", "-preset", "4", "-crf", "20"), _OPUS),
    Clip("mpeg4.avi", "MPEG-4, MP3", ("-c:v", "mpeg4", "-q:v", "3"), ("-c:a", "libmp3lame", "-b:a", "48k")),
)


def mean_colours(index: int) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the mean RGB, 0 to 255, of the left and the right half of picture `index`."""
    left = _rgb(LEFT_LUMA_FIRST + LEFT_LUMA_STEP * index, *LEFT_CHROMA)
    return left, _rgb(STRIPES_LUMA, *STRIPES_CHROMA)


def _rgb(luma: float, cb: float, cr: float) -> tuple[float, float, float]:
    """Convert Y'CbCr to RGB (ITU-R BT.601, 8 bits, limited range)."""
    y, b, r = 255 / 219 * (luma - 16), 255 / 224 * (cb - 128), 255 / 224 * (cr - 128)
    return y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b
