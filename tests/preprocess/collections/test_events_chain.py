"""The chain of the collection events: from recordings with labels to predictions, and back to labels."""

import hashlib

import pytest
from stgcma.preprocess import Options, preprocess
from stgcma.preprocess.synthesis import synthesize
from stgcma.shards.manifest import read_manifest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events") / "raw"
    synthesize("events", folder, clips=12, seed=1, workers=1)
    return folder


def digest(folder):
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix in (".tar", ".parquet")
    )
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_shards_do_not_depend_on_the_workers(raw, tmp_path):
    for workers in (1, 3):
        outcome = preprocess(
            "events", raw, tmp_path / str(workers), Options(features=("clip",), workers=workers)
        )
        assert (outcome.written, outcome.quarantined) == (12, 0)
    assert digest(tmp_path / "1") == digest(tmp_path / "3")
    records = read_manifest(tmp_path / "1")
    assert len({(record.split, record.source) for record in records}) == 3


def test_other_windows_are_other_shards(stgcma, raw, tmp_path):
    arguments = ("preprocess", "events", raw, tmp_path / "out", "--features", "clip", "--limit", "6")
    assert stgcma(*arguments, "--window-seconds", "5").status == 0
    again = stgcma(*arguments, "--window-seconds", "5", "--hop-seconds", "5")
    assert (again.status, "was complete already" in again.stderr) == (0, True)
    other = stgcma(*arguments)
    assert other.status == 2
    assert "features.collection_options.window_seconds is 5 there, 10 here" in other.stderr


def test_predictions_are_labels_to_train_on(raw, tmp_path, small_config):
    from stgcma.predict import predict
    from stgcma.train.run import train

    preprocess("events", raw, tmp_path / "shards", Options(features=("clip",)))
    train(tmp_path / "shards", tmp_path / "run", small_config("ave", "optim.epochs=1", "optim.batch_size=4"))
    video = raw / "recording-001.mp4"
    (one,) = predict(tmp_path / "run", [video], out=tmp_path / "out").videos
    assert one.length_seconds == pytest.approx(40, abs=0.1)
    again = tmp_path / "again"
    again.mkdir()
    (again / "recording-001.mp4").symlink_to(video)
    (tmp_path / "out" / "recording-001.labels.txt").rename(again / "recording-001.labels.txt")
    (again / "recording-002.mp4").symlink_to(raw / "recording-002.mp4")
    (again / "recording-002.txt").write_bytes((raw / "recording-002.txt").read_bytes())
    from stgcma.preprocess.collections.events import read

    collection = read(again, allow_links=True)
    names = {
        (clip.start_seconds + second): collection.classes[label]
        for clip in collection.clips
        if clip.source == "recording-001.mp4"
        for second, label in enumerate(clip.labels)
    }
    assert names == {second.start: second.name for second in one.seconds}
