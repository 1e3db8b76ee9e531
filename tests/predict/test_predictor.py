"""Predictors: one for each task, found by file, looked up by name."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.predict import PREDICTORS, Predictor
from stgcma.predict.predictor import rank_classes
from stgcma.predict.trained import open_run
from stgcma.shards.additions import Addition, ShardRange
from stgcma.shards.manifest import read_dataset, write_dataset
from stgcma.train.evaluation import evaluate
from stgcma.train.tasks import TASKS


def test_every_task_has_a_predictor():
    assert set(PREDICTORS) == set(TASKS)
    for _, predictor in PREDICTORS.items():
        assert issubclass(predictor, Predictor)
        assert not predictor.__abstractmethods__


@pytest.mark.parametrize("name", [name for name in TASKS if not TASKS[name].several_questions])
def test_runs_without_questions_refuse_them(name):
    run = SimpleNamespace(path="run", task=SimpleNamespace(name=name))
    assert PREDICTORS[name].encode_questions(run, ()) == ()
    with pytest.raises(InputError, match=f"RUN run is for {name}, which takes none"):
        PREDICTORS[name].encode_questions(run, ("Why?",))


def test_classes_are_ranked_and_ties_keep_their_order():
    shares = np.array([0.2, 0.4, 0.0, 0.4])
    ranked = rank_classes(shares, ["a", "b", "c", "d"], 3)
    assert ranked == (("b", 0.4), ("d", 0.4), ("a", 0.2))
    assert rank_classes(shares, ["a", "b", "c", "d"], 9)[-1] == ("c", 0.0)


def test_additions_that_a_run_has_not_seen_are_named(run_of, tmp_path, capsys):
    run = shutil.copytree(run_of("ave"), tmp_path / "run")
    about = json.loads((run / "run.json").read_text())
    shards = shutil.copytree(about["shards"], tmp_path / "shards")
    info = read_dataset(shards)
    added = Addition("new", 32, {"train": ShardRange(9, 1)}, {"train": {"written": 3, "quarantined": 0}})
    write_dataset(shards, dataclasses.replace(info, additions=(*info.all_additions, added)))
    (run / "run.json").write_text(json.dumps(about | {"shards": str(shards)}))
    said = f"{run} has not seen addition 2 (3 train) of its shards"
    for use in (lambda: open_run(run, device="cpu"), lambda: evaluate(run, split="val")):
        capsys.readouterr()
        use()
        assert capsys.readouterr().err.splitlines().count(said) == 1
