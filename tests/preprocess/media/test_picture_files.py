"""Pictures of a collection: two formats, whatever the name says, and sizes that a clip has."""

import io

import pytest
from PIL import Image
from stgcma.preprocess.media.pictures import open_picture, read_pictures
from stgcma.preprocess.media.probe import ClipError


def save(path, size=(8, 6), kind="PNG", mode="RGB"):
    Image.new(mode, size).save(path, kind)
    return path


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_png_and_jpeg_are_read_under_any_name(tmp_path, kind):
    assert open_picture(save(tmp_path / "a.gif", kind=kind)).size == (8, 6)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO", "EPS", "TGA", "WEBP"])
def test_other_formats_are_not_tried(tmp_path, kind):
    """Pillow's readers of some of them start programs, or unpack without a bound."""
    path = save(tmp_path / "a.png", kind=kind)
    with pytest.raises(ClipError, match=r"unreadable: a\.png is not a whole PNG or JPEG picture"):
        open_picture(path)


def test_a_picture_that_no_clip_has_is_refused_by_its_header(tmp_path):
    whole = io.BytesIO()
    Image.new("1", (20000, 2)).save(whole, "PNG")
    path = tmp_path / "a.png"
    content = whole.getvalue()
    path.write_bytes(content[: content.index(b"IDAT") + 8])  # so that no pixel could be read
    with pytest.raises(ClipError, match=r"too-large: pictures of 20000x2"):
        open_picture(path)


def test_pictures_of_one_clip_have_one_size(tmp_path):
    paths = [save(tmp_path / "a.png"), save(tmp_path / "b.png", size=(6, 8))]
    with pytest.raises(ClipError, match="its pictures have different sizes: 6x8, 8x6"):
        read_pictures(paths)
