"""Readers of large annotation files: their work is proportional to the input, counted in operations."""

import sys
from collections import Counter

import pytest
from stgcma.bounded import unique_object
from stgcma.errors import InputError
from stgcma.preprocess.collections import named_videos


def calls_of(function, *arguments):
    """Return the number of calls, of Python and of C functions, that `function` makes."""
    count = 0

    def note(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function(*arguments)
    finally:
        sys.setprofile(before)
    return count


class Key(str):
    """A key that counts comparisons."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Key.compared += 1
        return str.__eq__(self, other)


def test_a_repeated_key_is_found_among_many():
    pairs = [(Key(number), 0) for number in range(500)]
    pairs.append((Key(499), 0))
    Key.compared = 0
    with pytest.raises(ValueError, match="key '499' twice"):
        unique_object(pairs)
    assert Key.compared < 1000


def test_names_without_suffix_do_not_scan_the_folder(tmp_path, monkeypatch):
    names = {f"clip{number}.mp4" for number in range(300)}
    monkeypatch.setattr(named_videos, "folder_names", lambda *_, **__: names)
    checked = Counter()
    is_video = named_videos.is_video_name
    monkeypatch.setattr(named_videos, "is_video_name", lambda name: checked.update([name]) or is_video(name))
    videos = named_videos.NamedVideos(tmp_path, allow_links=False)
    assert [videos.find(f"clip{number}", "x") for number in range(300)] == [
        f"clip{number}.mp4" for number in range(300)
    ]
    assert max(checked.values()) <= 2
    with pytest.raises(InputError, match="is not a file"):
        videos.find("clip300", "x") or videos.check_all_found()
