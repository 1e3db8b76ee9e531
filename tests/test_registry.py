"""Registries: entries are found by file, and loaded when asked for."""

import os
import sys
import threading
import time

import pytest
from stgcma.errors import InputError
from stgcma.registry import Registry


@pytest.fixture
def fruits(tmp_path, monkeypatch):
    folder = tmp_path / "fruits"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "sour_cherry.py").write_text("FRUIT: int = 3\n")
    (folder / "apple.py").write_text("FRUIT = 5\n")
    (folder / "baskets.py").write_text("def weigh(FRUIT=1):\n    FRUIT = 2\n    return FRUIT == 2\n")
    (folder / "_pear.py").write_text("FRUIT = 9\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry("fruits", folder, attribute="FRUIT", noun="fruit")
    for name in [name for name in sys.modules if name.partition(".")[0] == "fruits"]:
        del sys.modules[name]


def test_modules_that_assign_the_attribute_are_entries(fruits):
    assert fruits.names == ("apple", "sour-cherry")
    assert "fruits" not in sys.modules
    assert list(fruits) == ["apple", "sour-cherry"]
    assert "apple" in fruits
    assert "baskets" not in fruits


def copy_of_a_file_manager(folder):
    (folder / "apple copy.py").write_text("FRUIT = 6\n")


def name_that_cannot_be_imported(folder):
    (folder / "sweet-cherry.py").write_text("FRUIT = 6\n")


def lock_of_an_editor(folder):
    (folder / ".#apple.py").symlink_to("user@host.4711")


def companion_of_an_archive(folder):
    (folder / "._apple.py").write_bytes(b"\x00\x05\x16\x07\xff\nFRUIT = 6\n")


def folder_with_a_suffix(folder):
    (folder / "plum.py").mkdir()


def other_encoding(folder):
    (folder / "plum.py").write_bytes(b"# p\xeache\nfruit = 6\n")


def comparison(folder):
    (folder / "plum.py").write_text("from .apple import FRUIT\n\nFRUIT != 6\n")


@pytest.mark.parametrize(
    "stray",
    [
        copy_of_a_file_manager,
        name_that_cannot_be_imported,
        lock_of_an_editor,
        companion_of_an_archive,
        folder_with_a_suffix,
        other_encoding,
        comparison,
    ],
)
def test_stray_files_are_no_entries(fruits, tmp_path, stray):
    stray(tmp_path / "fruits")
    assert fruits.names == ("apple", "sour-cherry")


def test_a_broken_entry_is_listed_and_does_not_affect_others(fruits, tmp_path):
    (tmp_path / "fruits" / "plum.py").write_text("FRUIT = (\n")
    assert fruits.names == ("apple", "plum", "sour-cherry")
    assert fruits["apple"] == 5
    with pytest.raises(SyntaxError, match="never closed"):
        fruits["plum"]


def test_an_entry_is_loaded_when_asked_for(fruits):
    assert fruits["sour-cherry"] == 3
    assert dict(fruits.items()) == {"apple": 5, "sour-cherry": 3}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("aple", "did you mean 'apple'?"),
        ("baskets", "choose from apple, sour-cherry"),
        ("../x", "choose from"),
    ],
)
def test_an_unknown_name_is_refused_with_a_hint(fruits, name, hint):
    with pytest.raises(InputError) as error:
        fruits[name]
    assert f"fruit {name!r} is not known; " in str(error.value)
    assert hint in str(error.value)


def test_a_fork_while_names_are_looked_up_does_not_hang_the_child(fruits, monkeypatch):
    looking, forked = threading.Event(), threading.Event()
    modules = fruits._modules

    def slow():
        if threading.current_thread() is not threading.main_thread():
            looking.set()
            forked.wait(20)
        return modules()

    monkeypatch.setattr(fruits, "_modules", slow)
    thread = threading.Thread(target=lambda: fruits.names)
    thread.start()
    assert looking.wait(20)
    child = os.fork()
    if child == 0:
        os._exit(0 if fruits.names == ("apple", "sour-cherry") else 1)
    try:
        deadline = time.monotonic() + 20
        done, status = os.waitpid(child, os.WNOHANG)
        while not done and time.monotonic() < deadline:
            time.sleep(0.01)
            done, status = os.waitpid(child, os.WNOHANG)
        if not done:
            os.kill(child, 9)
            os.waitpid(child, 0)
    finally:
        forked.set()
        thread.join()
    assert (done, status) == (child, 0)
