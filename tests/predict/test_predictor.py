"""Predictors: one for each task, found by file, looked up by name."""

from types import SimpleNamespace

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.predict import PREDICTORS, Predictor
from stgcma.predict.predictor import rank_classes
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
