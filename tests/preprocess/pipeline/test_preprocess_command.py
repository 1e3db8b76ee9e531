"""`stgcma preprocess` on real encoded clips: what it writes, and what it says of bad input."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from stgcma.preprocess.media.video import decoder_choices
from stgcma.shards.manifest import read_dataset, read_manifest, read_quarantine
from stgcma.shards.reader import ClipReader, clip_places

from .real_clips import make_clip

# One decoding process: each has torch to import.
FAST = ("--features", "clip", "--workers", "1")
HEADER = "Category&VideoID&Quality&StartTime&EndTime"


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "short.mp4"
    make_clip(path, 0)
    return path


def make_ave(raw, short_clip, rows, *, files):
    """An AVE folder with `rows` in all three splits' files: the first for val, the second for test."""
    (raw / "AVE").mkdir(parents=True)
    (raw / "Annotations.txt").write_text("\n".join([HEADER, *rows]) + "\n")
    parts = {"val": rows[:1], "test": rows[1:2], "train": rows[2:]}
    for split, part in parts.items():
        (raw / f"{split}Set.txt").write_text("\n".join(part) + "\n")
    for name in files:
        shutil.copy(short_clip, raw / "AVE" / f"{name}.mp4")
    return raw


@pytest.fixture
def small_ave(tmp_path, short_clip):
    rows = [f"{name}&clip_{index}&good&0&1" for index, name in enumerate(("Bell", "Flute, Shofar", "Cat"))]
    return make_ave(tmp_path / "raw", short_clip, rows, files=["clip_0", "clip_1", "clip_2"])


def test_the_shards_hold_what_the_contract_says(ave_raw, ave_shards):
    info = read_dataset(ave_shards)
    assert (info.name, info.task, info.classes[-1]) == ("ave", "ave", "Background")
    assert {split: count["written"] for split, count in info.counts.items()} == {
        "train": 8,
        "val": 1,
        "test": 3,
    }
    records = read_manifest(ave_shards)
    assert len(records) == 12
    assert sorted(path.name for path in ave_shards.iterdir()) == [
        "dataset.json",
        "manifest.parquet",
        "quarantine.parquet",
        "shards",
    ]
    rows = {
        row.split("&")[1]: row.split("&")
        for row in (ave_raw / "Annotations.txt").read_text().splitlines()[1:]
    }
    reader = ClipReader(ave_shards)
    for record, place in zip(records, clip_places(records), strict=True):
        members = reader.read(place, check=True)
        assert sorted(members) == sorted(
            [
                "json",
                "label.npy",
                "fbank_128.npy",
                "fbank_224.npy",
                *(f"frame_{i:02d}.jpg" for i in range(10)),
            ]
        )
        category, _, _, start, end = rows[record.key]
        labels = np.load(io.BytesIO(members["label.npy"]))
        assert labels.dtype == np.int16
        event = info.classes.index(category)
        assert labels.tolist() == [
            event if int(start) <= s < int(end) else len(info.classes) - 1 for s in range(10)
        ]
        for name, shape in (("fbank_128", (10, 98, 128)), ("fbank_224", (10, 223, 224))):
            features = np.load(io.BytesIO(members[f"{name}.npy"]))
            assert (features.shape, features.dtype) == (shape, np.float16)
        image = Image.open(io.BytesIO(members["frame_00.jpg"]))
        assert (image.size, image.mode, image.format) == ((224, 224), "RGB", "JPEG")
        assert json.loads(members["json"])["seconds"] == pytest.approx(10.0, abs=0.1)
    reader.close()


def test_the_audio_statistics_are_those_of_the_training_clips(ave_shards):
    values = []
    records = read_manifest(ave_shards, split="train")
    reader = ClipReader(ave_shards)
    for place in clip_places(records):
        values.append(np.load(io.BytesIO(reader.read(place)["fbank_128.npy"])).astype(np.float64))
    reader.close()
    stats = read_dataset(ave_shards).audio["fbank_128"]
    assert stats.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert stats.std == pytest.approx(np.std(values), abs=1e-9)


