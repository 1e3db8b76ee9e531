"""References of the pages to each other and to the code: links, names of files, generated parts."""

import ast
import re
import tomllib

import pytest
from stgcma.model import PRESET_NAMES, describe
from stgcma.preprocess.media.ffmpeg_program import MINIMUM_RELEASE
from stgcma.preprocess.media.reasons import REASONS
from stgcma.train.config import RunConfig

from .generator import load
from .markdown import ROOT, pages, read_page

DOCS = ROOT / "docs"
_PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*/?")
_DEFINED = re.compile(r"(_?[A-Z][A-Za-z]\w+|[a-z_]\w*\(\))")


def test_stale_pages_are_named_or_written(tmp_path, monkeypatch, capsys):
    generate = load("generate")
    fresh, stale, missing = (tmp_path / name for name in ("fresh.md", "stale.md", "missing.md"))
    fresh.write_text("1")
    stale.write_text("0")
    monkeypatch.setattr(generate, "pages", lambda: dict.fromkeys((fresh, stale, missing), "1"))
    named = "stale.md{0}\nmissing.md{0}\n"
    for arguments, status, said in (
        (["--check"], 1, named.format(" is stale: run `make docs`")),
        ([], 0, named.format("")),
        (["--check"], 0, ""),
    ):
        monkeypatch.setattr("sys.argv", ["generate.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            generate.main()
        assert (ended.value.code, capsys.readouterr().out) == (status, said)
    assert stale.read_text() == missing.read_text() == "1"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in page.links:
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), link
            continue
        path = page.path.parent / target if target else page.path
        assert path.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in read_page(path.resolve()).anchors, f"{link}: no such heading"


def test_the_index_names_every_page():
    linked = set(read_page(DOCS / "README.md").links)
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} <= linked


def is_ours(code):
    """Return true for a piece of code that is meant as a path in the repository."""
    top, slash, _ = code.partition("/")
    if not _PATH.fullmatch(code):
        return False
    return code.endswith(".py") or bool(slash and (ROOT / top).is_dir() and top != "demo")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_files_of_the_repository_exist(page):
    for code in filter(is_ours, page.inline_code):
        assert any(ROOT.glob(code.rstrip("/"))), f"{code}: no such file"


def defined_in(path):
    """The names of the classes, functions, constants and fields of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def paragraphs(text):
    """Parts that belong together: paragraphs, items of lists, rows of tables."""
    return re.split(r"\n\n|\n(?=- |\d+\. |\|)", text)


def test_what_is_to_be_extended_is_where_the_page_says():
    checked = 0
    for paragraph in paragraphs(read_page(DOCS / "extending.md").prose):
        codes = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", paragraph)]
        files = [path for code in codes if is_ours(code) for path in ROOT.glob(code) if path.suffix == ".py"]
        known = {name for path in files for name in defined_in(path)}
        for code in codes:
            if _DEFINED.fullmatch(code) and files:
                assert code.removesuffix("()") in known, f"{code} is not in {', '.join(map(str, files))}"
                checked += 1
    assert checked > 5


def source_texts():
    """Every text of the code, with `…` for what is filled in."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = [ROOT.joinpath(*package.split(".")[1:]) for package in packages]
    for path in (path for folder in folders for path in folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                yield "".join(parts)


def test_quoted_messages_are_those_of_the_code():
    blocks = read_page(DOCS / "troubleshooting.md").blocks
    quoted = [block.text.strip().removeprefix("stgcma: ") for block in blocks if block.language == "text"]
    assert len(quoted) > 20
    said = set(source_texts())
    assert [message for message in quoted if message not in said] == []


def test_every_reason_of_the_quarantine_is_explained():
    explained = set(
        re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    )
    assert explained == set(REASONS)


def test_the_oldest_ffmpeg_is_told():
    text = " ".join((DOCS / "media.md").read_text("utf-8").split())
    assert f"It must be FFmpeg {MINIMUM_RELEASE} or later." in text


def test_every_setting_is_explained():
    text = (DOCS / "training.md").read_text("utf-8")
    for section in ("data", "optim", "loss", "train"):
        explained = re.findall(rf"^\| `{section}\.(\w+)` \|", text, re.MULTILINE)
        assert set(explained) == set(RunConfig.model_fields[section].annotation.model_fields)


@pytest.mark.slow
@pytest.mark.parametrize("preset", [name for name in PRESET_NAMES if not name.endswith("-demo")])
def test_costs_are_what_the_account_says(preset):
    summary = describe(preset)
    memory = (f"{size / 2**20:,.0f}" for size in (summary.forward_bytes, summary.training_bytes))
    row = " | ".join([f"| `{preset}`", f"{summary.forward_gflops:,.1f}", *memory]) + " |"
    assert row in (DOCS / "model.md").read_text("utf-8").splitlines()
