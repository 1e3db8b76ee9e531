"""The walks of docs/extending.md: each applied to a copy of the tree, where its commands are run."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch

import pytest

from .markdown import ROOT, Block, read_page
from .substitutions import substituted

PAGE = ROOT / "docs/extending.md"
# The files that a walk may write (new ones) and change (existing ones).
MAY_WRITE = {
    "A collection": ("preprocess/collections/*.py",),
    "A decoder": ("preprocess/media/video/*.py",),
    "An adapter": ("model/adapters/*.py",),
    "A task": (
        "model/heads/*.py",
        "train/tasks/*.py",
        "predict/*.py",
        "pages/tasks/*.py",
        "train/presets/*.yaml",
        "preprocess/collections/*.py",
        "preprocess/synthesis/*.py",
    ),
}
MAY_CHANGE = {
    "A backbone": ("model/backbones/*.py",),
    "A metric": ("train/tasks/*.py",),
    "A task": ("model/presets.py",),
}
SLOW_MARKS = [pytest.mark.slow, pytest.mark.timeout(1800)]
NOT_COPIED = shutil.ignore_patterns(
    ".venv", ".git", ".*_cache", "__pycache__", "tests", "benchmarks", "images", "build", "demo"
)


@dataclass(frozen=True)
class Walk:
    """A section of the page with code blocks for files."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def files(self):
        return [block for block in self.blocks if block.language in ("py", "yaml", "diff")]

    @property
    def commands(self):
        return [line for block in self.blocks if block.language == "sh" for line in block.commands]


def walks():
    lines = PAGE.read_text("utf-8").splitlines()
    heads = [(number, line[3:]) for number, line in enumerate(lines, 1) if re.match("## ", line)]
    for (begin, title), (end, _) in zip(heads, [*heads[1:], (len(lines) + 1, "")], strict=True):
        blocks = tuple(block for block in read_page(PAGE).blocks if begin < block.line < end)
        if blocks:
            yield Walk(title, blocks)


WALKS = {walk.title: walk for walk in walks()}


def path_of(block):
    first = block.text.splitlines()[0]
    found = re.fullmatch(r"(?:# |--- a/)([\w/.-]+)", first)
    assert found, f"line {block.line}: the block does not name its file"
    return found[1]


def change(text, block):
    """Apply a diff whose lines must stand in the text exactly once."""
    lines = [line for line in block.text.splitlines()[2:] if not line.startswith("@@")]
    old = "\n".join(line[1:] for line in lines if line[:1] in " -")
    new = "\n".join(line[1:] for line in lines if line[:1] in " +")
    assert text.count(old) == 1, f"line {block.line}: what is to be changed is in {path_of(block)} no more"
    return text.replace(old, new)


def write(tree, walk):
    """Write the walk's files into a copy of the tree; only those that it may touch."""
    for block in walk.files:
        name = path_of(block)
        path = tree / name
        allowed = (MAY_CHANGE if block.language == "diff" else MAY_WRITE)[walk.title]
        assert any(fnmatch(name, pattern) for pattern in allowed), f"{walk.title} touches {name}"
        if block.language == "diff":
            path.write_text(change(path.read_text("utf-8"), block), "utf-8")
        else:
            assert not path.exists(), f"{name} exists already"
            path.write_text(block.text, "utf-8")


@pytest.fixture(scope="session")
def copied(made_once):
    return made_once(
        "tree", lambda folder: shutil.copytree(ROOT, folder / "stgcma", ignore=NOT_COPIED, symlinks=True)
    )


@pytest.fixture
def data(ave_raw, kept_shards, tmp_path):
    """A working directory with what the commands name."""
    work = tmp_path / "work"
    (work / "RAW/clips").mkdir(parents=True)
    videos = sorted((ave_raw / "AVE").iterdir())[:6]
    with (work / "RAW/labels.csv").open("w", newline="") as stream:
        for video, split in zip(videos, ("train", "train", "val", "val", "test", "test"), strict=True):
            shutil.copy(video, work / "RAW/clips")
            csv.writer(stream).writerow([video.name, split, "dog"])
    (work / "AVE_Dataset").symlink_to(ave_raw)
    shutil.copy(videos[0], work / "holiday.mp4")
    shutil.copytree(kept_shards("ave"), work / "kept")
    return work


def run(command, work, tree):
    words = shlex.split(command, comments=True)
    if words[0] == "stgcma":
        words = [sys.executable, "-m", "stgcma", *substituted(words[1:])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree.parent)}
    done = subprocess.run(
        words, cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("title", [pytest.param(title, marks=SLOW_MARKS) for title in WALKS])
def test_walk(title, copied, data, tmp_path):
    walk = WALKS[title]
    tree = shutil.copytree(copied / "stgcma", tmp_path / "tree/stgcma", symlinks=True)
    write(tree, walk)
    if not any("preprocess" in command for command in walk.commands):
        (data / "kept").rename(data / "shards")
    assert walk.commands
    for command in walk.commands:
        run(command, data, tree)


def test_every_kind_has_a_walk():
    assert set(WALKS) == set(MAY_WRITE) | set(MAY_CHANGE)
