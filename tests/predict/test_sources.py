"""The videos among files and folders, and the names of their results."""

from pathlib import Path

from stgcma.predict.sources import find_videos, result_names


def test_folders_give_all_their_videos_once(tmp_path):
    for name in ("b.mp4", "a.MOV", "deep/er/c.webm", ".hidden/d.mp4", ".e.mp4", "text.txt", "out/f.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    places = [tmp_path / "b.mp4", tmp_path, tmp_path / "empty", Path("anything.xyz")]
    videos, empty = find_videos(places, without=tmp_path / "out")
    assert [path.name for path in videos] == ["b.mp4", "a.MOV", "c.webm", "anything.xyz"]
    assert empty == [tmp_path / "empty"]


def test_equal_stems_have_names_of_their_own():
    videos = [Path(name) for name in ("x/a.mp4", "y/a.mp4", "a-2.mp4", "A.mov", "b.mp4")]
    assert result_names(videos) == ["a", "a-3", "a-2", "A-4", "b"]
