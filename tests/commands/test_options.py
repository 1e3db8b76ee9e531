"""Options that several commands take are declared once, in `commands/options.py`."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from stgcma import cli
from stgcma.commands.options import read_share
from stgcma.errors import InputError
from stgcma.preprocess.collections import ave
from stgcma.preprocess.collections.specification import FBANK_KINDS, FeatureSettings
from typer.main import get_command

COMMANDS = Path(cli.__file__).parent / "commands"
# Of a new model or of a trained one; to synthesise or to show; evaluated or shown; a file or a folder.
TWO_MEANINGS = {"--weights", "--preset", "--clips", "--split", "--out", "--workers", "--shards"}


def declarations(path):
    """The first argument, or the parameter's name, of every `typer.Option` in a module."""
    tree = ast.parse(path.read_text("utf-8"))
    named = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation is not None:
            for call in ast.walk(node.annotation):
                named[call] = f"--{node.arg.strip('_').replace('_', '-')}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Option":
            yield node.args[0].value if node.args else named[node]


def commands_below(group):
    for command in group.commands.values():
        if hasattr(command, "commands"):
            yield from commands_below(command)
        else:
            yield command


def test_no_option_is_declared_twice():
    counts = Counter(name for path in COMMANDS.glob("*.py") for name in declarations(path))
    assert {name for name, count in counts.items() if count > 1} == TWO_MEANINGS
    assert counts["--json"] == counts["--set"] == 1


def test_what_several_commands_take_is_among_the_options():
    shared = set(declarations(COMMANDS / "options.py"))
    taken = Counter(
        option
        for command in commands_below(get_command(cli.app))
        for parameter in command.get_params(command.context_class(command))
        for option in parameter.opts
        if option.startswith("--") and option not in ("--help", "--run-folder")
    )
    assert {option for option, count in taken.items() if count > 1} <= shared


def test_the_help_names_every_kind_of_fbank():
    (preprocess,) = (each for each in commands_below(get_command(cli.app)) if each.name == "preprocess")
    (features,) = (each for each in preprocess.params if each.name == "features")
    named = ", ".join(f"{kind.alias} ({name})" for name, kind in FBANK_KINDS.items())
    assert features.help == f"Fbanks, comma-separated: {named}."
    assert FeatureSettings(ave.SAMPLING, tuple(features.default.split(","))).fbanks == tuple(FBANK_KINDS)


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("0", 0.0), ("100%", 1.0)])
def test_a_share_is_a_percentage_or_a_fraction(text, share):
    assert read_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["many", "-1%", "101%", "nan", ""])
def test_other_shares_are_refused(text):
    with pytest.raises(InputError, match=f"--max-failed is {text!r}, must be a share such as 5% or 0.05"):
        read_share(text)
