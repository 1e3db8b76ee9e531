"""Names of repositories, and the options that take them."""

from pathlib import Path

import pytest
from stgcma import cli
from stgcma.errors import InputError
from stgcma.hub import HubName, parse_name
from stgcma.hub.library import hub_library
from typer.main import get_command


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:eva/dogs", HubName("model", "eva/dogs")),
        ("hf:eva/Dogs_2.1@v1.0", HubName("model", "eva/Dogs_2.1", "v1.0")),
        ("hf:eva/dogs@refs/pr/1", HubName("model", "eva/dogs", "refs/pr/1")),
        (Path("hf://eva/dogs"), HubName("model", "eva/dogs")),
        ("hf:datasets/eva/clips@main", HubName("dataset", "eva/clips", "main")),
        ("hf:spaces/eva/demo", HubName("space", "eva/demo")),
    ],
)
def test_names(text, name):
    assert parse_name(text) == name
    assert parse_name(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        *("hf:dogs", "eva/dogs", "hf:", "hf:eva/dogs/main", "hf:../dogs", "hf:eva/do..gs", "hf:eva/do--gs"),
        *("hf:eva/dogs@", "hf:eva/dogs@../../x", "hf:eva/dogs@-x", "hf:models/eva/dogs", "hf:eva/dogs."),
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="is not the name of"):
        parse_name(text)


def test_a_revision_is_given_once():
    assert parse_name("hf:eva/dogs").at("v1") == parse_name("hf:eva/dogs@v1").at(None)
    with pytest.raises(InputError, match="names a revision, and the option revision is 'v2'"):
        parse_name("hf:eva/dogs@v1").at("v2")


def commands(group, before=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_option_for_a_trained_run_takes_a_name():
    taken = [
        (name, parameter.name)
        for name, command in commands(get_command(cli.app))
        for parameter in command.params
        if "hf:ORG/NAME" in (getattr(parameter, "help", "") or "") and name != "push"
    ]
    assert {
        ("evaluate", "run"),
        ("predict", "run"),
        ("report", "runs"),
        ("serve", "runs"),
        ("export", "run"),
        ("train", "init_from"),
    } <= set(taken)


def test_an_old_or_missing_library_is_named(monkeypatch):
    import sys

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "__version__", "0.30.2")
    with pytest.raises(InputError, match=r'huggingface_hub is 0.30.2, .* pip install "stgcma\[hub\]"'):
        hub_library()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="not installed"):
        hub_library()
