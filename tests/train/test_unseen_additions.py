"""A run says which additions to its shards it has not seen."""

import dataclasses
import json
import uuid
from types import SimpleNamespace

import pytest
from stgcma.errors import InputError, StgcmaError
from stgcma.pages import report
from stgcma.shards.additions import Addition, ShardRange
from stgcma.shards.manifest import read_dataset, write_dataset
from stgcma.train import run as training
from stgcma.train.run_folder import RunFolder
from stgcma.train.unseen import unseen_additions, unseen_by_run


@pytest.fixture
def shards(four_clips):
    return read_dataset(four_clips)


def grown(info, *plans):
    """The description after additions of the plans `plans`, of three clips each."""
    additions = [
        Addition(plan, 32, {"train": ShardRange(number, 1)}, {"train": {"written": 3, "quarantined": 0}})
        for number, plan in enumerate(plans, 1)
    ]
    return dataclasses.replace(info, plan_sha256="whole", additions=(*info.all_additions, *additions))


def test_additions_since_the_training_are_named(shards):
    once, twice = grown(shards, "a"), grown(shards, "a", "b")
    assert unseen_additions(shards, once) == "addition 2 (3 train)"
    assert unseen_additions(shards, twice) == "addition 2 (3 train), addition 3 (3 train)"
    assert unseen_additions(once, twice) == "addition 3 (3 train)"


def test_other_shards_have_no_additions(shards):
    twice = grown(shards, "a", "b")
    for trained, present in ((shards, shards), (twice, twice), (twice, shards), (grown(shards, "c"), twice)):
        assert unseen_additions(trained, present) is None
    other = dataclasses.replace(shards, plan_sha256="other")
    assert unseen_additions(other, twice) is None


@pytest.fixture
def run(tmp_path, shards, small_config):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_config(small_config("ave"))
    folder.write_dataset(shards)
    (tmp_path / "shards").mkdir()
    about = {"shards": str(tmp_path / "shards"), "data_fingerprint": shards.data_fingerprint}
    folder.write_json("run.json", about)
    write_dataset(tmp_path / "shards", grown(shards, "a"))
    return folder


def test_shards_that_are_not_there_are_no_error(run, tmp_path):
    line = f"{run.path} has not seen addition 2 (3 train) of its shards"
    assert unseen_by_run(run) == line
    (tmp_path / "shards" / "dataset.json").unlink()
    assert unseen_by_run(run) is None
    about = json.loads((run.path / "run.json").read_text())
    run.write_json("run.json", about | {"shards": "s3://bucket/shards"})
    assert unseen_by_run(run) is None


def test_resuming_names_the_additions(run, shards, small_config):
    config = small_config("ave")
    training._check_resumable(run, config, "", shards, None)
    with pytest.raises(
        InputError, match=r"the shards were .*; .* has not seen addition 2 \(3 train\) of its"
    ):
        training._check_resumable(run, config, "", grown(shards, "a"), None)
    with pytest.raises(InputError, match=r"the shards were [^;]*; the option overwrite starts anew$"):
        training._check_resumable(run, config, "", dataclasses.replace(shards, plan_sha256="other"), None)


def test_a_report_names_the_additions(run, shards):
    for location in (str(run.path.parent / "shards"), f"memory://{uuid.uuid4().hex}"):
        write_dataset(location, grown(shards, "a"))
        about = {"shards": location, "data_fingerprint": shards.data_fingerprint}
        run.write_json("run.json", about)
        account = SimpleNamespace(folder=run, result=SimpleNamespace(**about), facts=SimpleNamespace(**about))
        with pytest.raises(StgcmaError, match=r"other data now: .* has not seen addition 2 \(3 train\)"):
            report._read_shards(account)
