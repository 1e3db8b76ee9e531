"""Registries: entries are found by file, and loaded when asked for."""

import sys

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
