"""Frames are what players show: upright, with square pixels, of the right stream, in the right colours."""

from fractions import Fraction

import numpy as np
import pytest
from stgcma.preprocess.media.orientation import Orientation
from stgcma.preprocess.media.picture_facts import _pixel_aspect
from stgcma.preprocess.media.probe import ClipError, probe
from stgcma.preprocess.media.video import read_frames
from stgcma.preprocess.media.video.frames import evenly
from stgcma.preprocess.media.video.shown import deinterlaced

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1")
# Red, green, blue and white from the top left to the bottom right.
QUADRANTS = (
    "color=red:s=40x30:r=5:d=0.4[a];color=lime:s=40x30:r=5:d=0.4[b];color=blue:s=40x30:r=5:d=0.4[c];"
    "color=white:s=40x30:r=5:d=0.4[d];[a][b][c][d]xstack=inputs=4:layout=0_0|w0_0|0_h0|w0_h0"
)
# How a picture is stored to be shown, and the corners that players show: top left and right, bottom left and
# right. It is turned counter-clockwise by so many degrees, then mirrored.
ORIENTATIONS = {
    (0, False): "RGBW",
    (90, False): "GWRB",
    (180, False): "WBGR",
    (270, False): "BRWG",
    (0, True): "GRWB",
    (90, True): "WGBR",
    (180, True): "BWRG",
    (270, True): "RBGW",
}
COLOURS = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}


def frames(path, decoder="pyav", count=2):
    """The frames [M, H, W, 3] of a file, evenly."""
    return read_frames(path, lambda times: evenly(times, count), decoder=decoder).images


