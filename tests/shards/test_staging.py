"""Result files are complete and synced before they have their names."""

import os
from pathlib import Path

import pytest
from stgcma.errors import InputError
from stgcma.predict import service
from stgcma.shards.staging import check_folder, put_in_place, staged


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


def test_a_folder_of_folders_is_merged(tmp_path):
    for video, content in (("a", "old"), ("b", "new"), ("a", "new")):
        with staged(tmp_path, video) as folder:
            (folder / "Annotations" / video).mkdir(parents=True)
            (folder / "Annotations" / video / f"{content}.png").write_text(content)
            assert put_in_place(folder, tmp_path) == (tmp_path / "Annotations" / video,)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert files == ["Annotations/a/new.png", "Annotations/b/new.png"]


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


def test_results_of_one_name_are_written_by_one_process_at_a_time(tmp_path):
    with staged(tmp_path, "a") as folder:
        (folder / "a.json").write_text("first")
        with pytest.raises(InputError, match="another process writes a there"), staged(tmp_path, "a"):
            pass
        with staged(tmp_path, "b"):
            pass
        assert (folder / "a.json").read_text() == "first"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / ".a.partial"
    (left / "a.masks").mkdir(parents=True)
    (left / "a.json").write_text("half")
    with staged(tmp_path, "a") as folder:
        assert list(folder.iterdir()) == []


def test_nothing_is_removed_through_a_link(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("x")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".a.partial").symlink_to(other)
    with pytest.raises(InputError, match="is a link"), staged(out, "a"):
        pass
    assert (other / "file").exists()
    (out / ".a.partial").unlink()
    (out / ".a.partial").mkdir()
    (out / ".a.partial" / "left").symlink_to(other)
    with staged(out, "a") as folder:
        assert list(folder.iterdir()) == []
    assert (other / "file").exists()


def test_a_place_that_takes_no_files_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=f"{tmp_path / 'out'} is a file; choose another folder"):
        check_folder(tmp_path / "out" / "deeper")
    check_folder(tmp_path / "new" / "deeper")


def test_a_table_that_may_have_been_corrected_stays(tmp_path):
    (tmp_path / "predicted-labels.csv").write_text("corrected by hand")
    written = service._write_annotations(tmp_path, {"predicted-labels.csv": "new"})
    assert written == (tmp_path / "predicted-labels-2.csv",)
    assert (tmp_path / "predicted-labels.csv").read_text() == "corrected by hand"
    assert written[0].read_text() == "new"
