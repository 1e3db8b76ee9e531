"""A Hub on loopback in place of the real one, with a cache of its own, and a small run to push."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from huggingface_hub import constants

from .hub_server import TOKEN, Hub, Repository

VERSION = "0.1-format-2"


@pytest.fixture
def clean_cache(tmp_path, monkeypatch):
    """`clean_cache()` gives all that follows empty caches of the Hub's files and of run folders."""
    made = []

    def clean():
        folder = tmp_path / f"cache-{len(made)}"
        made.append(folder)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        return folder

    clean()
    return clean


@pytest.fixture
def hub(monkeypatch, clean_cache, tmp_path):  # noqa: ARG001
    """The Hub on loopback; the account of the tests is logged in."""
    server = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.close()


@pytest.fixture(scope="session")
def clips(earlier_shards) -> Path:
    """The shards of `scored`: four clips of AVE. Tests do not change them."""
    return earlier_shards / VERSION / "ave"


@pytest.fixture(scope="session")
def scored(made_once, clips) -> Path:
    """A folder with `run`, trained on `clips` and scored on test, and `clip.mp4`; not to be changed."""
    from stgcma.train.evaluation import evaluate

    def make(folder: Path) -> None:
        with tarfile.open(Path(__file__).parents[1] / "earlier" / VERSION / "models.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        record = json.loads((folder / "run" / "run.json").read_text())
        (folder / "run" / "run.json").write_text(json.dumps(record | {"shards": str(clips)}))
        evaluate(folder / "run", split="test")

    return made_once("hub", make)


@pytest.fixture
def run(scored, tmp_path) -> Path:
    """A run with scores, to be changed."""
    return Path(shutil.copytree(scored / "run", tmp_path / "run"))


@pytest.fixture(scope="session")
def packed(scored):
    """The files of a push of the scored run as `hf:eva/dogs`, under the licence `mit`."""
    from stgcma.hub.names import parse_name
    from stgcma.hub.packing import PackOptions, pack

    return pack(scored / "run", parse_name("hf:eva/dogs"), PackOptions(license="mit"))


@pytest.fixture
def shared(hub, packed):
    """The repository `hf:eva/dogs` with the files of `packed`."""
    made = hub.repositories["models/eva/dogs"] = Repository(private=False)
    sent = {file.name: file.read() for file in packed}
    hub.large |= {hashlib.sha256(content).hexdigest(): content for content in sent.values()}
    made.commit("main", sent | {".gitattributes": b""}, "Push run with stgcma")
    return made


@pytest.fixture
def quick_pack(monkeypatch, packed):
    """Lets `push` send the files of `packed`, whatever it is given."""
    monkeypatch.setattr("stgcma.hub.packing.pack", lambda *_arguments: packed)


@pytest.fixture(autouse=True)
def one_account(monkeypatch):
    """Counts the memory of the run's model once for all tests: it takes seconds."""
    monkeypatch.setattr("stgcma.hub.model_card.describe", _describe)


@functools.cache
def _describe(config):
    from stgcma.model.accounting import describe

    return describe(config)
