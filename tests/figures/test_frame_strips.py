"""Strips of frames: what is in which column, and where it is drawn."""

import numpy as np
import pytest
from PIL import Image
from stgcma.errors import StgcmaError
from stgcma.figures import FrameStrip, draw_row, frame_size, join_frames, new_canvas, row_height

RED, GREEN = (200, 0, 0), (0, 200, 0)


def strip_of(steps, *, most, size=(30, 20)):
    strip = FrameStrip(steps, most=most, size=size)
    for step in range(steps):
        frame = Image.new("RGB", (64, 64), (step, 0, 0)) if strip.shows(step) else None
        strip.add(step, (step, step + 1.0), frame, np.full((50, 8), step, dtype=np.float16))
    return strip


def test_frames_are_joined_in_order():
    joined = join_frames([Image.new("RGB", (64, 64), colour) for colour in (RED, GREEN)])
    assert joined.size == (224, 112)
    assert (joined.getpixel((56, 56)), joined.getpixel((168, 56))) == (RED, GREEN)


def test_a_mask_tints_its_pixels_and_darkens_the_others():
    mask = np.zeros((64, 64), dtype=bool)
    mask[:, :32] = True
    joined = join_frames([Image.new("RGB", (64, 64), (100, 100, 100))] * 2, [mask, None])
    # 0.45 · 100 + 0.55 · (255, 64, 32), and 0.55 · 100.
    assert joined.getpixel((20, 56)) == (185, 80, 62)
    assert joined.getpixel((90, 56)) == (55, 55, 55)
    assert joined.getpixel((168, 56)) == (100, 100, 100)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(StgcmaError, match=r"mask 0 is \[32, 64\], its frame \[64, 64\]"):
        join_frames([Image.new("RGB", (64, 64))], [np.zeros((32, 64), dtype=bool)])


def test_a_short_video_has_a_column_for_each_step():
    strip = strip_of(5, most=8)
    assert (strip.stride, len(strip.columns)) == (1, 5)
    assert [column.start for column in strip.columns] == [0, 1, 2, 3, 4]
    assert [float(column.sound().mean()) for column in strip.columns] == [0, 1, 2, 3, 4]


def test_a_column_of_several_steps_shows_the_first_frame_and_the_sound_of_all():
    strip = strip_of(20, most=8)
    assert (strip.stride, len(strip.columns)) == (3, 7)
    assert [column.frame.getpixel((0, 0))[0] for column in strip.columns] == [0, 3, 6, 9, 12, 15, 18]
    assert (strip.columns[1].start, strip.columns[1].end) == (3, 6)
    assert (strip.columns[-1].start, strip.columns[-1].end) == (18, 20)
    assert list(strip.columns[1].sound()[:, 0]) == [3] * 8 + [4] * 8 + [5] * 8


def test_more_steps_than_slices_share_the_slices():
    strip = strip_of(60, most=1)
    sound = strip.columns[0].sound()[:, 0]
    assert len(sound) == 24
    assert list(sound) == sorted(sound)
    assert (sound[0], sound[-1]) == (1, 58.5)  # the means of steps 0 to 2, and of 58 and 59


def test_rows_hold_as_many_columns_as_asked_for():
    rows = list(strip_of(5, most=8).rows(2))
    assert [len(columns) for columns, _ in rows] == [2, 2, 1]
    assert [sound.size for _, sound in rows] == [(60, 64), (60, 64), (30, 64)]


def test_a_row_is_drawn_where_it_says():
    strip = strip_of(3, most=8)
    ((columns, sound),) = strip.rows(3)
    canvas, draw = new_canvas(200, 150)
    below = draw_row(canvas, draw, (10, 7), columns, sound, tick_every=2)
    assert below == 7 + row_height((30, 20)) == 7 + 24 + 20 + 64
    drawn = np.asarray(canvas).astype(int).sum(axis=2) < 750
    assert np.flatnonzero(drawn.any(axis=1))[-1] == below - 1
    assert list(np.flatnonzero(drawn[35])) == [x for x in range(10, 100) if x not in (40, 70)]  # white lines
    ticks = np.flatnonzero(drawn[29])
    assert {10, 70} <= set(ticks)
    assert 40 not in ticks


@pytest.mark.parametrize(
    ("video", "drawn"), [((1280, 720), (160, 90)), ((3000, 300), (160, 64)), ((300, 3000), (160, 288))]
)
def test_frames_keep_the_video_s_shape_within_limits(video, drawn):
    assert frame_size(*video, column_width=160) == drawn
