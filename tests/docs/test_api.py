"""The page of the Python API: every example runs, and every public name is documented."""

import doctest
import shutil
import tarfile
from importlib import import_module
from inspect import getdoc, isclass, isfunction

import pytest
from stgcma.registry import Registry

from .generator import load
from .markdown import ROOT, read_page

PACKAGES = load("api_page").PACKAGES
EXAMPLES = [block for block in read_page(ROOT / "docs/api.md").blocks if block.language == "pycon"]
EXPORTED = [
    f"{package}:{name}"
    for package in PACKAGES
    for name in getattr(import_module(package), "__all__", ())
    if not name.startswith("__")
]
MODELS = ROOT / "tests/earlier/0.1-format-2/models.tar.xz"


@pytest.fixture
def folder(ave_raw, earlier_shards, tmp_path, monkeypatch):
    """The working directory of an example: a collection, shards, a trained run and a video."""
    (tmp_path / "RAW").symlink_to(ave_raw)
    shutil.copytree(earlier_shards / "0.1-format-2" / "ave", tmp_path / "shards")
    with tarfile.open(MODELS) as archive:
        archive.extractall(tmp_path, [m for m in archive if m.name.startswith("run")], filter="data")
    (tmp_path / "holiday.mp4").symlink_to(min((ave_raw / "AVE").iterdir()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: str(block.line))
@pytest.mark.usefixtures("folder")
def test_examples_run(block):
    test = doctest.DocTestParser().get_doctest(block.text, {}, "api.md", "docs/api.md", block.line)
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    result = runner.run(test, out=said.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(said)


def test_public_names_are_documented(subtests):
    for exported in EXPORTED:
        with subtests.test(exported):
            package, _, name = exported.partition(":")
            value = getattr(import_module(package), name)
            if isinstance(value, Registry):
                continue
            if isclass(value) or isfunction(value):
                text = getdoc(value) or ""
                assert not text.startswith(f"{name}("), f"{exported} has no docstring but a dataclass's"
            else:
                text = load("api_page").attribute_docstring(import_module(package), name)
            assert text, f"{exported} is not documented"


def test_a_docstring_becomes_markdown():
    docstring = "Do it.\n\nArgs:\n    a, b: two\n        numbers.\n\n>>> 1 + 1\n2\n\nMore."
    assert load("api_page").markdown(docstring) == (
        "Do it.\n\n\nArgs:\n\n- `a, b`: two\n  numbers.\n\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore.\n"
    )
