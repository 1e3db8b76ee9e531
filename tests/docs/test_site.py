"""The documentation site: its navigation, its links, and the tutorial notebook."""

import ast
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from stgcma.shards import __all__ as shards_api

from .generator import load
from .markdown import ROOT
from .test_commands_parse import find_command

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def navigation():
    """The pages that mkdocs.yml names; its one Python object is left out."""
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    return yaml.safe_load(text[text.index("\nnav:") :])["nav"]


def test_every_page_is_in_the_navigation():
    hooks = load("site_hooks")
    named = list(hooks._named(navigation()))
    assert len(set(named)) == len(named)
    shown = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} | set(hooks.PAGES.values())
    assert set(named) <= shown, "mkdocs.yml names pages that do not exist"
    nav = {"nav": navigation()}
    hooks.on_config(nav)
    assert set(hooks._named(nav["nav"])) == shown


def test_links_and_comments_are_those_of_the_site():
    for_site = load("site_hooks").for_site
    text = "<!-- slow: x -->\n[a](docs/media.md#one-clock) [b](docs/README.md) ![c](docs/images/d.png) \\<e>"
    assert for_site(text, "") == "[a](media.md#one-clock) [b](contents.md) ![c](images/d.png) &lt;e>"
    text = "[a](../README.md#guarantees) [b](README.md) [c](own-data.md) [d](https://a.test/x) [e](#here)"
    expected = "[a](index.md#guarantees) [b](contents.md) [c](own-data.md) [d](https://a.test/x) [e](#here)"
    assert for_site(text, "docs") == expected


def test_a_notebook_becomes_a_page():
    cells = [
        {"cell_type": "markdown", "source": ["# T"]},
        {
            "cell_type": "code",
            "source": ["1 + 1"],
            "outputs": [{"data": {"text/plain": ["2"]}}, {"data": {"image/png": "abc\n"}}, {"text": []}],
        },
    ]
    page = load("site_hooks").as_markdown(json.dumps({"cells": cells}))
    assert page.startswith("# T\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n\n<img ")
    assert 'src="data:image/png;base64,abc"' in page


def build_site(root, out):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_is_built_without_a_broken_link(tmp_path):
    done = build_site(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    for page in load("site_hooks").PAGES.values():
        assert (tmp_path / page).with_suffix(".html").is_file()
    index = json.loads((tmp_path / "search" / "search_index.json").read_text("utf-8"))
    assert any("quarantine" in entry["text"] for entry in index["docs"])


@pytest.mark.slow
@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](model.md#nowhere)"])
def test_a_broken_link_fails_the_build(tmp_path, link):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "docs" / "glossary.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{link}\n")
    done = build_site(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "nowhere" in done.stderr


def code_cells():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_tutorials_cells_are_code_and_commands_that_exist():
    verbs = []
    for cell in code_cells():
        lines = cell.splitlines()
        for line in (line[1:] for line in lines if line.startswith("!")):
            words = shlex.split(line)
            if words[0] == "stgcma":
                verbs.append(words[1])
                command, rest = find_command(words[1:])
                command.make_context("stgcma", rest)
        tree = ast.parse("\n".join(line for line in lines if not line.startswith("!")))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "stgcma.shards":
                assert {alias.name for alias in node.names} <= set(shards_api)
    assert verbs == ["synthesize", "preprocess", "shards", "train", "evaluate", "predict"]


def test_the_tutorial_is_stored_with_its_results():
    text = NOTEBOOK.read_text("utf-8")
    outputs = [cell["outputs"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert sum(bool(output) for output in outputs) >= len(outputs) - 1
    assert text.count('"image/png"') == 2
    assert len(text) < 300_000
    assert '"output_type": "error"' not in text
    for private in (str(Path.home()) + "/", "/tmp/"):
        assert private not in text


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_tutorial_runs(tmp_path):
    notebook = load("run_tutorial").run(tmp_path)
    assert "of 8 chosen" in str(notebook)
    assert (tmp_path / "tutorial/predictions/recording-002.timeline.png").stat().st_size > 10_000
