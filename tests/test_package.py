"""Rules of the project that no other test would notice being broken."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "commands",
    "preprocess",
    "shards",
    "model",
    "train",
    "figures",
    "pages",
    "predict",
    "doctor",
    "columns",
    "export",
    "app",
    "hub",
)
# commands → predict, pages → train → model; commands → preprocess → shards ← train; and
# commands → columns → preprocess, train.
MAY_IMPORT = {
    "figures": set(),
    "shards": set(),
    "model": set(),
    "preprocess": {"figures", "shards"},
    "train": {"figures", "shards", "model"},
    "pages": {"figures", "train", "shards", "model", "preprocess"},
    "predict": {"figures", "shards", "model", "preprocess", "train"},
    "doctor": {"figures", "preprocess", "model"},
    "columns": {"figures", "preprocess", "shards", "model", "train"},
    "export": {"shards", "model", "train"},
    "app": {"figures", "shards", "model", "preprocess", "train", "predict", "pages"},
    "hub": {"app", "figures", "shards", "model", "preprocess", "train", "pages"},
    "commands": {
        "app",
        "columns",
        "doctor",
        "export",
        "figures",
        "hub",
        "model",
        "pages",
        "predict",
        "preprocess",
        "shards",
        "train",
    },
}
# The same inside of a package.
MAY_IMPORT_WITHIN = {
    "preprocess": {
        "media": set(),
        "collections": {"media"},
        "samples": {"collections", "media"},
        "pipeline": {"samples", "collections", "media"},
        "synthesis": {"collections", "media"},
    },
}


# The model runs where there is only torch and timm (and what they need).
MODEL_NEEDS = {"torch", "timm", "safetensors", "numpy", "yaml"} | set(sys.stdlib_module_names)


def imports(path):
    """The dotted names, split, of every module that a file imports, relative ones resolved."""
    package = ("stgcma", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            yield base
            for alias in node.names:
                if is_module(parts := [*base, alias.name]):
                    yield parts


def is_module(parts):
    path = ROOT.joinpath(*parts[1:])
    return parts[0] == "stgcma" and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_between_packages_run_one_way(package):
    for path in (ROOT / package).rglob("*.py"):
        for parts in imports(path):
            if parts[0] == "stgcma" and len(parts) > 1 and parts[1] in PACKAGES:
                assert parts[1] in MAY_IMPORT[package] | {package}, f"{path} imports {'.'.join(parts)}"


@pytest.mark.parametrize(
    ("package", "inner"),
    [(package, inner) for package, within in MAY_IMPORT_WITHIN.items() for inner in within],
)
def test_imports_within_a_package_run_one_way(package, inner):
    allowed = MAY_IMPORT_WITHIN[package]
    for path in (ROOT / package / inner).rglob("*.py"):
        for parts in imports(path):
            if parts[:2] == ["stgcma", package] and len(parts) > 2 and parts[2] in allowed:
                assert parts[2] in allowed[inner] | {inner}, f"{path} imports {'.'.join(parts)}"


def test_the_model_needs_torch_and_timm_only():
    for path in (ROOT / "model").rglob("*.py"):
        for parts in imports(path):
            assert parts[0] == "stgcma" or parts[0] in MODEL_NEEDS, f"{path} imports {'.'.join(parts)}"


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"stgcma"} | {
        ".".join(("stgcma", *path.parent.relative_to(ROOT).parts))
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert set(listed) == found
