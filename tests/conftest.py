"""Fixtures that several rooms need: the command line in this process, and a small real collection."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from stgcma import cli
from stgcma.preprocess.pipeline import Options, preprocess
from stgcma.preprocess.synthesis import ave


@dataclass(frozen=True)
class CommandResult:
    """What a command line came to."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def stgcma(monkeypatch, capsys):
    """Runs `stgcma ARGS…` in this process, through the same `main` as the installed command."""

    def run(*arguments: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["stgcma", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as exit_:
            status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        captured = capsys.readouterr()
        return CommandResult(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def ave_raw(tmp_path_factory) -> Path:
    """A synthetic AVE collection of 12 clips: 8 for training, 1 for val, 3 for test."""
    raw = tmp_path_factory.mktemp("ave") / "raw"
    ave.synthesize(raw, clips=12, seed=3, workers=1)
    return raw


@pytest.fixture(scope="session")
def ave_shards(ave_raw, tmp_path_factory) -> Path:
    """The shards of `ave_raw`, with both kinds of fbank."""
    out = tmp_path_factory.mktemp("shards") / "out"
    preprocess("ave", ave_raw, out, Options())
    return out
