"""A run folder refuses other settings, other data and a run in its place; tested without a model."""

import pytest
from stgcma.errors import InputError
from stgcma.train.run_folder import RunFolder
from stgcma.train.run_records import METRICS, STEPS


@pytest.fixture
def run(tmp_path, small_config):
    """A run that was begun on the data `aaaa`."""
    folder = RunFolder.create(tmp_path / "run")
    folder.write_config(small_config("ave"))
    folder.write_json("run.json", {"data_fingerprint": "a" * 64})
    return folder


def test_a_run_goes_on_with_the_same_settings_and_data(run, small_config):
    run.check_resumable(small_config("ave"), "a" * 64)
    run.check_resumable(small_config("ave", "data.workers=3"), "a" * 64)  # changes no number


def test_other_settings_are_named(run, small_config):
    with pytest.raises(InputError, match=r"cannot be resumed: train\.seed was 0, is 1; the option overwrite"):
        run.check_resumable(small_config("ave", "train.seed=1"), "a" * 64)


def test_other_data_are_named(run, small_config):
    with pytest.raises(InputError, match="the shards were aaaaaaaaaaaa, are bbbbbbbbbbbb"):
        run.check_resumable(small_config("ave"), "b" * 64)


def test_a_run_is_not_replaced_unasked(run):
    with pytest.raises(InputError, match="holds a run already; resume it"):
        RunFolder.create(run.path)
    assert RunFolder.create(run.path, overwrite=True).path == run.path


def test_lines_after_the_last_state_are_taken_back(run):
    for step in range(1, 5):
        run.records.append(STEPS, {"step": step})
        run.records.append(METRICS, {"epoch": step})
    with (run.path / STEPS).open("a") as stream:
        stream.write('{"step": 5, "cut')
    run.records.rewind(step=3, epoch=1)
    assert [row["step"] for row in run.records.read(STEPS)] == [1, 2, 3]
    assert [row["epoch"] for row in run.records.read(METRICS)] == [1]
