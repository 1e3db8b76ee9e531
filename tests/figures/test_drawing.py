"""Text is measured, cut and wrapped to the width that there is."""

import io

import pytest
from PIL import Image
from stgcma.figures import draw_chip, draw_heading, new_canvas, shorten_text, text_width, to_png, wrap_text


def test_text_that_fits_is_not_cut():
    assert shorten_text("violin", 15, 200) == "violin"


@pytest.mark.parametrize("width", [30, 60, 90])
def test_text_is_cut_to_its_width(width):
    cut = shorten_text("Male speech, man speaking", 15, width)
    assert cut.endswith("…")
    assert "Male speech, man speaking".startswith(cut[:-1])
    assert text_width(cut, 15) <= width


def test_nothing_is_left_where_two_letters_do_not_fit():
    assert shorten_text("violin", 15, 10) == ""


def test_text_is_wrapped_at_spaces():
    text = "How many instruments are sounding in the video?"
    lines = wrap_text(text, 24, 200)
    assert len(lines) > 2
    assert " ".join(lines) == text
    assert all(text_width(line, 24) <= 200 for line in lines)
    (word,) = wrap_text("x" * 100, 24, 100)
    assert word.endswith("…")
    assert wrap_text("", 24, 100) == [""]


def test_a_heading_stays_within_its_canvas():
    canvas, draw = new_canvas(300, 200)
    below = draw_heading(draw, "W" * 200, "W" * 300, 300)
    drawn = canvas.convert("L").point(lambda value: 255 if value < 250 else 0).getbbox()
    assert 0 < drawn[0] < drawn[2] <= 300 - 32
    assert drawn[3] <= below < 200


def test_a_chip_may_be_narrower_than_its_corners():
    canvas, draw = new_canvas(40, 40)
    draw_chip(draw, (10, 10, 12, 30), (200, 0, 0))
    draw_chip(draw, (20, 10, 20, 30), (200, 0, 0))
    assert canvas.getpixel((11, 20)) == (200, 0, 0)


def test_a_png_holds_the_picture():
    canvas, _ = new_canvas(7, 5)
    with Image.open(io.BytesIO(to_png(canvas))) as image:
        assert (image.format, image.size) == ("PNG", (7, 5))
