"""Failing decoders that child processes can import."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def failing(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("failing_decoders")
