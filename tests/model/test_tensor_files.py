"""Files of tensors: whole or not there, and every entry accounted for."""

import os
from pathlib import Path

import pytest
import torch
from stgcma.errors import InputError, StgcmaError
from stgcma.model.tensor_files import load_tensors, read_tensors, write_atomically, write_tensors


def test_a_checkpoint_is_whole_and_synced_before_it_has_its_name(tmp_path, monkeypatch):
    path = tmp_path / "adapters.safetensors"
    seen = []
    fsync = os.fsync

    def synced(descriptor):
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append((place.is_dir(), path.exists(), place.is_dir() or len(place.read_bytes()) > 16))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    write_tensors(path, {"weight": torch.ones(2, 3)}, {"stgcma": "{}"})
    assert seen == [(False, False, True), (True, True, True)]
    assert list(tmp_path.iterdir()) == [path]
    assert read_tensors(path)["weight"].tolist() == [[1.0] * 3] * 2


def test_a_checkpoint_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "model.json"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(StgcmaError, match=r"model\.json cannot be written: disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "missing weight"),
        ({"weight": torch.ones(3), "other": torch.ones(3)}, "unknown other"),
        ({"weight": torch.ones(1)}, r"weight has shape \[1\], expected \[3\]"),
    ],
)
def test_names_and_shapes_match_exactly(given, message):
    weight = torch.zeros(3)
    with pytest.raises(InputError, match=rf"a\.safetensors: {message}"):
        load_tensors({"weight": weight}, given, Path("a.safetensors"))
    assert weight.tolist() == [0.0] * 3
