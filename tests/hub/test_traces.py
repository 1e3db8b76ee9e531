"""Traces of a machine in files of every kind are found, and other texts are not."""

import io
import json
import struct

import pytest
from stgcma.errors import InputError
from stgcma.hub.pushed_file import PushedFile
from stgcma.hub.traces import Machine, TraceSearch
from stgcma.public_paths import without_paths
from stgcma.shards.manifest import write_table
from stgcma.shards.schema import QuarantineRecord
from stgcma.shards.storage import open_store
from stgcma.shards.writer import end_of_archive

MACHINE = Machine(
    {"/home/eva": "the home folder", "/data/runs/run": "the folder of the pushed files"}, "eva", ("laptop",)
)


def found(name, content):
    return [
        (trace.place, trace.text, trace.what)
        for trace in TraceSearch(MACHINE).traces(PushedFile(name, content))
    ]


CREDENTIALS = "a URL with credentials, which are not shown here"


@pytest.mark.parametrize(
    ("text", "place", "trace", "what"),
    [
        ('{"a": 1,\n"cache": "/home/eva"}', "line 2", "/home/eva", "the home folder"),
        ('"host": "Laptop"', "line 1", "Laptop", "the host's name"),
        ('"x": "/mnt/eva/clip.mp4"', "line 1", "/mnt/eva/clip.mp4", "a path with the user's name"),
        ("see /srv/lab/raw for it", "line 1", "/srv/lab/raw", "an absolute path"),
        ("~/runs", "line 1", "~/runs", "an absolute path"),
        ("see eva@laptop", "line 1", "laptop", "the host's name"),
        ("http://laptop:8080/x", "line 1", "laptop", "the host's name"),
        ("on laptop.local", "line 1", "laptop", "the host's name"),
        ('"w": "https://eva:x@host/w.pt"', "line 1", "https://host/w.pt", CREDENTIALS),
        ('"w": "https://host/w.pt?X-Amz-Signature=1"', "line 1", "https://host/w.pt", CREDENTIALS),
        (r'"C:\\Users\\me"', "line 1", r"C:\\Users\\me", "an absolute path"),
    ],
)
def test_traces_in_texts(text, place, trace, what):
    assert (place, trace, what) in found("run.json", text.encode())


@pytest.mark.parametrize(
    "text",
    [
        *("raw/eva/clip.mp4", "https://huggingface.co/eva/dogs", "hf://datasets/eva/clips", "/m/0dl9sf8"),
        *("laptop", "laptop: the train split", "s3://laptop/eva", "https://host/w?v=2&design=1"),
        *("laptops", "1/2", "and / or", "eva/dogs", "s3://bucket/eva", r"\u00e9\u00e8", "clips/s", "/home"),
    ],
)
def test_other_texts_are_no_traces(text):
    assert found("README.md", text.encode()) == []


def test_bytes_are_searched_across_the_parts_that_are_read(monkeypatch):
    monkeypatch.setattr("stgcma.hub.traces._CHUNK_BYTES", 16)
    assert found("prediction.png", bytes(12) + b"/home/eva/x" + bytes(40)) == [
        ("byte 12", "/home/eva", "the home folder")
    ]
    assert found("prediction.png", b"laptop /mnt/eva/x ~/x") == []  # by chance, in pictures


def test_headers_descriptions_and_tables_are_searched(tmp_path):
    header = json.dumps({"__metadata__": {"stgcma": json.dumps({"weights": "/srv/w/b.pt"})}}).encode()
    tensors = struct.pack("<Q", len(header)) + header + bytes(8)
    assert found("adapters.safetensors", tensors) == [("its header", "/srv/w/b.pt", "an absolute path")]

    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (("a.json", b'{"source": "/srv/raw/a.mp4"}'), ("a.frame_00.jpg", b"/srv/raw/b")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    members = buffer.getvalue()[: 4 * 512]
    tar = members + end_of_archive(len(members))
    assert found("shards/train-000000.tar", tar) == [("a.json", "/srv/raw/a.mp4", "an absolute path")]

    rows = [QuarantineRecord("a", "a.mp4", "damaged", "cannot open /srv/raw/a.mp4")]
    write_table(open_store(tmp_path), "quarantine.parquet", rows, QuarantineRecord)
    assert found("quarantine.parquet", tmp_path / "quarantine.parquet") == [
        ("column message", "/srv/raw/a.mp4", "an absolute path")
    ]


def test_files_and_places_are_named_and_texts_can_be_allowed():
    files = [PushedFile("run.json", b'"/home/eva"'), PushedFile("config.yaml", b"host: laptop")]
    with pytest.raises(
        InputError, match=r"run\.json, line 1, has '/home/eva', the home folder; config\.yaml, line 1"
    ):
        TraceSearch(MACHINE).check(files)
    with pytest.raises(InputError, match=r"nothing was sent: config\.yaml"):
        TraceSearch(MACHINE, ["/home/eva"]).check(files)
    TraceSearch(MACHINE, ["/home/eva", "laptop"]).check(files)


@pytest.mark.parametrize("host", ["eva-laptop", "gpu01", "evasworkstation"])
def test_the_name_of_a_host_that_is_no_usual_word_is_found_anywhere(host):
    search = TraceSearch(Machine({}, "eva", (host,)))
    (trace,) = search.traces(PushedFile("README.md", f"trained on {host}".encode()))
    assert trace.text == host


def test_this_machine_is_known_by_its_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setenv("LOGNAME", "mallory")
    monkeypatch.setattr("socket.gethostname", lambda: "tower.lab.example")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    machine = Machine.here(tmp_path / "link")
    assert machine.user == "mallory"
    assert {"tower.lab.example", "tower"} <= set(machine.hosts)
    assert {str(tmp_path / name) for name in ("home", "link", "real")} | {
        str(tmp_path)
    } == machine.folders.keys()


def test_urls_in_records_lose_their_credentials():
    content = {
        "weights": "https://eva:secret@host/w.pt?v=2",
        "cache": ["s3://KEY:SECRET@bucket/cache", "hf://datasets/eva/clips"],
        "note": "from https://host/w?X-Amz-Credential=a&X-Amz-Signature=b and HTTP://host/?",
    }
    assert without_paths(content) == {
        "weights": "https://host/w.pt?v=2",
        "cache": ["s3://bucket/cache", "hf://datasets/eva/clips"],
        "note": "from https://host/w and HTTP://host/?",
    }


def test_paths_in_records_become_names():
    content = {
        "shards": "/data/eva/shards",
        "backbone": {"weights": "/home/eva/ViT-B-16.pt", "kind": "file"},
        "init_from": {"path": "C:\\runs\\first", "sha256": "0" * 64},
        "model": {"weights": "~/w.pth", "depths": [1, 2]},
        "classes": ["/m/0dl9sf8", "Dog / cat", "a/b"],
        "score": None,
    }
    assert without_paths(content, shards="hf:datasets/eva/clips") == {
        "shards": "hf:datasets/eva/clips",
        "backbone": {"weights": "ViT-B-16.pt", "kind": "file"},
        "init_from": {"path": "first", "sha256": "0" * 64},
        "model": {"weights": "w.pth", "depths": [1, 2]},
        "classes": ["/m/0dl9sf8", "Dog / cat", "a/b"],
        "score": None,
    }
