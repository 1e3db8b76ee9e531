"""Every command in the documentation exists, with its options; so does what is not run."""

import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from stgcma import cli
from typer.main import get_command

from .markdown import ROOT, pages
from .substitutions import STGCMA

# What the blocks that are not run may begin with, beside `make` and what is installed here.
ELSEWHERE = {"docker", "git"}
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
BLOCKS = {f"{page.name}:{b.line}": b for page in pages() for b in page.blocks if b.language == "sh"}
MODULE = ["-m", "stgcma"]


@cache
def whole_command():
    return get_command(cli.app)


def find_command(words):
    """The command that `words` begin with, and the words that follow."""
    command, rest = whole_command(), list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    return command, rest


def options_of(command):
    parameters = command.get_params(command.context_class(command))
    return {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}


def stgcma_words(command):
    """The arguments of `stgcma` in a command line, None when it is another program."""
    words = shlex.split(command, comments=True)
    if words[0] in STGCMA:
        return words[1:]
    if words[0] == "torchrun" and MODULE[1] in words:
        return words[words.index(MODULE[1]) + 1 :]
    return None


def check_block(block):
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    for line in block.commands:
        words = stgcma_words(line)
        if words is not None:
            command, rest = find_command(words)
            command.make_context("stgcma", rest)  # raises what the command line would say
            continue
        program, *arguments = shlex.split(line, comments=True)
        if program == "make":
            assert set(arguments) <= TARGETS, line
        elif not program.startswith(".venv/"):
            assert program in ELSEWHERE or shutil.which(program), f"{program} is not known"


def test_every_line_of_a_shell_block_is_a_command(monkeypatch, subtests):
    monkeypatch.setattr("stgcma.hub.fetch.local_run", Path)  # options that name a run on the Hub fetch it
    for name, block in BLOCKS.items():
        with subtests.test(name):
            check_block(block)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_inline_commands_exist_with_their_options(page):
    for code in page.inline_code:
        name, *words = code.split()
        if name == "make" and words:
            assert set(words) <= TARGETS, code
        if name in STGCMA and words:
            command, rest = find_command([word for word in words if word != "…"])
            options = {word.partition("=")[0] for word in rest if word.startswith("--") and word != "--"}
            assert options <= options_of(command), code
