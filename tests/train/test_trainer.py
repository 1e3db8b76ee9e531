"""The records of a training: every score that the task's meter has."""

import pytest
from stgcma.train.evaluation import evaluate
from stgcma.train.run import train
from stgcma.train.run_folder import RunFolder
from stgcma.train.run_records import METRICS


def test_every_score_is_recorded(kept_shards, small_config, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = RunFolder(tmp_path / "run")
    train(kept_shards("ave"), run.path, small_config("ave", "optim.epochs=1", "optim.batch_size=1"))
    (row,) = run.records.read(METRICS)
    metrics = evaluate(run.path, split="val").metrics
    assert len(metrics) > 1
    assert {name: row[f"val_{name}"] for name in metrics} == metrics
    board = EventAccumulator(str(run.tensorboard))
    board.Reload()
    for name, value in metrics.items():
        if value is not None:
            (scalar,) = board.Scalars(f"epoch/val_{name}")
            assert scalar.value == pytest.approx(value)
