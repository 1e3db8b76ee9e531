"""The built-in clips: half a second each, with pictures and a tone that a correct decode must give.

The left half of picture N is flat, and its brightness tells N; the right half is another hue with stripes
that move. So a wrong picture, a wrong order, swapped planes and a wrong colour matrix all change a mean
colour. `make_clips` made the files.
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

# The picture in Y'CbCr (ITU-R BT.601, limited range). The stripes' mean is that of the wave: its own middle.
LEFT_LUMA_FIRST, LEFT_LUMA_STEP = 60, 12
LEFT_CHROMA = (110, 150)
STRIPES_LUMA, STRIPES_AMPLITUDE = 120, 40
STRIPES_CHROMA = (150, 110)


@dataclass(frozen=True)
class Clip:
    """A built-in file, and how its streams are encoded.

    name: of the file in `folder`; what it holds is told by `title`.
    video, audio: arguments of ffmpeg.
    """

    name: str
    title: str
    video: tuple[str, ...]
    audio: tuple[str, ...]
    folder: Path = FOLDER

    @property
    def path(self) -> Path:
        """Where the file lies."""
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
    """The mean RGB, 0 to 255, of the left and the right half of picture `index`."""
    left = _rgb(LEFT_LUMA_FIRST + LEFT_LUMA_STEP * index, *LEFT_CHROMA)
    return left, _rgb(STRIPES_LUMA, *STRIPES_CHROMA)


def _rgb(luma: float, cb: float, cr: float) -> tuple[float, float, float]:
    """ITU-R BT.601, 8 bits, limited range."""
    y, b, r = 255 / 219 * (luma - 16), 255 / 224 * (cb - 128), 255 / 224 * (cr - 128)
    return y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b