def corners(image):
    height, width = image.shape[:2]
    places = [(y, x) for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    return "".join(COLOURS.get(tuple(int(v > 127) for v in image[place]), "?") for place in places)


@pytest.fixture(scope="module")
def made(ffmpeg, tmp_path_factory):
    """`made("name.mp4", …)` is a file made with these arguments of ffmpeg."""
    folder = tmp_path_factory.mktemp("shown")

    def make(name, *arguments):
        if not (folder / name).exists():
            ffmpeg(*arguments, folder / name)
        return folder / name

    return make


@pytest.fixture(scope="module")
def quadrants(made):
    return made("quadrants.mp4", "-f", "lavfi", "-i", QUADRANTS, *X264)


def oriented(made, quadrants, suffix, degrees, mirrored):
    options = ("-display_rotation", degrees, *(["-display_hflip"] if mirrored else []))
    return made(f"{degrees}-{mirrored}.{suffix}", *options, "-i", quadrants, "-c", "copy")


@pytest.mark.parametrize(
    ("how", "expected", "suffix"),
    [
        # MOV and MKV store the same matrix as MP4: one orientation tells whether it is read.
        pytest.param(*one, suffix, marks=[pytest.mark.slow] * (suffix != "mp4" and one[0] != (90, True)))
        for one in ORIENTATIONS.items()
        for suffix in ("mp4", "mov", "mkv")
    ],
)
def test_all_eight_orientations_are_shown_upright(made, quadrants, suffix, how, expected):
    path = oriented(made, quadrants, suffix, *how)
    turned = how[0] in (90, 270)
    for decoder in ("pyav", "ffmpeg"):
        images = frames(path, decoder)
        assert [corners(image) for image in images] == [expected] * 2, decoder
        assert images.shape[1:3] == ((80, 60) if turned else (60, 80))
    assert probe(path).video.square_size == ((60, 80) if turned else (80, 60))
    if how != (0, False):
        with pytest.raises(ClipError, match=r"decord is wrong for turned or mirrored pictures"):
            frames(path, "decord")


@pytest.mark.parametrize(
    ("turn", "expected"), [("rotate=90:flip=horizontal", "RBGW"), ("flip=vertical", "BWRG")]
)
def test_an_orientation_in_the_codecs_own_messages_counts(made, quadrants, turn, expected):
    arguments = f"h264_metadata=display_orientation=insert:{turn}"
    path = made(f"{expected}.ts", "-i", quadrants, "-c", "copy", "-bsf:v", arguments)
    for decoder in ("pyav", "ffmpeg"):
        assert corners(frames(path, decoder)[0]) == expected


def matrix(a, b, c, d):
    return np.array([a, b, 0, c, d, 0, 0, 0, 1 << 14], dtype=np.int32).tobytes()


def test_matrices_between_the_right_angles_are_rounded():
    assert Orientation.from_display_matrix(None).upright
    assert Orientation.from_display_matrix(matrix(0, 0, 0, 0)).upright  # as some writers leave it
    assert Orientation.from_display_matrix(matrix(60000, 5000, -5000, 60000)).upright
    assert Orientation.from_display_matrix(matrix(3, -60000, 60000, 3)) == Orientation(True, False, True)
    assert str(Orientation(True, False, True)) == "transpose, vflip"


DISC = "nullsrc=s=96x72:r=5:d=0.4,geq=lum='if(lt(hypot(X-48,Y-36),24),235,16)':cb=128:cr=128"


def roundness(image):
    """Width over height of what is bright."""
    bright = image[:, :, 0] > 127
    return bright.any(axis=0).sum() / bright.any(axis=1).sum()


@pytest.mark.parametrize(
    ("name", "stored", "size"),
    [
        ("codec.mp4", ("-vf", "scale=54:72,setsar=16/9", *X264), (96, 72)),
        ("tall.mp4", ("-vf", "scale=96:36,setsar=1/2", *X264), (96, 72)),
        ("mpeg4.avi", ("-vf", "scale=54:72,setsar=16/9", "-c:v", "mpeg4", "-q:v", "2"), (96, 72)),
    ],
)
def test_a_disc_is_round_whatever_the_pixels_are(made, name, stored, size):
    path = made(name, "-f", "lavfi", "-i", DISC, *stored)
    for decoder in ("pyav", "ffmpeg", *(["decord"] if name.endswith("mp4") else [])):
        images = frames(path, decoder)
        assert images.shape == (2, size[1], size[0], 3)
        assert roundness(images[0]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_the_containers_aspect_counts_where_the_codec_says_square(made, suffix):
    plain = made("plain.mp4", "-f", "lavfi", "-i", DISC, "-vf", "scale=54:72,setsar=1", *X264)
    assert frames(plain).shape[1:3] == (72, 54)
    path = made(f"container.{suffix}", "-i", plain, "-c", "copy", "-aspect", "4:3")
    for decoder in ("pyav", "ffmpeg"):
        assert roundness(frames(path, decoder)[0]) == pytest.approx(1, abs=0.05)


def test_the_aspect_turns_with_the_picture(made):
    flat = made("flat.mp4", "-f", "lavfi", "-i", DISC, "-vf", "scale=54:72,setsar=16/9", *X264)
    path = made("turned-disc.mp4", "-display_rotation", "90", "-i", flat, "-c", "copy")
    images = frames(path)
    assert images.shape[1:3] == (96, 72)
    assert roundness(images[0]) == pytest.approx(1, abs=0.05)


def test_an_aspect_that_no_display_has_is_passed_over():
    assert _pixel_aspect(None, None) == (1, [])
    assert _pixel_aspect(Fraction(1), Fraction(16, 9)) == (Fraction(16, 9), [])
    assert _pixel_aspect(Fraction(136, 135), Fraction(0)) == (1, [])  # 1088 coded lines for 1080
    aspect, (warning,) = _pixel_aspect(Fraction(1, 4000), None)
    assert (aspect, warning.startswith("a pixel aspect of 1:4000 is not plausible")) == (1, True)


def two_streams(made, name, *, sizes, flags=("0", "0")):
    """A file with a red and then a blue video stream."""
    colours = [f"color={c}:s={size}:r=5:d=0.4" for c, size in zip(("red", "blue"), sizes, strict=True)]
    inputs = [word for colour in colours for word in ("-f", "lavfi", "-i", colour)]
    marks = [word for n, flag in enumerate(flags) for word in (f"-disposition:v:{n}", flag)]
    return made(name, *inputs, "-map", "0", "-map", "1", *marks, *X264)


@pytest.mark.parametrize(
    ("name", "sizes", "flags", "chosen"),
    [
        ("preview.mkv", ("64x48", "320x240"), ("0", "0"), "blue"),
        ("flagged-preview.mp4", ("64x48", "320x240"), ("default", "0"), "blue"),
        ("second.mkv", ("80x60", "80x60"), ("0", "default"), "blue"),
        ("first.mkv", ("80x60", "80x60"), ("0", "0"), "red"),
        ("flagged.mkv", ("80x60", "96x72"), ("default", "0"), "red"),
    ],
)
def test_of_several_video_streams_the_default_or_the_largest_is_used(made, name, sizes, flags, chosen):
    path = two_streams(made, name, sizes=sizes, flags=flags)
    info = probe(path)
    number = ("red", "blue").index(chosen)
    assert info.video.index == number
    assert info.video.warnings == (f"2 video streams: stream {number} of {sizes[number]} is used",)
    for decoder in ("pyav", "ffmpeg"):
        image = frames(path, decoder)[0]
        assert f"{image.shape[1]}x{image.shape[0]}" == sizes[number]
        assert (image[0, 0, 2] > 127) == (chosen == "blue")
    with pytest.raises(ClipError, match=r"decord is wrong for several video streams"):
        frames(path, "decord")


# White in odd lines and black in even ones, as where something bright has moved on between two fields.
COMB = "nullsrc=s=64x64:r=25:d=0.4,geq=lum='if(mod(Y,2),16,235)':cb=128:cr=128"


def test_interlaced_pictures_have_no_combs(made):
    path = made("comb.mp4", "-f", "lavfi", "-i", COMB, *X264, "-qp", "0", "-x264-params", "interlaced=1")
    assert probe(path).video.warnings == (
        "interlaced pictures: the top field is taken, the other one's lines are interpolated",
    )
    for decoder in ("pyav", "ffmpeg"):
        assert frames(path, decoder).min() >= 250


@pytest.mark.parametrize("height", [1, 2, 5, 6])
def test_deinterlacing_keeps_the_top_field(height):
    images = np.arange(height, dtype=np.uint8)[None, :, None, None] * np.full((1, 1, 4, 3), 10, np.uint8)
    lines = deinterlaced(images)[0, :, 0, 0]
    assert lines[0::2].tolist() == images[0, 0::2, 0, 0].tolist()
    expected = {1: [], 2: [0], 5: [10, 30], 6: [10, 30, 40]}
    assert lines[1::2].tolist() == expected[height]


# Saturated green has another luma in BT.601 than in BT.709.
GREEN = "color=0x20A040:s={size}:r=5:d=0.4,scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p"
UNTAGGED = ("-bsf:v", "h264_metadata=colour_primaries=2:transfer_characteristics=2:matrix_coefficients=2")
ASSUMED = "HD pictures that do not name their colour matrix: BT.709 is assumed"


@pytest.mark.parametrize(
    ("size", "matrix", "warnings"),
    [
        ("1280x64", "bt709", (ASSUMED,)),
        ("64x720", "bt709", (ASSUMED,)),
        ("720x576", "bt601", ()),
    ],
)
def test_untagged_pictures_have_the_matrix_of_their_size(made, size, matrix, warnings):
    source = GREEN.format(size=size, matrix=matrix)
    path = made(f"{size}.mp4", "-f", "lavfi", "-i", source, *X264, *UNTAGGED)
    assert probe(path).video.warnings == warnings
    for decoder in ("pyav", "ffmpeg"):
        apart = np.abs(frames(path, decoder).astype(int) - (0x20, 0xA0, 0x40)).max()
        assert apart <= 4, decoder
    if warnings:
        with pytest.raises(ClipError, match=r"decord is wrong for pictures that do not name"):
            frames(path, "decord")


HEVC = ("-c:v", "libx265", "-x265-params", "log-level=error:pools=none", "-tag:v", "hvc1")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("matrix", ["bt709", "smpte240m", "bt2020nc"])
def test_a_matrix_that_only_the_container_names_counts(made, suffix, matrix):
    """FFmpeg's decoder of HEVC forgets what the container says, and would take BT.601 for it."""
    source = GREEN.format(size="64x48", matrix=matrix.removesuffix("nc"))
    untagged = [word.replace("h264", "hevc") for word in UNTAGGED]
    plain = made(f"{matrix}-plain.mp4", "-f", "lavfi", "-i", source, *HEVC, *untagged)
    tags = ("-colorspace", matrix, "-color_primaries", "bt709", "-color_trc", "smpte2084")
    path = made(f"{matrix}.{suffix}", "-i", plain, "-c", "copy", *tags)
    for decoder in ("pyav", "ffmpeg"):
        assert np.abs(frames(path, decoder).astype(int) - (0x20, 0xA0, 0x40)).max() <= 4, decoder
    (warning,) = probe(path).video.warnings
    assert warning.startswith("HDR pictures (PQ)")


@pytest.mark.parametrize(("curve", "name"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG")])
def test_hdr_pictures_are_told(made, curve, name):
    colours = ("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", curve)
    tags = f"setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc={curve}"
    grey = f"color=gray:s=64x48:r=5:d=0.4,format=yuv420p10le,{tags}"
    path = made(f"{name}.mp4", "-f", "lavfi", "-i", grey, *X264, "-pix_fmt", "yuv420p10le", *colours)
    (warning,) = probe(path).video.warnings
    assert warning.startswith(f"HDR pictures ({name}): they are not tone-mapped")
