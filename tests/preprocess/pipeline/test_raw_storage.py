"""Plan and manifest are the same wherever RAW is."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from stgcma.errors import InputError
from stgcma.preprocess import collections
from stgcma.preprocess.collections.specification import ClipSpecification
from stgcma.preprocess.media.reasons import ClipError
from stgcma.preprocess.pipeline.raw_storage import ANNOTATION_SUFFIXES, ClipMaker, _fetch, _files, _make_image


@dataclass(frozen=True)
class Opener:
    """Fails as code that nobody foresaw to fail: the message names the whole path."""

    raw: Path

    def __call__(self, clip):
        if clip.source == "request":
            raise InputError(f"{self.raw}/request is wrong")
        return (self.raw / clip.source).read_bytes()


@pytest.mark.parametrize("relative", [True, False])
def test_a_crash_names_its_file_relative_to_raw(tmp_path, monkeypatch, relative):
    monkeypatch.chdir(tmp_path)
    make = ClipMaker(Opener(Path("raw") if relative else tmp_path / "raw"))
    with pytest.raises(ClipError, match=r"^crashed: FileNotFoundError: .* 'AVE/a\.mp4' \(") as raised:
        make(ClipSpecification("a", "train", "AVE/a.mp4"))
    assert str(tmp_path) not in str(raised.value)


def test_a_wrong_request_is_raised_as_it_was(tmp_path):
    with pytest.raises(InputError, match="request is wrong"):
        ClipMaker(Opener(tmp_path))(ClipSpecification("a", "train", "request"))


@dataclass(frozen=True)
class Bucket:
    """Objects under names that no folder can hold as files; fsspec's memory cannot either."""

    prefix: str = ""

    def names(self):
        every = ("a", "a/b.mp4", "a/b.mp4/c.txt", f"{'x' * 256}.txt", "Annotations.txt", "v/w.mp4")
        return [name.removeprefix(self.prefix) for name in every if name.startswith(self.prefix)]

    def exists(self, _name):
        return False

    def folder(self, name):
        return Bucket(f"{name}/")

    def fetch(self, _name, target):
        target.touch()

    def __str__(self):
        return "s3://bucket"


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_objects_that_cannot_be_files_are_left_out_of_the_plan(tmp_path, capsys):
    _make_image(Bucket(), Bucket().names(), tmp_path / "raw")
    assert files_of(tmp_path / "raw") == ["Annotations.txt", "a/b.mp4/c.txt", "v/w.mp4"]
    said = "3 objects under s3://bucket have names that no file can have; they are left out\n"
    assert capsys.readouterr().err == said


def test_objects_that_cannot_be_files_are_not_fetched(tmp_path):
    _fetch(Bucket(), "a", tmp_path)
    assert files_of(tmp_path) == ["a/b.mp4/c.txt"]


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "a\0b", "", "x" * 256])
def test_names_that_lead_out_of_a_folder_are_no_files(tmp_path, name):
    assert _files([name, "a/b.mp4"]) == ["a/b.mp4"]
    bucket = Bucket()
    _fetch(bucket, name, tmp_path / "clip")
    assert not (tmp_path / "clip").exists()


def test_the_annotation_files_that_collections_read_are_fetched():
    """Names of files as they stand in the readers; media and members of shards are none of RAW's texts."""
    named = {}
    for module in Path(collections.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and re.fullmatch(r"\w+\.[a-z][a-z0-9]{1,4}", text):
                named.setdefault(Path(text).suffix, []).append(f"{text} ({module.name})")
    for suffix in (".mp4", ".wav", ".jpg", ".png", ".npy"):
        named.pop(suffix, None)
    assert {".csv", ".tsv", ".txt", ".json", ".jsonl", ".h5"} <= set(named)
    assert not {suffix: names for suffix, names in named.items() if suffix not in ANNOTATION_SUFFIXES}
