"""All registries of tasks have the same names: heads, tasks, predictors, views, collections, presets."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from stgcma.model.heads import HEADS
from stgcma.pages.tasks import VIEWS
from stgcma.pages.tasks.base import TaskView
from stgcma.predict import PREDICTORS
from stgcma.preprocess.collections import COLLECTIONS
from stgcma.preprocess.synthesis import DEMOS, SYNTHESIZERS
from stgcma.train.config import load_preset
from stgcma.train.preset_files import preset_names
from stgcma.train.tasks import TASKS
from stgcma.train.tasks.base import Task
from stgcma.train.tasks.meter import TaskResult


def test_every_registry_has_the_same_tasks():
    assert set(HEADS) == set(PREDICTORS) == set(VIEWS) == set(TASKS)
    assert {load_preset(name).task for name in preset_names()} == set(TASKS)
    assert {entry.task for _, entry in COLLECTIONS.items()} == set(TASKS)


@pytest.mark.parametrize("name", TASKS.names)
def test_a_task_says_all_that_the_program_needs(name):
    task = TASKS[name]
    assert issubclass(task, Task)
    assert task.name == name
    assert issubclass(task.result_type, TaskResult)
    assert COLLECTIONS[task.collection].task == name
    assert DEMOS[task.collection].preset == f"{name}-demo"


@pytest.mark.parametrize("name", SYNTHESIZERS.names)
def test_every_synthetic_collection_has_a_demo_of_its_task(name):
    demo = DEMOS[name]
    assert load_preset(demo.preset).task == COLLECTIONS[name].task
    for modality in demo.compared_with:
        assert load_preset(demo.preset, modality=modality).model["modality"] == modality


@pytest.mark.parametrize("name", VIEWS.names)
def test_a_view_shows_scores_that_the_task_has(name):
    vocabulary = {"words": (), "answers": ()}
    view, info = VIEWS[name], SimpleNamespace(classes=("a", "b"), vocabulary=vocabulary, features={})
    assert isinstance(view, TaskView)
    assert all((view.lead, view.score_label, view.clip_score, view.detail.title))
    scores = TASKS[name](info).meter().scores()
    assert next(iter(scores)) == TASKS[name].score_name
    assert view.metric_labels.keys() <= scores.keys()


NAMES = """
import sys
from stgcma.pages.tasks import VIEWS
from stgcma.train.tasks import TASKS
print(VIEWS.names == TASKS.names, [name for name in sys.argv[1:] if name in sys.modules])
"""


def test_the_names_of_tasks_are_known_without_torch():
    run = [sys.executable, "-c", NAMES, "torch", "numpy", "timm", "pydantic", "PIL"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"
