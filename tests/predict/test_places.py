"""Which files are taken, what their results are called, and how these are put in place."""

import os
from pathlib import Path

import pytest
from stgcma.errors import InputError
from stgcma.predict.outputs import check_folder, put_in_place, staged
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


def test_a_folder_is_replaced_whole(tmp_path):
    (tmp_path / "a.masks").mkdir()
    (tmp_path / "a.masks" / "000009.png").write_text("old")
    (tmp_path / "a.json").write_text("old")
    with staged(tmp_path, "a") as folder:
        (folder / "a.masks").mkdir()
        (folder / "a.masks" / "000000.png").write_text("new")
        (folder / "a.json").write_text("new")
        assert (tmp_path / "a.json").read_text() == "old"
        made = put_in_place(folder, tmp_path)
    assert made == (tmp_path / "a.json", tmp_path / "a.masks")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["000000.png", "a.json", "a.masks"]


def test_results_are_synced_before_their_names_are_there(tmp_path, monkeypatch):
    calls = []
    fsync, replace, rename = os.fsync, Path.replace, Path.rename

    def synced(descriptor):
        calls.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def renamed(path, target):
        calls.append(("rename", Path(target).name))
        return (rename if path.is_dir() else replace)(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    monkeypatch.setattr(Path, "rename", renamed)
    with staged(tmp_path, "a") as folder:
        (folder / "a.masks").mkdir()
        (folder / "a.masks" / "000000.png").write_text("new")
        (folder / "a.json").write_text("new")
        put_in_place(folder, tmp_path)
    assert calls == [
        ("sync", "a.json"),
        ("rename", "a.json"),
        ("sync", "000000.png"),
        ("rename", "a.masks"),
        ("sync", tmp_path.name),
    ]


def test_results_that_fail_leave_the_old_ones(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old.json").write_text("old")

    def fail():
        with staged(tmp_path, "a") as folder:
            (folder / "a.json").write_text("half")
            raise RuntimeError("model broke")

    with pytest.raises(RuntimeError, match="model broke"):
        fail()
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["a", "old.json"]


def test_a_place_that_takes_no_files_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=f"{tmp_path / 'out'} is a file; choose another folder"):
        check_folder(tmp_path / "out" / "deeper")
    check_folder(tmp_path / "new" / "deeper")
