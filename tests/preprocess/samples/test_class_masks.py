"""Masks of classes: coloured ones and index pictures become class indices at 224×224."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from stgcma.preprocess.collections.avss_colours import PALETTE, classes_of_colours
from stgcma.preprocess.collections.specification import ClipSpecification, FeatureSettings, Sampling
from stgcma.preprocess.media.reasons import ClipError
from stgcma.preprocess.samples.class_masks import class_mask_members
from stgcma.shards.members import read_class_map

FRAMES = (2, 30, 40, 3)


def indices(height=30, width=40, classes=71):
    return np.random.default_rng(0).integers(0, classes, (height, width), dtype=np.uint8)


def save(path, pixels, mode=None):
    image = Image.fromarray(pixels) if mode is None else Image.fromarray(pixels).convert(mode)
    image.save(path)
    return path


def read(content):
    image = Image.open(io.BytesIO(content))
    assert (image.mode, image.size) == ("L", (224, 224))
    return np.asarray(image)


def test_colours_and_indices_give_the_same_mask(tmp_path):
    classes = indices()
    coloured = save(tmp_path / "rgb.png", PALETTE[classes])
    indexed = save(tmp_path / "index.png", classes)
    palette = Image.fromarray(classes)
    palette.putpalette(PALETTE[::-1].tobytes())  # its colours do not count
    palette.save(tmp_path / "palette.png")
    found, warnings = class_mask_members([None, coloured], FRAMES, kind="colours", classes=71)
    assert list(found) == ["mask_01.png"]
    assert warnings == []
    # The release's way: the coloured picture is resized, then its colours are read.
    resized = Image.open(coloured).resize((224, 224), Image.Resampling.NEAREST)
    expected = classes_of_colours(np.asarray(resized))
    assert np.array_equal(read(found["mask_01.png"]), expected)
    for path in (indexed, tmp_path / "palette.png"):
        found, warnings = class_mask_members([path], FRAMES, kind="indices", classes=71)
        assert np.array_equal(read(found["mask_00.png"]), expected)
        assert warnings == []


def test_colours_of_no_class_are_background_and_counted(tmp_path):
    pixels = np.broadcast_to(PALETTE[5], (20, 20, 3)).copy()
    pixels[:10] = 1
    path = save(tmp_path / "m.png", pixels)
    found, warnings = class_mask_members([path], FRAMES, kind="colours", classes=71)
    assert set(np.unique(read(found["mask_00.png"]))) == {0, 5}
    assert warnings == [
        "up to 50.00 % of a mask's pixels have a colour of no class: they count as background"
    ]


@pytest.mark.parametrize(
    ("kind", "pixels", "said"),
    [
        ("indices", np.full((30, 40), 9, np.uint8), "mask m.png: it has the class 9, expected 0 to 5"),
        ("colours", np.broadcast_to(PALETTE[6], (30, 40, 3)).copy(), "it has the class 6, expected 0 to 5"),
        ("indices", np.zeros((30, 40, 3), np.uint8), "mask m.png: its mode is RGB"),
        ("indices", np.zeros((30, 80), np.uint8), "mask m.png is 80x30, neither square nor the shape"),
    ],
)
def test_wrong_masks_are_named(tmp_path, kind, pixels, said):
    path = save(tmp_path / "m.png", pixels)
    with pytest.raises(ClipError, match=re.escape(said)) as error:
        class_mask_members([path], FRAMES, kind=kind, classes=6)
    assert error.value.reason == "mask-mismatch"


def test_masks_of_a_clip_have_one_size(tmp_path):
    paths = [save(tmp_path / f"{side}.png", np.zeros((side, side), np.uint8)) for side in (20, 30)]
    with pytest.raises(ClipError, match="its masks have different sizes: 20x20, 30x30"):
        class_mask_members(paths, FRAMES, kind="indices", classes=2)


def test_missing_and_broken_masks_are_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    for name in ("broken.png", "none.png"):
        with pytest.raises(ClipError, match=f"mask {name}: "):
            class_mask_members([tmp_path / name], FRAMES, kind="indices", classes=2)


SAMPLING = Sampling(frames=10, frame_times="masks", resize="squash", windows=10, window_seconds=1.95)


def test_plan_of_a_clip_without_lengths_is_as_before():
    plain = ClipSpecification("key", "train", "a.mp4", masks=("m.png",))
    beginning = ["key", "train", "a.mp4", [], {}]
    assert json.loads(plain.plan_text) == [*beginning, ["m.png"], [], [], None, 0]
    short = ClipSpecification("key", "train", "a.mp4", frames=5, windows=5)
    assert json.loads(short.plan_text) == [*beginning, [], [], [], None, 0, {"frames": 5, "windows": 5}]
    assert short.lengths == {"frames": 5, "windows": 5}
    coded = ClipSpecification("key", "train", "a.mp4", masks=("m.png",), mask_kind="indices", mask_classes=3)
    assert json.loads(coded.plan_text)[-1] == {"mask_kind": "indices", "mask_classes": 3}


def test_settings_of_a_clip_have_its_lengths():
    settings = FeatureSettings(SAMPLING, ("clip",))
    clip = ClipSpecification("key", "train", "a", frames=5, windows=4)
    assert (settings.of_clip(clip).sampling.frames, settings.of_clip(clip).sampling.windows) == (5, 4)
    assert settings.of_clip(ClipSpecification("key", "train", "a")) == settings


@pytest.mark.parametrize("classes", [0, 257])
def test_masks_of_no_or_too_many_classes_are_refused(classes):
    with pytest.raises(ValueError, match=f"mask_classes of key is {classes}, must be 1 to 256"):
        ClipSpecification("key", "train", "a", mask_kind="indices", mask_classes=classes)


VALUES = np.zeros((56, 56), np.uint8)
VALUES[8:24, 8:24], VALUES[30:40, 30:50] = 1, 4


@pytest.mark.parametrize("mode", ["P", "L", "I;16"])
def test_own_masks_of_classes_have_255_for_pixels_that_are_not_annotated(mode, tmp_path):
    values = VALUES.copy()
    values[0] = 255
    picture = Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values)
    if mode == "P":
        picture.putpalette([number % 256 for number in range(768)])
    assert picture.mode == mode
    picture.save(tmp_path / "00000.png")
    members, warnings = class_mask_members(
        [None, tmp_path / "00000.png"], (5, 56, 56, 3), kind="indices-or-void", classes=5
    )
    assert list(members) == ["mask_01.png"]
    expected = np.kron(VALUES, np.ones((4, 4), np.uint8))
    assert np.array_equal(read_class_map(members["mask_01.png"], "mask_01.png", 5), expected)
    assert warnings == ["up to 1.79 % of a mask are marked as not annotated: background"]  # a row of 56


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (VALUES, "indices-or-void", "it has the class 4, expected 0 to 3"),
        (255 * (VALUES > 0), "indices-or-void", "its values are 0 and 255, as of a black and white mask"),
        (255 * (VALUES > 0), "indices", "it has the class 255, expected 0 to 3"),
    ],
)
def test_own_masks_have_no_other_classes(values, kind, message, tmp_path):
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "00000.png")
    with pytest.raises(ClipError, match=f"^mask-mismatch: mask 00000.png: {message}"):
        class_mask_members([tmp_path / "00000.png"], (5, 56, 56, 3), kind=kind, classes=4)
