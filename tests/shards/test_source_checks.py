"""`shards verify --sources RAW`: raw files against what the manifest recorded of them."""

import hashlib
import json
import uuid
from dataclasses import replace

import fsspec
import pyarrow.parquet as pq
import pytest
from stgcma.shards.manifest import read_dataset, read_manifest, write_dataset
from stgcma.shards.schema import SourceFile

from .conftest import make_sample

LATER = ["source_files", "source_bytes", "source_sha256"]


def described(name, content):
    return SourceFile(name, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def made(directory, tmp_path):
    """A directory of three clips, two of them from one film, one with a mask; and its RAW."""
    raw = tmp_path / "raw"
    (raw / "AVE").mkdir(parents=True)
    contents = {"AVE/film.mp4": b"a film", "AVE/other.mp4": b"another", "mask.png": b"a mask"}
    for name, content in contents.items():
        (raw / name).write_bytes(content)
    files = {name: described(name, content) for name, content in contents.items()}
    samples = [
        replace(make_sample("one"), source_files=(files["AVE/film.mp4"],)),
        replace(make_sample("two"), source_files=(files["AVE/film.mp4"],)),
        replace(make_sample("three"), source_files=(files["AVE/other.mp4"], files["mask.png"])),
    ]
    return directory({("train", 0): samples}, quarantine=[]), raw


def test_unchanged_sources_have_no_faults(made, stgcma):
    out, raw = made
    result = stgcma("shards", "verify", out, "--sources", raw)
    assert result.status == 0, result.stdout + result.stderr
    assert "no faults; 3 clips in 1 shards" in result.stdout
    assert "3 source files" in result.stdout
    rows = read_manifest(out)
    assert rows[2].sources == (described("AVE/other.mp4", b"another"), described("mask.png", b"a mask"))


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("AVE/film.mp4", None, "is missing; clips made of it: one, two"),
        ("AVE/film.mp4", b"a film, cut anew", "is 16 bytes long, 6 were read; clips made of it: one, two"),
        (
            "AVE/other.mp4",
            b"Another",
            "has changed, its hash is not the one that was read; clips made of it: three",
        ),
        (
            "mask.png",
            b"A mask",
            "has changed, its hash is not the one that was read; clips made of it: three",
        ),
    ],
)
def test_a_source_that_is_another_is_named(made, stgcma, name, content, fault):
    out, raw = made
    (raw / name).unlink() if content is None else (raw / name).write_bytes(content)
    result = stgcma("shards", "verify", out, "--sources", raw, "--json")
    assert result.status == 1
    said = json.loads(result.stdout)
    assert said["faults"] == [{"file": f"{raw}/{name}", "what": fault}]
    assert said["sources"] == 3
    assert stgcma("shards", "verify", out).status == 0, "without --sources RAW is not looked at"


def test_sources_behind_a_url(made, stgcma):
    out, raw = made
    root = f"/{uuid.uuid4().hex}"
    memory = fsspec.filesystem("memory")
    memory.put(str(raw), root, recursive=True)
    assert stgcma("shards", "verify", out, "--sources", f"memory:/{root}").status == 0
    memory.pipe_file(f"{root}/mask.png", b"A mask")
    assert "has changed" in stgcma("shards", "verify", out, "--sources", f"memory:/{root}").stdout
    memory.rm(root, recursive=True)


def test_names_that_lead_out_of_raw_are_not_opened(directory, tmp_path, stgcma):
    raw = tmp_path / "raw"
    raw.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    files = tuple(described(name, b"secret") for name in ("../secret", str(tmp_path / "secret")))
    out = directory({("train", 0): [replace(make_sample("one"), source_files=files)]}, quarantine=[])
    result = stgcma("shards", "verify", out, "--sources", raw)
    assert result.status == 1
    assert result.stdout.count("leads out of the raw folder") == 2


def test_a_raw_that_is_no_folder_is_refused(made, stgcma, tmp_path):
    result = stgcma("shards", "verify", made[0], "--sources", tmp_path / "nowhere")
    assert result.status == 2
    assert "is not a folder; give the RAW that the shards were made of" in result.stderr


def test_manifests_of_earlier_versions_open_and_say_that_nothing_is_recorded(made, stgcma):
    out, raw = made
    table = pq.read_table(out / "manifest.parquet").drop_columns(LATER)
    pq.write_table(table, out / "manifest.parquet", write_page_checksum=True)
    rows = read_manifest(out)
    assert [row.sources for row in rows] == [(), (), ()]
    assert rows[0].warnings == ("a warning",)
    digest = hashlib.sha256((out / "manifest.parquet").read_bytes()).hexdigest()
    info = read_dataset(out)
    write_dataset(out, replace(info, files=info.files | {"manifest.parquet": digest}))
    assert stgcma("shards", "verify", out).status == 0
    result = stgcma("shards", "verify", out, "--sources", raw)
    assert result.status == 2
    assert f"{out}/manifest.parquet records no hashes of source files: an earlier version" in result.stderr
