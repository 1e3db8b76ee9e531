"""Small collections under the names that the pages use, and a runner of the pages' code blocks."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from functools import cache
from pathlib import Path

import pytest
import stgcma as package
from typer.main import get_command

from .markdown import Block
from .substitutions import PROGRAMS, STGCMA, substituted

# The pages' names of folders, and what lies in them.
COLLECTIONS = {
    "AVE_Dataset": "ave",
    "AVSBench-S4": "avs-s4",
    "AVSBench-MS3": "avs-ms3",
    "AVSBench-semantic": "avss",
    "MUSIC-AVQA": "music-avqa",
    "LLP": "llp",
    "clips": "folder",
    "interviews": "questions",
    "yard": "events",
    "street": "masks",
    "pets": "labels",
    "VGGSound": "vggsound",
}
# And of videos, which are clips of the first collection.
VIDEOS = ("holiday.mp4", "more-videos/party.mp4")


@pytest.fixture(scope="session")
def collection(ave_raw, raw_collection, tmp_path_factory):
    """Makes what a page's name of a folder stands for, a collection of 10 or 12 clips; each once."""

    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("collection") / name
        if name == "clips":
            for number, clip in enumerate(sorted((ave_raw / "AVE").iterdir())):
                category = folder / ("dog", "rain")[number % 2]
                category.mkdir(parents=True, exist_ok=True)
                shutil.copy(clip, category / f"{number}.mp4")
        else:
            folder = raw_collection(COLLECTIONS[name])
        return folder

    return lambda name: ave_raw if name == "AVE_Dataset" else make(name)


@pytest.fixture(scope="session")
def made_shards() -> dict[str, Path]:
    """Results of `preprocess` commands, by all of the command but OUT and --workers."""
    return {}


@pytest.fixture
def run_block(stgcma, forks, collection, made_shards, tmp_path, monkeypatch):
    """Runs a code block, in a folder that stays the same for the test and holds the collections it names."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}

    def run(block: Block) -> None:
        for name in COLLECTIONS:
            if f" {name} " in block.text and not Path(name).exists():
                Path(name).symlink_to(collection(name))
        for video, clip in zip(VIDEOS, sorted((collection("AVE_Dataset") / "AVE").iterdir()), strict=False):
            if video.partition("/")[0] in block.text and not Path(video).exists():
                Path(video).parent.mkdir(exist_ok=True)
                Path(video).symlink_to(clip)
        if block.language == "python":
            exec(compile(block.text, f"line {block.line}", "exec"), names)
            return
        for command in block.commands:
            words = shlex.split(command, comments=True)
            if words[0] in STGCMA:
                with _shards_made_once(made_shards, substituted(words[1:])):
                    result = stgcma(*substituted(words[1:]))
                assert result.status == 0, f"{command}\n{result.stderr}"
            else:
                assert words[0] in PROGRAMS, f"{command}: mark its block as not run, or say how to run it"
                _run_program(forks, words)

    return run


def _run_program(forks, words: list[str]) -> None:
    command = [*PROGRAMS[words[0]], *substituted(words[1:])]
    paths = os.pathsep.join(
        filter(None, [str(Path(package.__file__).parent.parent), os.environ.get("PYTHONPATH")])
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = forks.run(command, env=environment)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"


@contextlib.contextmanager
def _shards_made_once(made: dict[str, Path], words: list[str]):
    """Gives a command the shards that another one of the session made with the same request.

    It finds them complete, as it would find its own; without this, each page would decode the same clips.
    """
    wanted = _shards_of(words)
    if wanted is None:
        yield
        return
    request, out = wanted
    if request in made and not out.exists():
        shutil.copytree(made[request], out)
    yield
    made.setdefault(request, out.absolute())


def _shards_of(words: list[str]) -> tuple[str, Path] | None:
    """Return the input and the output of a command that makes shards; None for other commands."""
    from stgcma import chain, cli
    from stgcma.commands.collection_options import collection_options
    from stgcma.train.config import load_preset

    if words[0] not in ("preprocess", "run"):
        return None
    group = get_command(cli.app)
    context = group.commands[words[0]].make_context(words[0], words[1:])
    request = context.params | collection_options(context)
    if words[0] == "preprocess":
        out = Path(request["out"])
        request = {name: value for name, value in request.items() if name not in ("out", "workers", "json_")}
        return repr(sorted(request.items())), out
    features = chain.features_of(load_preset(request["preset"], request["set_"]))
    alike = [
        "preprocess",
        chain.collection_of(request["task"]),
        request["raw"],
        str(request["workdir"] / "shards"),
    ]
    return _shards_of([*alike, "--features", ",".join(features)])
