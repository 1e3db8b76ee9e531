"""Masks as people draw them, and the frames and the sound that belong to them."""

import dataclasses
from unittest.mock import ANY

import numpy as np
import pytest
from PIL import Image
from stgcma.preprocess.collections import avs_s4
from stgcma.preprocess.collections.avss_colours import palette_picture
from stgcma.preprocess.collections.specification import ClipSpecification, FeatureSettings
from stgcma.preprocess.media.audio import read_waveform
from stgcma.preprocess.media.reasons import ClipError
from stgcma.preprocess.samples.annotated_frames import annotated_frames, sound_span
from stgcma.preprocess.samples.object_masks import object_mask_members
from stgcma.preprocess.samples.sample import SampleMaker, fbank_members
from stgcma.shards.members import read_annotated, read_mask

SQUARE = np.zeros((56, 56), np.uint8)
SQUARE[8:24, 8:24] = 1
OTHER = np.zeros((56, 56), np.uint8)
OTHER[30:40, 30:50] = 1


def colours(values):
    return Image.fromarray(np.stack([200 * values, 30 * values, 0 * values], -1).astype(np.uint8))


WAYS = {
    "palette of instances": palette_picture(SQUARE + 2 * OTHER),
    "palette, not annotated": palette_picture(SQUARE + 2 * OTHER),
    "instances as grey": Image.fromarray(SQUARE + 2 * OTHER),
    "black and white": Image.fromarray(255 * (SQUARE | OTHER)),
    "white as 1": Image.fromarray(SQUARE | OTHER),
    "one bit": Image.fromarray(255 * (SQUARE | OTHER)).convert("1"),
    "16 bits": Image.fromarray((SQUARE + 700 * OTHER.astype(np.uint16)).astype(np.uint16)),
    "colours": colours(SQUARE | OTHER),
    "white as colours": Image.fromarray(255 * (SQUARE | OTHER)).convert("RGB"),
}


@pytest.mark.parametrize("way", WAYS)
def test_anything_but_the_background_is_an_object(way, tmp_path):
    picture = WAYS[way]
    if "not annotated" in way:
        pixels = np.array(picture)
        pixels[0, :] = 255
        picture = Image.fromarray(pixels)
        picture.putpalette([value for number in range(256) for value in (number, 255 - number, 7)])
    picture.save(tmp_path / "00000.png")
    members, warnings = object_mask_members([None, tmp_path / "00000.png"], (5, 56, 56, 3))
    assert list(members) == ["mask_01.png"]
    expected = np.kron((SQUARE | OTHER).astype(bool), np.ones((4, 4), bool))
    assert np.array_equal(read_mask(members["mask_01.png"], "mask_01.png"), expected)
    told = ["up to 1.79 % of a mask are marked as not annotated: background"]  # a row of 56
    assert warnings == (told if "not annotated" in way else [])


SMOOTH = Image.fromarray(255 * SQUARE).resize((112, 112), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (SMOOTH, "values up to 255, such as of smooth edges; save it without anti-aliasing"),
        (SMOOTH.convert("RGB"), "values up to 16777215, such as of smooth edges"),
        (Image.fromarray(np.arange(56 * 56, dtype=np.uint16).reshape(56, 56)), "3136 values up to 3135"),
        (Image.fromarray(SQUARE + 255 * OTHER), "3 values up to 255"),  # an instance, or white
        (colours(SQUARE).convert("RGBA"), "its mode is RGBA; save it without transparency"),
        (Image.fromarray(SQUARE[:28]), "56x28, neither square nor the shape of its"),
    ],
)
def test_a_mask_that_is_not_clear_is_refused(picture, message, tmp_path):
    picture.save(tmp_path / "00000.png")
    with pytest.raises(ClipError, match=f"^mask-mismatch: mask 00000.png.*{message}"):
        object_mask_members([tmp_path / "00000.png"], (5, 40, 56, 3))


def clip(**changes):
    numbers = {
        "frame_seconds": (5.5, 6.5, 7.5, 8.5, 9.5),
        "masks": ("", "a/00195.png", "", "", "a/00285.png"),
    }
    whole = {"start_seconds": 5.0, "end_seconds": 10.0, "frame_numbers": (165, 195, 225, 255, 285)}
    return ClipSpecification(key="a", split="train", source="a.mp4", **{**numbers, **whole, **changes})


