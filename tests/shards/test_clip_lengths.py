"""Clips with fewer frames than the data set, and masks of classes."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image
from stgcma.errors import StgcmaError
from stgcma.shards.clip_checks import Shapes, clip_faults
from stgcma.shards.members import read_class_map, read_lengths
from stgcma.shards.schema import ClipRecord

SHAPES = Shapes(task="avss", frames=4, fbanks={"fbank_4.npy": (4, 6)}, windows=4, classes=3, pixels=16)
RECORD = ClipRecord("key", "test", "test-000000.tar", 0, "", "v1s/key", 5.0, 0.0, True, "pillow", ())


def picture(values, side=16, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(np.resize(np.array(values, np.uint8), (side, side))).convert(
        "L" if kind == "PNG" else "RGB"
    ).save(buffer, kind)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def faults(seen, heard, masks, shapes=SHAPES, **said):
    """Return the faults of a clip of so many frames and windows, with these fields in KEY.json."""
    described = RECORD._asdict() | {"warnings": []} | said
    members = {"json": json.dumps(described).encode(), "fbank_4.npy": npy(np.zeros((heard, 5, 4), "f2"))}
    members |= {f"frame_{number:02d}.jpg": picture([9], kind="JPEG") for number in range(seen)}
    members |= {f"mask_{number:02d}.png": content for number, content in enumerate(masks)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"key.{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        size = tar.offset
    return list(clip_faults(buffer.getvalue()[:size], RECORD, shapes))


MASK = picture([0, 1, 2])


def test_clip_has_as_many_frames_as_it_says():
    assert faults(2, 2, [MASK] * 2, frames=2, windows=2) == []
    assert faults(4, 4, [MASK] * 4) == []
    assert faults(2, 2, [MASK] * 2) != []
    assert faults(3, 2, [MASK] * 2, frames=2, windows=2) == [
        "has frame_02.jpg, which does not belong to task avss"
    ]
    assert faults(2, 3, [MASK] * 2, frames=2, windows=2) == [
        "has fbank_4.npy as float16 [3, 5, 4], expected float16 [2, 1 to 6, 4]"
    ]
    assert faults(2, 2, [MASK], frames=2, windows=2) == ["lacks mask_01.png"]


@pytest.mark.parametrize("count", [0, 5, -1, True, "2", 2.0, None, 10**30])
def test_hostile_numbers_of_frames_are_named(count):
    (fault, *_) = faults(4, 4, [MASK] * 4, frames=count)
    assert fault == (
        f"has a description that cannot be read: json has frames {str(count)[:40]!r}, expected 1 to 4"
    )
    with pytest.raises(StgcmaError, match="json has frames"):
        read_lengths(json.dumps({"frames": count}).encode(), {"frames": 4})


def test_tasks_with_clips_of_one_length_do_not_read_the_number():
    shapes = Shapes(task="ave", frames=4, fbanks=SHAPES.fbanks, windows=4, classes=3, pixels=16)
    assert "lacks frame_02.jpg" in faults(2, 2, [], shapes, frames=2, windows=2)


def test_class_of_a_mask_that_does_not_exist_is_named():
    assert faults(1, 1, [picture([0, 3])], frames=1, windows=1) == [
        "has mask_00.png with the value 3, expected 0 to 2"
    ]


def test_class_maps_are_read_with_bounds():
    content = picture([0, 1, 70], side=224)
    found = read_class_map(content, "mask_00.png", 71)
    assert found.dtype == np.uint8
    assert found.shape == (224, 224)
    assert sorted(np.unique(found)) == [0, 1, 70]
    with pytest.raises(StgcmaError, match=r"mask_00\.png has the class 70, expected 0 to 69"):
        read_class_map(content, "mask_00.png", 70)
    with pytest.raises(StgcmaError, match=r"mask_00\.png is L 16×16, expected L 224×224"):
        read_class_map(MASK, "mask_00.png", 71)
    one_bit = io.BytesIO()
    Image.new("1", (224, 224)).save(one_bit, "PNG")
    with pytest.raises(StgcmaError, match=r"mask_00\.png is 1 224×224, expected L 224×224"):
        read_class_map(one_bit.getvalue(), "mask_00.png", 71)
