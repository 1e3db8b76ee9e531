"""Training on an fbank that is a column."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stgcma.columns import drop_column
from stgcma.errors import InputError
from stgcma.model import preset_config
from stgcma.shards.columns import read_column
from stgcma.shards.manifest import read_dataset, read_manifest, write_dataset, write_manifest
from stgcma.shards.members import read_array
from stgcma.shards.reader import ClipReader, clip_places
from stgcma.shards.schema import Sample
from stgcma.shards.writer import write_shard
from stgcma.train import run as running
from stgcma.train.evaluation import evaluate
from stgcma.train.run import train
from stgcma.train.run_folder import RunFolder

from ..columns.added import add
from .conftest import item, load
from .stream_shards import FEW, write_shards

SWIN = {"mel_bins": 224, "frame_shift_milliseconds": 4.4, "target_frames": 224}
SETTINGS = {"kind": "fbank", "fbank": SWIN}
MODEL = preset_config("ave-demo", audio_shape=(224, 224))


@pytest.fixture(scope="module")
def both(four_clips, tmp_path_factory):
    """A directory with both fbanks, and the fbanks of 224 bins by key."""
    out = tmp_path_factory.mktemp("both") / "out"
    write_shards(four_clips, out, FEW)
    reader, fbanks = ClipReader(out), {}
    for place in clip_places(read_manifest(out)):
        fbanks[place.key] = read_array(reader.read(place)["fbank_224.npy"], "fbank_224.npy")
    reader.close()
    return out, fbanks


@pytest.fixture
def narrow(both, tmp_path):
    """The same without that fbank."""
    source, out = both[0], tmp_path / "narrow"
    info, records, reader = read_dataset(source), read_manifest(source), ClipReader(source)
    by_shard = {}
    for record, place in zip(records, clip_places(records), strict=True):
        members = reader.read(place)
        description = json.loads(members.pop("json"))
        del members["fbank_224.npy"]
        fields = {name: value for name, value in description.items() if name not in record._fields}
        values = (record.source, record.seconds, record.fps, record.has_audio, record.decoder)
        by_shard.setdefault(record.shard, []).append(Sample(record.key, members, fields, *values))
    reader.close()
    (out / "shards").mkdir(parents=True)
    written = []
    for shard, samples in by_shard.items():
        split, index = shard.removesuffix(".tar").split("-")
        written += write_shard(out / "shards", split, int(index), samples)
    shutil.copy(source / "quarantine.parquet", out)
    features = info.features | {"fbanks": {"clip": info.features["fbanks"]["clip"]}}
    files = info.files | {"manifest.parquet": write_manifest(out, written)}
    audio = {"fbank_128": info.audio["fbank_128"]}
    write_dataset(out, type(info)(**{**vars(info), "files": files, "features": features, "audio": audio}))
    return out


def add_swin(out, both, **options):
    return add(out, member="fbank_224", settings=SETTINGS, arrays=both[1].__getitem__, **options)


def test_without_the_column_its_command_is_named(dataset, narrow):
    command = (
        rf"has no fbank_224 \(it has fbank_128\); add it with `stgcma shards add-column {narrow} fbank_224"
    )
    with pytest.raises(InputError, match=command):
        dataset(narrow, model=MODEL)


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_clips_are_those_of_a_directory_with_both(dataset, narrow, both, mixup):
    add_swin(narrow, both)
    statistics = {"fbank_mean": -5.0, "fbank_std": 3.0, "seed": 1, "mixup": mixup, "model": MODEL}
    joined, whole = dataset(narrow, **statistics), dataset(both[0], **statistics)
    assert len(joined) == 8
    for index in range(3):
        one, other = joined[item(index)], whole[item(index)]
        assert one.key == other.key
        assert all(torch.equal(one.inputs[name], other.inputs[name]) for name in ("video", "audio"))


def test_statistics_are_those_of_the_column(dataset, narrow, both):
    added = add_swin(narrow, both)
    clips = dataset(narrow, model=MODEL)
    training = np.concatenate([both[1][place.key].ravel() for place in clips.places]).astype(np.float64)
    assert (clips.normalisation.mean, clips.normalisation.std) == (
        added.info.audio.mean,
        added.info.audio.std,
    )
    assert clips.normalisation.mean == pytest.approx(training.mean())
    assert clips.info.features["fbanks"]["fbank_224"] == SWIN


def test_clips_that_the_column_lacks_are_left_out(dataset, narrow, both):
    add_swin(narrow, both, bad=("clip-01", "clip-04"))
    clips = dataset(narrow, model=MODEL)
    keys = [place.key for place in clips.places]
    assert clips.without_column == 2
    assert len(keys) == 6
    assert not {"clip-01", "clip-04"} & set(keys)
    assert sorted(key for batch in load(clips, workers=2) for key in batch.keys) == sorted(keys)
    assert "2 train clips are left out: the column fbank_224 lacks them" in clips.lacking


def test_other_models_do_not_read_it(dataset, narrow, both):
    add_swin(narrow, both, bad=("clip-01",))
    assert len(dataset(narrow)) == 8


@pytest.mark.slow
@pytest.mark.parametrize("read", ["indexed", "streamed"])
def test_a_run_on_a_column_has_the_score_of_one_on_both(narrow, both, small_config, tmp_path, read):
    add_swin(narrow, both)
    settings = (
        "optim.epochs=1",
        f"data.read={read}",
        "data.fbank_mean=-5",
        "data.fbank_std=3",
        "data.workers=0",
    )
    config = small_config("ave", *settings, audio_shape=(224, 224))
    found = []
    for name, shards in (("one", narrow), ("other", both[0])):
        summary = train(shards, tmp_path / name, config)
        found.append((summary.best_score, evaluate(tmp_path / name, split="val").score))
    assert found[0] == found[1]
    assert (tmp_path / "one" / "evaluation-val.json").exists()


def test_a_run_is_resumed_with_its_column_only(dataset, narrow, both, small_config, tmp_path):
    add_swin(narrow, both, bad=("clip-01",))
    clips = dataset(narrow, model=MODEL)
    run, config, info = RunFolder(tmp_path / "run"), small_config("ave"), read_dataset(narrow)
    assert clips.columns == {"fbank_224": read_column(narrow, "fbank_224").sha256}
    assert dataset(narrow).columns == {}
    about = running._data(narrow, clips, SimpleNamespace(size=1), None, None)
    assert about["columns"] == clips.columns
    running._write_folder(run, config, info, about, resume=False, overwrite=False)
    running._check_resumable(run, config, narrow, info, None)
    add_swin(narrow, both, retry_quarantined=True)
    with pytest.raises(InputError, match=r"cannot be resumed: the column fbank_224 was \w{12}, is \w{12};"):
        running._check_resumable(run, config, narrow, info, None)
    drop_column(narrow, "fbank_224")
    with pytest.raises(InputError, match=r"the column fbank_224 was \w{12}, is gone; the option overwrite"):
        running._check_resumable(run, config, narrow, info, None)
    run.write_json("summary.json", {})
    running._check_resumable(run, config, narrow, info, None)
    del about["columns"]  # as earlier versions wrote it
    run.write_json("run.json", about)
    (run.path / "summary.json").unlink()
    running._check_resumable(run, config, narrow, info, None)
    run.write_json("run.json", about | {"columns": ["fbank_224"]})
    with pytest.raises(InputError, match=r"run\.json has columns that are no hashes"):
        running._check_resumable(run, config, narrow, info, None)