def test_bad_clips_are_quarantined_and_the_run_goes_on(stgcma, tmp_path, short_clip):
    rows = [f"Bell&{name}&good&0&1" for name in ("fine", "missing", "empty", "cut", "text", "..")]
    raw = make_ave(tmp_path / "raw", short_clip, rows, files=["fine", "empty", "cut", "text"])
    (raw / "AVE" / "empty.mp4").write_bytes(b"")
    whole = short_clip.read_bytes()
    (raw / "AVE" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (raw / "AVE" / "text.mp4").write_text("not a video at all\n" * 50)
    out = tmp_path / "out"
    result = stgcma("preprocess", "ave", raw, out, *FAST, "--max-failed", "100%")
    assert result.status == 0, result.stderr
    assert "1 clips written, 5 quarantined" in result.stdout
    reasons = {record.key: record.reason for record in read_quarantine(out)}
    assert reasons.pop("cut") in ("unreadable", "truncated")
    assert reasons == {"missing": "missing", "empty": "empty", "text": "unreadable", "..": "unsafe-path"}
    assert [record.key for record in read_manifest(out)] == ["fine"]


def test_too_many_failures_are_status_3(stgcma, tmp_path, short_clip):
    rows = [f"Bell&{name}&good&0&1" for name in ("one", "two", "gone")]
    raw = make_ave(tmp_path / "raw", short_clip, rows, files=["one", "two"])
    for allowed, status in (("50%", 0), ("0.3", 3)):
        out = tmp_path / allowed
        result = stgcma("preprocess", "ave", raw, out, *FAST, "--max-failed", allowed)
        assert result.status == status
    assert "1 of 3 clips were quarantined, more than --max-failed 30%" in result.stderr


def test_a_finished_directory_is_left_as_it_is(stgcma, small_ave, tmp_path):
    out = tmp_path / "out"
    first = stgcma("preprocess", "ave", small_ave, out, *FAST)
    assert first.status == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = stgcma("preprocess", "ave", small_ave, out, *FAST)
    assert again.status == 0
    assert "was complete already" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_other_settings_are_refused_and_overwrite_starts_anew(stgcma, small_ave, tmp_path):
    out = tmp_path / "out"
    stgcma("preprocess", "ave", small_ave, out, *FAST)
    refused = stgcma("preprocess", "ave", small_ave, out, "--features", "swin")
    assert refused.status == 2
    assert "features.fbanks.swin" in refused.stderr
    assert stgcma("preprocess", "ave", small_ave, out, "--features", "swin", "--overwrite").status == 0
    assert list(read_dataset(out).audio) == ["fbank_224"]


def test_shards_of_another_collection_are_refused(stgcma, small_ave, short_clip, tmp_path):
    out = tmp_path / "out"
    stgcma("preprocess", "ave", small_ave, out, *FAST)
    (tmp_path / "folder" / "Bell").mkdir(parents=True)
    shutil.copy(short_clip, tmp_path / "folder" / "Bell" / "a.mp4")
    result = stgcma("preprocess", "folder", tmp_path / "folder", out, *FAST)
    assert result.status == 2
    assert 'collection is "ave" there, "folder" here' in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_folder_of_classes(stgcma, short_clip, tmp_path):
    for name in ("Cat/a b.mp4", "Cat/ü.MP4", "Dog/deep/er.mp4", "Dog/x.mp4"):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(short_clip, path)
    (tmp_path / "raw" / "notes.txt").write_text("hello")
    result = stgcma("preprocess", "folder", tmp_path / "raw", tmp_path / "out", *FAST)
    assert result.status == 0
    assert "1 file is not a clip in a class folder and was left out" in result.stderr
    records = read_manifest(tmp_path / "out")
    assert sorted(record.source for record in records) == [
        "Cat/a b.mp4",
        "Cat/ü.MP4",
        "Dog/deep/er.mp4",
        "Dog/x.mp4",
    ]
    assert read_dataset(tmp_path / "out").classes == ("Cat", "Dog", "Background")


def test_split_folders_are_taken_as_they_are(stgcma, short_clip, tmp_path):
    for split in ("train", "val", "test"):
        path = tmp_path / "raw" / split / "Cat" / f"{split}.mp4"
        path.parent.mkdir(parents=True)
        shutil.copy(short_clip, path)
    assert stgcma("preprocess", "folder", tmp_path / "raw", tmp_path / "out", *FAST).status == 0
    assert [record.split for record in read_manifest(tmp_path / "out")] == ["train", "val", "test"]


def test_a_silent_clip_is_quarantined_or_given_silence(stgcma, short_clip, ffmpeg, tmp_path):
    silent = tmp_path / "raw" / "Cat" / "silent.mp4"
    silent.parent.mkdir(parents=True)
    ffmpeg("-i", short_clip, "-an", "-c:v", "copy", silent)
    shutil.copy(short_clip, silent.with_name("loud.mp4"))
    arguments = (*FAST, "--max-failed", "1")
    stgcma("preprocess", "folder", tmp_path / "raw", tmp_path / "strict", *arguments)
    assert [record.reason for record in read_quarantine(tmp_path / "strict")] == ["no-audio"]
    stgcma(
        "preprocess", "folder", tmp_path / "raw", tmp_path / "lax", *arguments, "--missing-audio", "silence"
    )
    heard = {record.source: record.has_audio for record in read_manifest(tmp_path / "lax")}
    assert heard == {"Cat/loud.mp4": True, "Cat/silent.mp4": False}


def test_a_limit_below_the_number_of_splits_is_kept(stgcma, small_ave, tmp_path):
    result = stgcma("preprocess", "ave", small_ave, tmp_path / "out", *FAST, "--limit", 2)
    assert result.status == 0
    assert [record.split for record in read_manifest(tmp_path / "out")] == ["train", "val"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ave", "RAW/nowhere"), "RAW/nowhere is not a folder; give the folder of the ave collection"),
        (("kinetics", "RAW"), "collection 'kinetics' is not known; choose from ave"),
        (("ave", "RAW", "--features", "mfcc"), "features: got mfcc, choose from clip, swin, fbank_128"),
        (("ave", "RAW", "--workers", "0"), "workers is 0, must be at least 1"),
        (("ave", "RAW", "--decoder", "opencv"), "decoder is 'opencv', must be one of auto, decord, ffmpeg"),
        (("ave", "RAW", "--limit", "0"), "limit is 0, must be at least 1"),
        (
            ("ave", "RAW", "--max-failed", "many"),
            "--max-failed is 'many', must be a share such as 5% or 0.05",
        ),
        (
            ("folder", "RAW/EMPTY"),
            "RAW/EMPTY holds no videos as RAW/CLASS/*.mp4, one folder a class (0 other files)",
        ),
    ],
)
def test_wrong_requests_are_status_2_and_one_line(stgcma, small_ave, tmp_path, arguments, message):
    (small_ave / "EMPTY").mkdir()
    given = [argument.replace("RAW", str(small_ave)) for argument in arguments]
    result = stgcma("preprocess", *given[:2], tmp_path / "out", *given[2:])
    assert result.status == 2
    assert message.replace("RAW/", f"{small_ave}/", 1) in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out" / "shards").exists()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda raw: (raw / "Annotations.txt").unlink(), "Annotations.txt is missing"),
        (
            lambda raw: (raw / "Annotations.txt").write_text(f"{HEADER}\nBell&clip_0&good&0\n"),
            "Annotations.txt:2: 4 fields in 'Bell&clip_0&good&0', expected 5",
        ),
        (
            lambda raw: (raw / "Annotations.txt").write_text("Bell&clip_0&good&zero&5\n"),
            "Annotations.txt:1: start 'zero' and end '5' must be whole seconds",
        ),
        (
            lambda raw: (raw / "Annotations.txt").write_text("Bell&clip_0&good&6&5\n"),
            "Annotations.txt:1: seconds 6 to 5 must lie in order within 0 to 10",
        ),
        (
            lambda raw: (raw / "testSet.txt").write_text("Bell&other&good&0&1\n"),
            "testSet.txt:1: Bell&other&good&0&1 is not a row of Annotations.txt",
        ),
    ],
)
def test_a_broken_collection_is_named(stgcma, small_ave, tmp_path, break_it, message):
    break_it(small_ave)
    result = stgcma("preprocess", "ave", small_ave, tmp_path / "out")
    assert result.status == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_clips_that_are_links_need_to_be_allowed(stgcma, small_ave, tmp_path):
    for name in ("clip_0", "clip_1"):
        path = small_ave / "AVE" / f"{name}.mp4"
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        path.rename(tmp_path / "elsewhere" / path.name)
    (small_ave / "AVE" / "clip_0.mp4").symlink_to("clip_2.mp4")
    (small_ave / "AVE" / "clip_1.mp4").symlink_to(tmp_path / "elsewhere" / "clip_1.mp4")
    result = stgcma("preprocess", "ave", small_ave, tmp_path / "strict", *FAST, "--max-failed", "1")
    assert result.status == 0, result.stderr
    (row,) = read_quarantine(tmp_path / "strict")
    said = "AVE/clip_1.mp4 is a link that leads out of the raw folder; see --allow-links"
    assert (row.key, row.reason, row.message) == ("clip_1", "unsafe-path", said)
    result = stgcma("preprocess", "ave", small_ave, tmp_path / "lax", *FAST, "--allow-links")
    assert result.status == 0, result.stderr
    assert len(read_manifest(tmp_path / "lax")) == 3


def test_out_must_be_ours(stgcma, small_ave, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    result = stgcma("preprocess", "ave", small_ave, tmp_path / "out", "--overwrite")
    assert result.status == 2
    assert "holds other files (thesis.tex, …)" in result.stderr
    assert (tmp_path / "out" / "thesis.tex").read_text() == "precious"


def test_the_help_names_every_decoder(stgcma):
    text = " ".join(stgcma("preprocess", "--help").stdout.split())
    assert all(name in text for name in decoder_choices())
