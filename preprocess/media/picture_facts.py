"""The properties of a video stream that decide how its stored pictures are shown."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .container import check_size
from .orientation import Orientation

# No display has wider or narrower pixels: the number is damaged, or has another meaning.
_MOST_ASPECT = 8
# Containers round sizes, and coded pictures are a little larger than shown ones (1088 lines for 1080).
_SQUARE_WITHIN = Fraction(1, 100)
# As players decide: more than the 576 lines or 1279 columns of standard definition (ITU-R BT.601).
_SD_LINES, _HD_COLUMNS = 576, 1280
# ISO/IEC 23091-2: matrix coefficients, transfer characteristics.
_UNSPECIFIED = 2
_HDR = {16: "PQ", 18: "HLG"}
_BT709 = "bt709"
# Matrix coefficients to FFmpeg's name, and to the number that its scaler has for them (libswscale/swscale.h).
_MATRICES = {1: _BT709, 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
SCALER_MATRICES = {_BT709: 1, "smpte240m": 7, "bt2020": 9}


@dataclass(frozen=True)
class DeclaredColours:
    """Matrix and transfer characteristics that a container declares, numbered as in ISO/IEC 23091-2."""

    matrix: int
    curve: int

    @classmethod
    def of(cls, context: Any) -> DeclaredColours:
        """Read them from a codec context of PyAV, before it decodes: some decoders forget them."""
        return cls(int(context.colorspace), int(context.color_trc))


@dataclass(frozen=True)
class VideoFacts:
    """The chosen video stream. Sizes are those of the stored pictures.

    Attributes:
        index: of the stream in the file.
        codec: FFmpeg's name of it.
        width, height: of the stored pictures, in pixels.
        fps_average: pictures a second; None when the container does not state it.
        orientation: the steps that set a stored picture upright.
        pixel_aspect: width of a stored pixel over its height.
        start_seconds: of the first shown picture, on the container's clock.
        pixel_format: FFmpeg's name of it.
        interlaced: whether pictures consist of two fields.
        matrix: FFmpeg's name of the colour matrix of pictures that do not name it. None for FFmpeg's default,
            BT.601, and for pictures that name it.
        several_streams: whether it was chosen among several.
        start_pts: `start_seconds` in the stream's presentation times, which an edit list may have moved; None
            where times are guessed.
        warnings: one line each, for the user.
    """

    index: int
    codec: str
    width: int
    height: int
    fps_average: float | None
    orientation: Orientation
    pixel_aspect: Fraction
    start_seconds: float
    pixel_format: str
    interlaced: bool
    matrix: str | None = None
    several_streams: bool = False
    start_pts: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the upright pictures, with the pixels that are stored."""
        return (self.height, self.width) if self.orientation.transpose else (self.width, self.height)

    @property
    def square_size(self) -> tuple[int, int]:
        """Width and height of the upright pictures with square pixels: one side is stretched, none shrunk."""
        return square_size(self.width, self.height, self.pixel_aspect, self.orientation)


def square_size(width: int, height: int, pixel_aspect: Fraction, orientation: Orientation) -> tuple[int, int]:
    """Return the size of a stored picture of `width`×`height` when it is upright, with square pixels."""
    if pixel_aspect > 1:
        width = round(width * pixel_aspect)
    else:
        height = round(height / pixel_aspect)
    return (height, width) if orientation.transpose else (width, height)


def picture_facts(
    stream: Any,
    picture: Any,
    declared: DeclaredColours,
    *,
    start_seconds: float,
    choice: tuple[str, ...],
) -> VideoFacts:
    """Collect the facts of a PyAV video stream from the stream and its first decoded picture.

    declared: used where the pictures declare nothing.
    choice: warnings about the choice of the stream.

    Raises `ClipError('too-large')` for pictures that no clip has.
    """
    context, rate = stream.codec_context, stream.average_rate
    matrix = picture.side_data.get("DISPLAYMATRIX")
    orientation = Orientation.from_display_matrix(None if matrix is None else bytes(matrix))
    aspect, warnings = _pixel_aspect(stream.sample_aspect_ratio, context.sample_aspect_ratio)
    warnings = [*choice, *warnings]
    interlaced = bool(picture.interlaced_frame) or context.field_order > 1  # 0 unknown, 1 progressive
    if interlaced:
        warnings.append("interlaced pictures: the top field is taken, the other one's lines are interpolated")
    curve_number = int(picture.color_trc)
    if (curve := _HDR.get(declared.curve if curve_number == _UNSPECIFIED else curve_number)) is not None:
        warnings.append(
            f"HDR pictures ({curve}): they are not tone-mapped, so that they are duller than on a display"
        )
    matrix_name, guessed = _matrix(picture, declared)
    if guessed:
        warnings.append("HD pictures that do not name their colour matrix: BT.709 is assumed")
    check_size(*square_size(picture.width, picture.height, aspect, orientation))
    return VideoFacts(
        index=stream.index,
        codec=context.codec.canonical_name,
        width=picture.width,
        height=picture.height,
        fps_average=float(rate) if rate else None,
        orientation=orientation,
        pixel_aspect=aspect,
        start_seconds=start_seconds,
        pixel_format=picture.format.name,
        interlaced=interlaced,
        matrix=matrix_name,
        several_streams=bool(choice),
        warnings=tuple(warnings),
    )


def _pixel_aspect(container: Fraction | None, codec: Fraction | None) -> tuple[Fraction, list[str]]:
    """Return the pixel aspect of the container, else of the codec; and warnings.

    Encoders and muxers write 1 by default, so any other number has precedence.
    """
    told = [Fraction(aspect) for aspect in (container, codec) if aspect]
    aspect = next((each for each in told if abs(each - 1) > _SQUARE_WITHIN), Fraction(1))
    if not Fraction(1, _MOST_ASPECT) <= aspect <= _MOST_ASPECT:
        said = f"{aspect.numerator}:{aspect.denominator}"
        return Fraction(1), [f"a pixel aspect of {said} is not plausible: its pixels are taken as square"]
    return aspect, []


def _matrix(picture: Any, declared: DeclaredColours) -> tuple[str | None, bool]:
    """Return the matrix of a picture that does not name it, and whether it is guessed from the size."""
    has_chroma = not picture.format.is_rgb and len(picture.format.components) > 1
    if not has_chroma or int(picture.colorspace) != _UNSPECIFIED:
        return None, False
    if declared.matrix != _UNSPECIFIED:
        return _MATRICES.get(declared.matrix), False
    is_hd = picture.width >= _HD_COLUMNS or picture.height > _SD_LINES
    return (_BT709 if is_hd else None), is_hd
