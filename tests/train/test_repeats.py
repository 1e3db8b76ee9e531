"""`train --seeds` and `ablate`: several runs of one configuration."""

import json

import pytest

from ..conftest import SMALL

SETTINGS = (*SMALL["ave"], "optim.epochs=1", "optim.warmup_epochs=0", "data.workers=0")
FEW = tuple(word for setting in SETTINGS for word in ("--set", setting))


def test_several_seeds_have_a_mean_and_a_deviation(stgcma, four_clips, tmp_path):
    run = tmp_path / "seeds"
    arguments = ("train", four_clips, "--preset", "ave-demo", "--run", run, *FEW, "--seeds", 2)
    result = stgcma(*arguments)
    assert result.status == 0, result.stderr
    kept = json.loads((run / "seeds.json").read_text())
    scores = [
        json.loads((run / f"seed-{seed}" / "evaluation-test.json").read_text())["score"] for seed in (0, 1)
    ]
    assert [row["score"] for row in kept["runs"]] == scores
    assert kept["mean"] == pytest.approx(sum(scores) / 2)
    assert kept["std"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    assert f"{100 * kept['mean']:.2f} % ± {100 * kept['std']:.2f} % over 2 seeds" in result.stdout
    again = json.loads(stgcma(*arguments, "--resume", "--json").stdout)
    assert again["mean"] == kept["mean"]


@pytest.mark.slow
def test_the_ablation_trains_five_models(stgcma, four_clips, tmp_path):
    run = tmp_path / "ablation"
    result = stgcma(
        *("ablate", four_clips, "--preset", "ave-demo", "--run", run),
        *FEW,
    )
    assert result.status == 0, result.stderr
    rows = json.loads((run / "ablation.json").read_text())["runs"]
    assert [row["run"] for row in rows] == [
        "frozen",
        "+temporal",
        "+temporal+spatial",
        "+temporal+global",
        "all",
    ]
    trained = [row["trainable_parameters"] for row in rows]
    assert trained[0] < trained[1] < trained[2] == trained[3] < trained[4]
    for row in rows:
        assert row["run"] in result.stdout
    page = run / "comparison.html"
    assert str(page) in result.stdout
    assert ">+temporal+global</th>" in page.read_text()
