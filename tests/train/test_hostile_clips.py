"""Clips that a training reads from a stranger's shards: an error of one line that names the clip."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from stgcma.errors import StgcmaError
from stgcma.shards.jpeg_headers import check_jpeg
from stgcma.shards.members import (
    open_picture,
    read_array,
    read_energies,
    read_events,
    read_mask,
    read_tags,
)
from stgcma.train.inputs import decode_frames


def picture(kind, side=16, mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, kind)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_frames_are_decoded():
    frames = decode_frames({f"frame_{number:02d}.jpg": picture("JPEG") for number in range(3)})
    assert (frames.shape, frames.dtype) == ((3, 3, 16, 16), torch.uint8)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "it has 0 frames, expected 1 to 128"),
        ({f"frame_{number:03d}.jpg": b"" for number in range(129)}, "it has 129 frames"),
        ({"frame_00.jpg": picture("PNG")}, r"frame_00\.jpg is not a JPEG picture"),
        ({"frame_00.jpg": picture("JPEG", 513)}, r"frame_00\.jpg is 513×513, larger than 512 pixels a side"),
        ({"frame_00.jpg": picture("JPEG", mode="CMYK")}, "is JPEG CMYK, expected JPEG RGB"),
        ({"frame_00.gif": picture("GIF")}, "is no picture; pictures are"),
        (
            {"frame_00.jpg": picture("JPEG"), "frame_01.jpg": picture("JPEG", 24)},
            "there are 2 frames of different sizes",
        ),
    ],
)
def test_frames_of_no_clip_are_refused(members, message):
    with pytest.raises(StgcmaError, match=message):
        decode_frames(members)


@pytest.mark.parametrize(
    ("mode", "side", "message"),
    [
        ("L", 225, "is 225×225, expected 224×224"),
        ("I;16", 224, "is PNG I;16, expected PNG L or 1"),
        ("P", 224, "is PNG P, expected"),
        ("RGBA", 224, "is PNG RGBA, expected"),
    ],
)
def test_masks_of_other_kinds_are_refused(mode, side, message):
    with pytest.raises(StgcmaError, match=message):
        read_mask(picture("PNG", side, mode), "mask_00.png")
    assert not read_mask(picture("PNG", 224, "L"), "mask_00.png").any()


def test_a_picture_of_another_format_is_not_tried():
    for kind in ("GIF", "TIFF", "BMP", "PPM", "EPS"):
        with pytest.raises(StgcmaError, match="is not a PNG picture"):
            open_picture(picture(kind), "mask_00.png")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float16).reshape(2, 3, 4),
        np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)),
        np.array([True, False]),
        np.array(3, dtype=np.uint8),
        np.zeros((0, 4), np.float32),
        np.arange(3, dtype=">i4"),
    ],
)
def test_arrays_are_read_as_numpy_wrote_them(array):
    found = read_array(npy(array), "a.npy")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3), np.float16), r"is float16 \[2, 3\], expected float16"),
        (np.zeros((2, 3, 4), np.float32), r"is float32 \[2, 3, 4\]"),
        (np.zeros((2, 3, 5), np.float16), "frames, 4"),
        (np.zeros((129, 1, 4), np.float16), "1 to 128 windows"),
        (np.zeros((2, 0, 4), np.float16), r"is float16 \[2, 0, 4\]"),
        (np.array(["text"]), "is not an array of numbers"),
        (np.array([None]), "is not an array of numbers"),
    ],
)
def test_an_fbank_of_another_shape_is_refused(array, message):
    with pytest.raises(StgcmaError, match=message):
        read_energies({"fbank_4.npy": npy(array)}, "fbank_4")


def test_an_fbank_that_is_missing_is_named():
    with pytest.raises(StgcmaError, match=r"fbank_4\.npy is missing"):
        read_energies({}, "fbank_4")


def test_tags_and_events_are_read():
    events = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) % 2
    assert np.array_equal(read_events(npy(events), seconds=4, classes=3), events)
    assert read_tags(npy(events[0, 0]), classes=3).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4, 3), np.int8), r"events\.npy is int8 \[2, 4, 3\], expected uint8 \[2, 4, 3\]"),
        (np.zeros((2, 3, 4), np.uint8), r"is uint8 \[2, 3, 4\]"),
        (np.zeros((1, 4, 3), np.uint8), r"is uint8 \[1, 4, 3\]"),
        (np.zeros((2, 0, 3), np.uint8), r"is uint8 \[2, 0, 3\]"),
        (np.full((2, 4, 3), 255, np.uint8), "events.npy has the value 255, expected 0 and 1 only"),
        (np.array([None]), "events.npy is not an array of numbers"),
    ],
)
def test_events_of_another_shape_or_value_are_refused(array, message):
    with pytest.raises(StgcmaError, match=message):
        read_events(npy(array), seconds=4, classes=3)


def test_tags_of_another_number_of_classes_are_refused():
    with pytest.raises(StgcmaError, match=r"tags\.npy is uint8 \[2\], expected uint8 \[3\]"):
        read_tags(npy(np.zeros(2, np.uint8)), classes=3)


def test_a_picture_is_not_known_by_the_beginning_of_another():
    """The comment looks like the beginning of the pixels; the size comes after it."""

    def jpeg(side):
        buffer = io.BytesIO()
        Image.new("RGB", (side, side)).save(buffer, "JPEG", comment=b"\xff\xda" + bytes(20))
        return buffer.getvalue()

    small, large = jpeg(8), jpeg(600)
    assert small[: small.find(b"\xff\xda") + 14] == large[: large.find(b"\xff\xda") + 14]
    check_jpeg(small, "frame_00.jpg")
    with pytest.raises(StgcmaError, match=r"frame_00\.jpg is 600×600, larger than 512"):
        check_jpeg(large, "frame_00.jpg")
