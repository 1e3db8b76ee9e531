"""Runs that a page may show together, and the lines that it may draw together."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from stgcma.errors import InputError
from stgcma.pages import runs
from stgcma.pages.report import charts
from stgcma.train.tasks import TASKS


def account(path, score_name):
    return SimpleNamespace(
        folder=SimpleNamespace(path=path),
        config=SimpleNamespace(task="avc"),
        result=SimpleNamespace(score_name=score_name),
    )


def test_runs_with_other_scores_are_refused(monkeypatch):
    scores = {"one": "accuracy", "several": "map"}
    monkeypatch.setattr(runs, "_read", lambda path, *_: account(path, scores[path.name]))
    message = "RUN several has the score map, one accuracy; a page shows runs with one score"
    with pytest.raises(InputError, match=message):
        runs.read_runs([Path("one"), Path("several")], "test")


@pytest.mark.parametrize(
    ("task", "features", "score"),
    [
        ("ave", {}, "accuracy"),
        ("avqa", {}, "accuracy"),
        ("avs", {}, "miou"),
        ("avss", {}, "frame_miou"),
        ("avvp", {}, "tag_f"),
        ("avc", {"labels_per_clip": "one"}, "accuracy"),
        ("avc", {"labels_per_clip": "several"}, "clip_average_precision"),
    ],
)
def test_a_training_score_has_the_name_of_its_measure(task, features, score):
    info = SimpleNamespace(features=features, vocabulary={"words": [], "answers": []})
    assert TASKS[task](info).training_score_name == score


@pytest.mark.parametrize(("training", "lines"), [("train_map", ("train", "val")), (None, ("val",))])
def test_a_training_score_of_another_measure_is_not_drawn(training, lines):
    epoch = runs.Epoch(1, {"loss": 1.0, "train_map": 0.5, "val_map": 0.25})
    result = SimpleNamespace(score_name="map")
    run = SimpleNamespace(epochs=[epoch], result=result, training_score=training, selected_on="val")
    _, scores = charts([run], "mAP")
    assert scores.names == lines
