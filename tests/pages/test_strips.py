"""Rows of a clip: classes of seconds, pictures, and columns that are seconds or frames."""

import base64
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from stgcma.errors import StgcmaError
from stgcma.pages.strips import Segment, classes_row, clip_strip, frames_row, masks_row, sound_row, true_masks

NAMES = ("Bell", "Dog", "Background")


def encoded(image, kind):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def members():
    """Three frames, the second with a mask, and two fbanks."""
    frames = {f"frame_{n:02d}.jpg": Image.new("RGB", (224, 224), (0, 0, 60 * n)) for n in range(3)}
    clip = {name: encoded(image, "JPEG") for name, image in frames.items()}
    clip["mask_01.png"] = encoded(Image.new("1", (224, 224), 1), "PNG")
    for bins in (128, 224):
        buffer = io.BytesIO()
        np.save(buffer, np.zeros((3, 10, bins), dtype=np.float16))
        clip[f"fbank_{bins}.npy"] = buffer.getvalue()
    clip["json"] = json.dumps({"seconds": 3.2}).encode()
    return clip


def picture(row):
    """Return the pixels of a row's picture."""
    kind, _, content = row.image.partition(";base64,")
    assert kind == "data:image/jpeg"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image).astype(int)


def test_equal_neighbours_are_one_segment():
    row = classes_row("label", [0, 0, 2, 1, 0], NAMES)
    assert row.segments == (
        Segment("Bell", 2, 0),
        Segment("Background", 1, None),
        Segment("Dog", 1, 180),
        Segment("Bell", 1, 0),
    )


def test_seconds_that_differ_from_the_truth_are_marked():
    row = classes_row("predicted", [0, 0, 1], NAMES, true=[0, 1, 1])
    assert [(one.name, one.seconds, one.wrong) for one in row.segments] == [
        ("Bell", 1, False),
        ("Bell", 1, True),
        ("Dog", 1, False),
    ]
    with pytest.raises(ValueError, match="zip"):
        classes_row("predicted", [0, 0], NAMES, true=[])


def test_frames_stand_side_by_side(members):
    row = frames_row("key", members)
    assert row.alt == "3 frames of key"
    pixels = picture(row)
    assert pixels.shape == (112, 336, 3)
    assert pixels[56, [56, 168, 280], 2] == pytest.approx([0, 60, 120], abs=4)


def test_only_frames_with_a_mask_are_tinted(members):
    masks = true_masks(members)
    assert [None if mask is None else mask.all() for mask in masks] == [None, True, None]
    pixels = picture(masks_row("masks", members, masks, "alt"))
    assert pixels[56, [56, 168, 280], 0] == pytest.approx([0, 140, 0], abs=6)  # 0.55 · 255


def test_the_fbank_with_the_most_bins_is_drawn_unless_one_is_named(members, monkeypatch):
    drawn = []

    def read(_members, name):
        drawn.append(name)
        return np.zeros((3, 10, 128), dtype=np.float16)

    monkeypatch.setattr("stgcma.pages.strips.read_energies", read)
    for name in (None, "fbank_128"):
        assert sound_row("key", members, name).alt == "Log-mel spectrogram of key"
    assert drawn == ["fbank_224", "fbank_128"]
    with pytest.raises(StgcmaError, match=r"fbank_\*\.npy is missing"):
        sound_row("key", {})


@pytest.mark.parametrize(
    ("seconds", "frame_times", "timed"),
    [(3.2, "even", True), (10.0, "even", False), (None, "even", False), (10.0, "masks", True)],
)
def test_columns_are_seconds_when_the_frames_are(members, seconds, frame_times, timed):
    members["json"] = json.dumps({} if seconds is None else {"seconds": seconds}).encode()
    info = SimpleNamespace(features={"sampling": {"frame_times": frame_times}})
    strip = clip_strip(members, info, [])
    assert (strip.columns, strip.timed) == (3, timed)
