"""`compare`: combinations of settings, what is trained again, and the table and page of the results."""

import json
import re

import pytest
from stgcma.errors import InputError
from stgcma.train import make_variants
from stgcma.train.comparison import compare

from ..conftest import SMALL

SETTINGS = (*SMALL["ave"], "optim.epochs=1", "optim.warmup_epochs=0", "data.workers=0", "optim.batch_size=1")


def test_every_combination_is_a_variant():
    over = ["modality=av,video", "optim.adapter_lr=1e-3,2e-3"]
    variants = make_variants("ave-demo", over, SETTINGS)
    assert [variant.name for variant in variants] == [
        "modality=av,adapter_lr=1e-3",
        "modality=av,adapter_lr=2e-3",
        "modality=video,adapter_lr=1e-3",
        "modality=video,adapter_lr=2e-3",
    ]
    assert [variant.config.optim.adapter_lr for variant in variants] == [1e-3, 2e-3] * 2
    assert [variant.config.model.get("modality") for variant in variants] == [None, None, "video", "video"]
    assert variants[1].choices == {"modality": "av", "optim.adapter_lr": "2e-3"}


def test_commas_in_brackets_belong_to_a_value():
    small, smaller = make_variants("ave-demo", ["model.heads=[2],[4]"], SETTINGS)
    assert (small.config.model["heads"], smaller.config.model["heads"]) == ([2], [4])
    assert small.name == "heads=-2-"


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ([], "--over is needed"),
        (["modality"], "must look like setting=value,value"),
        (["modality=av,"], "must look like setting=value,value"),
        (["colour=red"], "'colour' is none of adapter, backbone, modality"),
        (["modality=av,av"], "has a value twice"),
        (["modality=av", "modality=video"], "names the same setting twice"),
        (["modality=touch"], "touch"),
        (["optim.adapter_lr=1e-3,0.001"], None),
        (["model.heads=[2],(2)"], "heads"),
        (["data.cache=a/b,a-b"], "two values that make one name of a folder: data.cache=a/b,a-b"),
    ],
)
def test_wrong_settings_are_named(over, said):
    if said is None:  # two spellings are two folders
        assert len(make_variants("ave-demo", over, SETTINGS)) == 2
        return
    with pytest.raises(InputError, match=re.escape(said)):
        make_variants("ave-demo", over, SETTINGS)


def test_too_many_runs_are_refused(four_clips, tmp_path, monkeypatch):
    monkeypatch.setattr("stgcma.train.comparison.train_each", None)
    variants = make_variants("ave-demo", ["modality=av,video"], SETTINGS)
    with pytest.raises(InputError, match="1,002 runs are more than 1,000"):
        compare(four_clips, tmp_path, variants, seeds=501)


def test_models_are_compared_and_only_what_is_missing_is_trained(stgcma, four_clips, tmp_path):
    runs = tmp_path / "runs"
    few = [word for setting in SETTINGS for word in ("--set", setting)]
    command = ["compare", four_clips, "--preset", "ave-demo", "--run", runs, *few]
    first = stgcma(*command, "--over", "modality=av,video")
    assert first.status == 0, first.stderr
    assert "modality" in first.stdout
    assert "seeds" not in first.stdout
    both, video = json.loads((runs / "comparison.json").read_text())["models"]
    assert (both["name"], both["std"], video["name"]) == ("modality=av", None, "modality=video")
    for cost in ("trained_parameters", "clip_memory_bytes", "checkpoint_bytes"):
        assert video[cost] < both[cost]
    page = (runs / "comparison.html").read_text()
    assert page.count("<svg") == 3
    assert '<th scope="row" class="text">video</th>' in page

    result = stgcma(*command, "--over", "modality=video", "--seeds", 2, "--json")
    assert result.status == 0, result.stderr
    assert result.stderr.count("is finished already") == 1
    table = json.loads(result.stdout)
    assert table == json.loads((runs / "comparison.json").read_text())
    (model,) = table["models"]
    scores = [
        json.loads((runs / "modality=video" / f"seed-{seed}" / "evaluation-test.json").read_text())["score"]
        for seed in (0, 1)
    ]
    assert [run["score"] for run in model["runs"]] == scores
    assert model["mean"] == pytest.approx(sum(scores) / 2)
    assert model["std"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    best = runs / "modality=video" / "seed-0" / "checkpoints" / "best"
    assert model["checkpoint_bytes"] == sum(file.stat().st_size for file in best.iterdir())
    assert model["step_seconds"] > 0
    for name in table["baselines"]:
        assert f"baseline: {name}" in (runs / "comparison.html").read_text()


def test_a_model_that_cannot_be_built_is_refused_before_the_training(stgcma, four_clips, tmp_path):
    command = ["compare", four_clips, "--preset", "ave-demo", "--run", tmp_path / "runs"]
    result = stgcma(*command, "--over", "adapter=none,lara")
    assert result.status == 2
    assert result.stderr.startswith("stgcma: adapter: 'lara', expected one of cola, ")
    assert not (tmp_path / "runs").exists()
