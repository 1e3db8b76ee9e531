"""Directories that clips are added to, and what they hold."""

import pytest
from stgcma.preprocess.pipeline import finishing
from stgcma.shards.manifest import read_manifest

from .stand_in import build
from .test_output_repair import files


def shard_files(folder):
    return {name: file for name, file in files(folder).items() if name.startswith("shards/")}


def keys(folder):
    return [record.key for record in read_manifest(folder)]


def stopped(out, raw, monkeypatch, **options):
    """Add to OUT, up to the writing of its description."""

    def stop(*_):
        raise RuntimeError("just before the end")

    with monkeypatch.context() as patched:
        patched.setattr(finishing, "write_dataset", stop)
        with pytest.raises(RuntimeError, match="just before the end"):
            build(out, raw, append=True, **options)
