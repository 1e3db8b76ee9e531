"""`stgcma shards verify`, `stats` and `show`: what they print, and their exit status."""

import io
import json
import re
import sys
import tarfile

import pytest
from PIL import Image
from stgcma.cli import main
from stgcma.shards.schema import QuarantineRecord

from .conftest import BINS, make_sample


@pytest.fixture
def shards(monkeypatch, capsys):
    """`shards("verify", OUT)` gives (exit status, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["stgcma", "shards", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return call


def test_verify_says_that_all_is_well(shards, directory):
    folder = directory()
    status, stdout, stderr = shards("verify", folder)
    assert (status, stdout) == (0, f"{folder}: no faults; 7 clips in 4 shards, 0 MiB\n")
    assert "verify" in stderr
    status, stdout, _ = shards("verify", folder, "--json")
    assert status == 0
    assert json.loads(stdout)["faults"] == []


def test_verify_prints_a_line_a_fault_and_ends_with_status_1(shards, directory):
    folder = directory()
    (folder / "shards" / "val-000000.tar").unlink()
    (folder / "notes.txt").write_text("hello")
    status, stdout, stderr = shards("verify", folder)
    assert status == 1
    assert stdout.splitlines() == [
        "notes.txt: is extra",
        "shards/val-000000.tar: is missing, manifest.parquet names it",
    ]
    assert f"stgcma: {folder}: 2 faults; 7 clips in 3 shards" in stderr
    status, stdout, _ = shards("verify", folder, "--json")
    assert status == 1
    assert {fault["file"] for fault in json.loads(stdout)["faults"]} == {
        "notes.txt",
        "shards/val-000000.tar",
    }


def test_verify_of_nothing_is_status_2(shards, tmp_path):
    status, stdout, stderr = shards("verify", tmp_path)
    assert (status, stdout) == (2, "")
    assert re.fullmatch(r"stgcma: .* is not a shard directory; make one with `stgcma preprocess`\n", stderr)


def test_stats_count_against_what_is_published(shards, directory):
    leaking = make_sample("test-leak")
    folder = directory(
        {
            ("train", 0): [make_sample("train-0"), make_sample("train-1")],
            ("test", 0): [leaking],
        },
        collection="ave",
        quarantine=[QuarantineRecord("gone", "AVE/gone.mp4", "missing", "not there")],
    )
    status, stdout, _ = shards("stats", folder, "--json")
    assert status == 0
    content = json.loads(stdout)
    train, whole = content["splits"]["train"], content["splits"]["all"]
    assert (train["clips"], train["published"], train["seconds_total"]) == (2, 3339, 20.0)
    assert (whole["clips"], whole["published"], whole["quarantined"]) == (3, 4143, 1)
    assert train["labels_by_class"] == {"Bell": 2, "Flute, Shofar": 2, "Background": 2}
    assert train["categories"] == {"Bell": 2}
    assert content["audio"] == {
        f"fbank_{BINS}": {"mean": -4.5, "std": 3.25},
        "published": {"mean": -4.1426, "std": 3.2001},
    }
    assert content["failures"] == {"missing": 1}
    assert content["leaks"] == {}
    status, stdout, _ = shards("stats", folder)
    assert status == 0
    assert "2 of 3,339" in stdout
    assert "questions" not in stdout
    assert "Flute, Shofar" in stdout
    assert "quarantined, missing: 1" in stdout


def test_stats_name_sources_that_leak(shards, directory):
    folder = directory()  # the sources of these keys are cut to six characters
    content = json.loads(shards("stats", folder, "--json")[1])
    assert content["leaks"] == {}
    folder = directory(
        {
            ("train", 0): [make_sample("same_1a")],
            ("val", 0): [make_sample("same_1b")],
            ("test", 0): [make_sample("same_1c"), make_sample("other")],
        },
        name="leaking",
        quarantine=[],
    )
    content = json.loads(shards("stats", folder, "--json")[1])
    shared = ["AVE/same_1.mp4"]
    assert content["leaks"] == {"train & val": shared, "train & test": shared, "val & test": shared}
    assert "leak, train & test: 1 sources (AVE/same_1.mp4)" in shards("stats", folder)[1]


def test_stats_count_questions_not_only_videos(shards, directory):
    folder = directory(task="avqa", collection="music-avqa")
    content = json.loads(shards("stats", folder, "--json")[1])
    assert content["splits"]["all"]["published"] == 9288
    assert content["questions_published"] == 45867
    assert [content["splits"][split]["questions"] for split in ("train", "val", "test", "all")] == [
        8,
        2,
        4,
        14,
    ]
    said = shards("stats", folder)[1]
    assert "questions" in said
    assert "14 of 45,867" in said


@pytest.mark.parametrize(
    ("member", "place", "message"),
    [
        ("train-1.frame_00.jpg", -512, r"is not a readable shard: the tar header at byte \d+ is damaged"),
        ("train-1.json", 0, "a clip's json is damaged: json is not JSON: Expecting value"),
        ("train-1.label.npy", 12, r"a clip's label\.npy is damaged: "),
    ],
)
def test_stats_of_a_damaged_shard_name_it(shards, directory, member, place, message):
    folder = directory()
    path = folder / "shards" / "train-000000.tar"
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        content[archive.getmember(member).offset_data + place] ^= 4
    path.write_bytes(content)
    status, stdout, stderr = shards("stats", folder)
    assert (status, stdout) == (1, "")
    assert re.fullmatch(rf"stgcma: .*train-000000\.tar:? {message}.*\n", stderr)


def test_stats_of_an_unfinished_directory_are_status_2(shards, directory):
    folder = directory()
    (folder / "dataset.json").unlink()
    status, _, stderr = shards("stats", folder)
    assert status == 2
    assert f"{folder} is not a finished shard directory: it has no dataset.json" in stderr


def test_show_prints_description_members_and_labels(shards, directory):
    picture = make_picture()
    sample = make_sample("-begins", frame_00_jpg=picture, frame_01_jpg=picture, frame_02_jpg=picture)
    folder = directory({("train", 0): [make_sample("other"), sample]}, quarantine=[])
    status, stdout, _ = shards("show", folder, "--json", "--", "-begins")
    assert status == 0
    content = json.loads(stdout)
    assert content["description"]["source"] == "AVE/-begin.mp4"
    assert content["labels"] == ["Bell", "Flute, Shofar", "Background"]
    members = {member["name"]: member for member in content["members"]}
    assert members[f"fbank_{BINS}.npy"]["content"] == f"float16 [2, 5, {BINS}]"
    assert members["frame_00.jpg"] == {
        "name": "frame_00.jpg",
        "bytes": len(picture),
        "content": "JPEG RGB 8×6",
    }
    assert members["label.npy"]["bytes"] == len(sample.members["label.npy"])
    assert "seconds: Bell, Flute, Shofar, Background" in shards("show", folder, "--", "-begins")[1]


def test_show_and_stats_list_tags_and_events(shards, directory):
    folder = directory(task="avvp", collection="other")
    code, out = shards("show", folder, "val_0")[:2]
    assert code == 0
    assert "tags: Bell, Flute, Shofar\n" in out
    assert "audible: –; Bell; Bell\n" in out
    assert "visible: Flute, Shofar; Flute, Shofar; –\n" in out
    shown = json.loads(shards("show", folder, "val_0", "--json")[1])
    assert shown["tags"] == ["Bell", "Flute, Shofar"]
    assert shown["visible"] == [["Flute, Shofar"], ["Flute, Shofar"], []]
    stats = json.loads(shards("stats", folder, "--json")[1])
    assert stats["splits"]["all"]["clips_by_tag"] == {"Bell": 7, "Flute, Shofar": 7}
    assert "clips with tag" in shards("stats", folder)[1]


def make_picture():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 10, 10)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_show_takes_the_members_out(shards, directory, tmp_path):
    picture = make_picture()
    sample = make_sample("one", frame_00_jpg=picture, frame_01_jpg=picture, frame_02_jpg=picture)
    folder = directory({("train", 0): [sample]}, quarantine=[])
    taken = tmp_path / "taken"
    status, stdout, _ = shards("show", folder, "one", "--out", taken)
    assert status == 0
    assert {path.name for path in taken.iterdir()} == {f"one.{name}" for name in ("json", *sample.members)}
    for name, content in sample.members.items():
        assert (taken / f"one.{name}").read_bytes() == content
    assert str(taken / "one.json") in stdout
    status, _, stderr = shards("show", folder, "one", "--out", taken)
    assert status == 2
    assert "is there already; choose another folder" in stderr


def test_show_of_a_clip_that_is_not_there_says_why(shards, directory):
    folder = directory()
    status, _, stderr = shards("show", folder, "gone")
    assert status == 2
    assert f"gone is in the quarantine of {folder}: missing, not there" in stderr
    status, _, stderr = shards("show", folder, "nobody")
    assert status == 2
    assert f"{folder} has no clip 'nobody'; its keys are like " in stderr


def test_show_of_a_damaged_clip_is_status_1(shards, directory):
    folder = directory()
    path = folder / "shards" / "val-000000.tar"
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    status, _, stderr = shards("show", folder, "val_0")
    assert status == 1
    assert "val_0 is damaged, its hash is not the manifest's" in stderr