def test_frames_are_those_of_the_numbers_whatever_their_times():
    times = np.arange(300) / 15  # twice as slow as was thought
    indices = annotated_frames(clip(), times, 20.0)
    assert indices.tolist() == [165, 195, 225, 255, 285]
    start, end, warnings = sound_span(clip(), times[indices], 20.0)
    assert (start, end) == (pytest.approx(10.5), pytest.approx(15.5))
    assert warnings == [
        "its masks are of frames up to 19.00 s, its sound ends at 15.50 s: give the frame rate of the video "
        "in videos.csv"
    ]


def test_frames_at_times_are_the_nearest_and_the_sound_is_that_of_the_clip():
    times = np.arange(0, 12, 0.4)
    timed = clip(frame_numbers=())
    indices = annotated_frames(timed, times, 12.0)
    assert times[indices] == pytest.approx([5.6, 6.4, 7.6, 8.4, 9.6])
    assert sound_span(timed, np.array([5.5, 6.5, 7.5, 8.5, 9.5]), 12.0) == (5.0, 10.0, [])
    assert sound_span(timed, np.array([5.5, 6.5, 7.5, 8.5, 8.9]), 9.0) == (5.0, 9.0, [])
    assert sound_span(timed, np.array([5.2, 5.2, 5.2, 5.2, 5.2]), 5.3) == (pytest.approx(4.3), 5.3, ANY)
    assert sound_span(timed, np.array([1.5, 2.5, 2.9, 2.9, 2.9]), 3.0) == (1.0, 3.0, [])


@pytest.mark.parametrize(
    ("changes", "frames", "message"),
    [
        ({}, 285, "mask 00285.png is of frame 285, the video has 285 frames, numbered from 0"),
        ({"frame_numbers": ()}, 240, "mask 00285.png is beyond the end of the video at 8.00 s"),
    ],
)
def test_a_mask_beyond_the_end_is_refused(changes, frames, message):
    with pytest.raises(ClipError, match=f"^mask-mismatch: {message}"):
        annotated_frames(clip(**changes), np.arange(frames) / 30, frames / 30)
    last = clip(**changes, masks=("a/00165.png", "", "", "", ""))
    assert annotated_frames(last, np.arange(200) / 30, 200 / 30)[-1] == 199


def test_members_are_those_of_avs_s4_for_the_same_frames(raw_collection):
    raw = raw_collection("avs-s4")
    collection = avs_s4.read(raw)
    maker = SampleMaker(raw, FeatureSettings(collection.sampling, ("swin",)))
    published = next(one for one in collection.clips if one.split == "val")
    own = dataclasses.replace(
        published,
        mask_kind="objects",
        start_seconds=0.0,
        end_seconds=5.0,
        frame_seconds=tuple(second + 15 / 16 for second in range(5)),
        frame_numbers=tuple(16 * second + 15 for second in range(5)),
        annotated_seconds=0,
    )
    assert maker(own).members == maker(published).members
    assert own.plan_text != published.plan_text


def test_sound_that_ends_early_is_filled_so_that_windows_keep_pace_with_the_frames(raw_collection):
    raw = raw_collection("avs-s4")
    collection = avs_s4.read(raw)
    settings = FeatureSettings(collection.sampling, ("swin",))
    published = next(one for one in collection.clips if one.split == "val")
    last = dataclasses.replace(
        published,
        masks=(*published.masks[2:], "", ""),
        mask_kind="objects",
        start_seconds=2.0,
        end_seconds=7.0,
        frame_seconds=tuple(second + 2 + 15 / 16 for second in range(5)),
        annotated_seconds=0,
    )
    sound = read_waveform(raw / published.source)[2 * 16_000 : 5 * 16_000]
    assert len(sound) == 3 * 16_000
    expected, _ = fbank_members(np.concatenate([sound, np.zeros(2 * 16_000, np.float32)]), settings)
    members = SampleMaker(raw, settings)(last).members
    assert {name: members[name] for name in expected} == expected


@pytest.mark.parametrize("numbers", ["[]", "[5]", "[-1]", "[1,1]", "[2,1]", "[true]", '"0"', "{}"])
def test_frames_with_masks_are_checked(numbers):
    with pytest.raises(Exception, match=r"^json has annotated .*, expected frames from 0 to 4"):
        read_annotated(f'{{"annotated": {numbers}}}'.encode(), 5)


def test_frames_with_masks_may_be_named_or_not():
    assert read_annotated(b'{"annotated": [0, 3]}', 5) == (0, 3)
    assert read_annotated(b"{}", 5) is None
