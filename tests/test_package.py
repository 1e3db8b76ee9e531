"""Rules of the project that no other test would notice being broken."""

import ast
import functools
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from stgcma import __version__, cli

ROOT = Path(__file__).parent.parent
PACKAGES = ("commands", "preprocess", "shards", "model", "train", "figures", "pages", "predict", "doctor")
# commands → predict, pages → train → model; commands → preprocess → shards ← train.
MAY_IMPORT = {
    "figures": set(),
    "shards": set(),
    "model": set(),
    "preprocess": {"shards"},
    "train": {"shards", "model"},
    "pages": {"figures", "train", "shards", "model", "preprocess"},
    "predict": {"figures", "shards", "model", "preprocess", "train"},
    "doctor": {"figures", "preprocess", "model"},
    "commands": {"doctor", "figures", "model", "pages", "predict", "preprocess", "shards", "train"},
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


def commands_of(app, before=""):
    """Every command of a Typer app as it is typed, without `stgcma`."""
    for command in app.registered_commands:
        yield before + (command.name or command.callback.__name__.replace("_", "-"))
    for group in app.registered_groups:
        yield from commands_of(group.typer_instance, f"{before}{group.name} ")


COMMANDS = tuple(commands_of(cli.app))
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


# Every command's help in one process, and what each has loaded by then: typer takes pydantic for its options.
HELP = """
import json, sys
import annotated_types, pydantic, typer
def loaded():
    return {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
before = loaded()
from stgcma import cli
for command in json.loads(sys.argv[1]):
    sys.argv = ["stgcma", *command.split(), "--help"]
    try:
        cli.main()
    except SystemExit as exit_:
        assert not exit_.code, command
    more = sorted(name for name in loaded() - before if not name.startswith("_"))
    print(json.dumps([command, more]), file=sys.stderr)
"""


def test_help_loads_nothing_but_the_command_line():
    commands = ["", *COMMANDS]
    run = [sys.executable, "-c", HELP, json.dumps(commands)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines == [[command, ["stgcma"]] for command in commands]
    assert all(f"Usage: stgcma {command}" in done.stdout for command in commands)


def test_help_shows_whole_summaries_on_a_narrow_terminal(stgcma):
    for group in ((), ("shards",)):
        result = stgcma(*group, "--help")
        assert "…" not in result.stdout
        assert "..." not in result.stdout.partition("Commands:")[2]


def test_the_version_is_shown(stgcma):
    result = stgcma("--version")
    assert (result.status, result.stdout) == (0, f"stgcma {__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(stgcma, command):
    result = stgcma(*command.split(), "--help")
    assert result.status == 0
    assert stgcma(*command.split(), "-h").stdout == result.stdout
    assert f"Example: stgcma {command}" in result.stdout


def test_presets_are_listed(stgcma):
    result = stgcma("presets")
    assert result.status == 0
    assert "ave-demo" in result.stdout.split()


@pytest.mark.parametrize("preset", ["ave-demo", "avs-demo", "avqa-demo"])
def test_a_model_is_accounted_for(stgcma, preset, monkeypatch):
    from stgcma import model

    monkeypatch.setattr(model, "describe", functools.cache(model.describe))  # an account takes seconds
    result = stgcma("model", preset, "--json")
    assert result.status == 0
    summary = json.loads(result.stdout)
    assert summary["trainable"] == summary["parameters"]["adapter"] + summary["parameters"]["head"]
    assert 0 < summary["forward_bytes"] < summary["training_bytes"]
    assert summary["forward_gflops"] > 0
    assert f"{summary['trainable']:,}" in stgcma("model", preset).stdout


def test_a_file_that_is_no_reference_checkpoint_is_named(stgcma, tmp_path):
    (tmp_path / "notes.pth").write_text("hello")
    result = stgcma("import-reference", tmp_path / "notes.pth", tmp_path / "out")
    assert result.status == 2
    assert "notes.pth" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_reference_checkpoint_becomes_one_of_ours(stgcma, tmp_path):
    import torch
    from stgcma.model import load_model

    numbers = json.loads((ROOT / "tests/model/parity/ave_clip_fusion.json").read_text())
    entries = {f"module.{name}": torch.ones(shape) for name, shape in numbers["state_dict"].items()}
    torch.save(entries, tmp_path / "file.pth")
    options = ("--heads", 2, "--modality", "av-nofusion")
    result = stgcma("import-reference", tmp_path / "file.pth", tmp_path / "out", *options)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout == f"{tmp_path / 'out'}: ave, clip 64 wide, av-nofusion, 10 frames\n"
    config = load_model(tmp_path / "out").config
    assert (config.heads, config.modality, config.depths, config.classes) == ((2,), "av-nofusion", (3,), 29)


def test_an_unknown_command_is_status_2(stgcma):
    result = stgcma("transmogrify")
    assert result.status == 2
    assert "transmogrify" in result.stderr
