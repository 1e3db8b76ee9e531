"""Fixtures of several packages: the command line in this process, small real shards of every task, and models
small enough to be trained for many steps."""

from __future__ import annotations

import fcntl
import functools
import gc
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from stgcma import cli
from stgcma.preprocess import Options, preprocess
from stgcma.preprocess.media.ffmpeg_program import ffmpeg_executable
from stgcma.preprocess.synthesis import ave, synthesize

from .avvp_shards import write_avvp
from .fork_server import ForkServer
from .labelled_shards import write_labelled

# Child processes import helpers of the tests as `tests.…`. `python -m pytest` puts the current folder on
# sys.path, which they inherit; plain `pytest` does not.
ROOT = str(Path(__file__).parents[1])
if ROOT not in sys.path:
    sys.path.append(ROOT)

gc.disable()  # while tests are collected: a seventh of that time, in each process
# timm imports wandb where it is installed, half a second, for a function that nothing here calls.
sys.modules.setdefault("wandb", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`, one worker more than cores: a test that waits for a disk leaves a core idle."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name each test's group to the scheduler of pytest-xdist, as part of its id.

    pytest-xdist 3.8 writes the id into an attribute that pytest 9.2 does not read.
    """
    for item in items:
        if "_nodeid" in vars(item):
            item._id = type(item._id).parse(vars(item)["_nodeid"])


def pytest_collection_finish() -> None:
    """Leave the libraries and the thousands of collected tests out of garbage collection: 6 % of the time."""
    if "wandb" in sys.modules and sys.modules["wandb"] is None:
        del sys.modules["wandb"]
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


@dataclass(frozen=True)
class CommandResult:
    """Exit status and output of a command line."""

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
def ffmpeg():
    """Runs the ffmpeg that the package runs; fails the test when it complains."""

    def run(*arguments: object) -> None:
        command = [ffmpeg_executable(), "-nostdin", "-y", "-v", "error", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    return run


@pytest.fixture(scope="session")
def fake_ffmpeg():
    """Writes a shell script that prints a version as ffmpeg does, and otherwise runs `then`."""

    def write(path: Path, *, release="9.0", libavcodec="63.  1.100", then="exit 127") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        told = f"ffmpeg version {release} Copyright\nlibavcodec     {libavcodec} / {libavcodec}"
        path.write_text(f"#!/bin/sh\n[ \"$1\" = -version ] && echo '{told}' && exit 0\n{then}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory) -> Path:
    """The folder of this run of the tests, the same for all its processes."""
    own = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each of its processes a folder in that of the run.
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def made_once(common_folder) -> Callable[[str, Callable[[Path], object]], Path]:
    """`made_once(name, make)` is a folder that `make` filled, once for all processes of a run of the tests.

    Tests do not change its contents.
    """

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = common_folder / f"once-{name}"
        with (common_folder / f".once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                unfinished = common_folder / f".once-{name}"
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def forks(common_folder):
    """Runs Python commands in processes that have torch imported already."""
    server = ForkServer(common_folder)
    yield server
    server.close()


@pytest.fixture(scope="session")
def ave_raw(made_once) -> Path:
    """A synthetic AVE collection of 12 clips: 8 for training, 1 for val, 3 for test."""
    return (
        made_once("ave", lambda folder: ave.synthesize(folder / "raw", clips=12, seed=3, workers=1)) / "raw"
    )


@pytest.fixture(scope="session")
def ave_shards(ave_raw, made_once) -> Path:
    """The shards of `ave_raw`, with both kinds of fbank."""
    return (
        made_once("ave-shards", lambda folder: preprocess("ave", ave_raw, folder / "out", Options())) / "out"
    )


@pytest.fixture(scope="session")
def raw_collection(made_once):
    """Synthetic collections of 10 clips, `avs-s4` or `music-avqa`: 7 for training, 1 for val, 2 for test."""

    def raw(name: str) -> Path:
        def make(folder: Path) -> None:
            synthesize(name, folder / "raw", clips=10, seed=3, workers=1)

        return made_once(name, make) / "raw"

    return raw


@pytest.fixture(scope="session")
def avs_shards(raw_collection, made_once) -> Path:
    """The shards of the synthetic AVSBench-S4."""
    raw, options = raw_collection("avs-s4"), Options(features=("swin",))
    return made_once("avs", lambda folder: preprocess("avs-s4", raw, folder / "out", options)) / "out"


@pytest.fixture(scope="session")
def avqa_shards(raw_collection, made_once) -> Path:
    """The shards of the synthetic MUSIC-AVQA."""
    raw, options = raw_collection("music-avqa"), Options(features=("swin",))
    return made_once("avqa", lambda folder: preprocess("music-avqa", raw, folder / "out", options)) / "out"


@pytest.fixture(scope="session")
def avss_shards(raw_collection, made_once) -> Path:
    """The shards of the synthetic AVSBench-semantic: seven training clips, one of them with 5 frames."""
    raw, options = raw_collection("avss"), Options(features=("swin",))
    return made_once("avss-out", lambda folder: preprocess("avss", raw, folder / "out", options)) / "out"


@pytest.fixture(scope="session")
def shards_of(request):
    """The shards of a task by its name; made when asked for."""
    return lambda task: request.getfixturevalue(f"{task}_shards")


KEPT = {"ave": "ave", "avs": "avs-s4", "avqa": "music-avqa"}


@pytest.fixture(scope="session")
def earlier_shards(made_once) -> Path:
    """Small shards that earlier versions wrote: a folder of each version in `tests/earlier`."""

    def unpack(folder: Path) -> None:
        with tarfile.open(Path(__file__).parent / "earlier" / "shards.tar.xz") as archive:
            archive.extractall(folder, filter="data")

    return made_once("earlier", unpack)


@pytest.fixture(scope="session")
def kept_shards(earlier_shards, request):
    """Four real clips of a task by its name (two for training, one each for val and test), made before.

    Shards of a task that version 0.1 did not have are made now.
    """

    def kept(task: str) -> Path:
        if task in KEPT:
            return earlier_shards / "0.1" / KEPT[task]
        return request.getfixturevalue(f"{task}_shards")

    return kept


@pytest.fixture(scope="session")
def avc_shards(kept_shards, made_once) -> Path:
    """The kept clips of AVE with one label each."""
    make = functools.partial(write_labelled, kept_shards("ave"), several=False)
    return made_once("avc", lambda folder: make(folder / "out")) / "out"


@pytest.fixture(scope="session")
def avvp_shards(made_once) -> Path:
    """Six clips of noise with events, and tags of two classes."""
    return made_once("avvp", lambda folder: write_avvp(folder / "out")) / "out"


@pytest.fixture(scope="session")
def several_labels_shards(kept_shards, made_once) -> Path:
    """The kept clips of AVE with two labels, one or none."""
    make = functools.partial(write_labelled, kept_shards("ave"), several=True)
    return made_once("avc-several", lambda folder: make(folder / "out")) / "out"


# The smallest models: one block, or one a stage, narrow.
SMALL = {
    "avc": ("model.width=32", "model.depths=[1]", "model.heads=[2]"),
    "ave": ("model.width=32", "model.depths=[1]", "model.heads=[2]"),
    "avs": ("model.width=8", "model.depths=[1,1,1,1]", "model.heads=[1,1,2,2]", "model.mask_channels=8"),
    "avss": ("model.width=8", "model.depths=[1,1,1,1]", "model.heads=[1,1,2,2]", "model.mask_channels=8"),
    "avqa": ("model.width=8", "model.depths=[1,1,1,1]", "model.heads=[1,1,2,2]"),
    "avvp": ("model.width=32", "model.depths=[1]", "model.heads=[2]"),
}


@pytest.fixture(scope="session")
def small_config():
    """The demo preset of a task with the smallest of models, no loader workers, and settings on top."""
    from stgcma.train.config import load_preset

    def make(task: str, *settings: str, **model: object):
        if "optim.epochs=1" in settings:  # a warm-up as long as that is refused
            settings = ("optim.warmup_epochs=0", *settings)
        return load_preset(f"{task}-demo", [*SMALL[task], "data.workers=0", *settings], **model)

    return make
