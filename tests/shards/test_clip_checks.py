"""Checks of single members: damaged pictures, known headers, values that are not finite."""

import io
import random

import numpy as np
import pytest
from PIL import Image
from stgcma.errors import StgcmaError
from stgcma.shards import clip_checks
from stgcma.shards.members import all_finite, decode_picture


def test_a_damaged_picture_is_found_at_any_scale():
    """A frame with a known header is decoded at an eighth of its size, and the damage found is the same."""
    rng = random.Random(3)
    noise = np.random.default_rng(3).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG", quality=50)
    content = stream.getvalue()
    known = clip_checks._decoding(content, "frame_00.jpg")
    begin = content.find(b"\xff\xda")
    found = 0
    for _ in range(60):
        damaged = bytearray(content[: rng.choice([len(content), rng.randrange(begin, len(content))])])
        for _ in range(rng.randrange(4)):
            damaged[rng.randrange(begin, len(damaged))] = rng.choice([0, 255, rng.randrange(256)])
        whole = True
        try:
            decode_picture(bytes(damaged), "frame_00.jpg")
        except StgcmaError:
            whole = False
        assert clip_checks._decodes(bytes(damaged), *known) == whole
        found += not whole
    assert 5 < found < 60


@pytest.mark.parametrize(("side", "mode"), [(220, "RGB"), (224, "L")])
def test_a_picture_is_not_known_by_its_thumbnail(side, mode):
    """Size and mode of a frame are not those of another with the same first segment, which holds `FF DA`."""
    segment = b"\xff\xe5\x00\x0a" + b"thumb\xff\xda\x00"
    shapes = clip_checks.Shapes(task="ave", frames=1, fbanks={}, windows=1, classes=2, pixels=224)
    checked = clip_checks.Checked()

    def faults(side, mode):
        stream = io.BytesIO()
        Image.new(mode, (side, side)).save(stream, "JPEG")
        content = stream.getvalue()
        return list(checked.content_faults("frame_00.jpg", content[:2] + segment + content[2:], shapes))

    assert faults(224, "RGB") == []
    assert len(faults(side, mode)) == 1
    assert faults(224, "RGB") == []


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_values_that_are_not_finite_are_found(value):
    array = np.full((2, 3, 4), -65504.0, np.float16)
    assert all_finite(array)
    array[1, 2, 3] = value
    assert not all_finite(array)
    assert not all_finite(np.asfortranarray(array))
