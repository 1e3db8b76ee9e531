"""An optimiser step: numbers that are not finite, and half precision."""

import json

import pytest
import torch
from stgcma.errors import StgcmaError
from stgcma.train import step
from stgcma.train.run import train


def test_a_loss_that_is_not_finite_stops_before_the_step(four_clips, small_config, tmp_path, monkeypatch):
    settings = ("optim.epochs=2", "optim.batch_size=1", "train.save_every_steps=1")
    config = small_config("ave", *settings)
    forward = step.Objective.forward

    def broken(objective, inputs, targets, weight):
        terms = forward(objective, inputs, targets, weight)
        if len((tmp_path / "run" / "steps.jsonl").read_text().splitlines()) == 3:
            terms.losses["class"] = terms.losses["class"] * float("nan")
        return terms

    monkeypatch.setattr(step.Objective, "forward", broken)
    good = r"the last good state is in .*state\.pt"
    with pytest.raises(StgcmaError, match=rf"the loss is nan at step 4, on the clips [\w-]{{11}}; {good}$"):
        train(four_clips, tmp_path / "run", config)
    state = torch.load(tmp_path / "run" / "checkpoints" / "state.pt", weights_only=True)
    assert state["progress"]["step"] == 3
    assert all(bool(tensor.isfinite().all()) for tensor in state["trained"].values())


def test_a_gradient_that_is_not_finite_stops_too(four_clips, small_config, tmp_path, monkeypatch):
    monkeypatch.setattr(step.nn.utils, "get_total_norm", lambda _: torch.tensor(float("inf")))
    config = small_config("ave", "optim.epochs=1", "optim.batch_size=2")
    with pytest.raises(StgcmaError, match=r"the gradient is inf at step 1, on the clips \S+, \S+; no state"):
        train(four_clips, tmp_path / "run", config)


def test_the_audio_visual_term_of_a_step_is_a_sum_however_the_step_is_divided(
    kept_shards, small_config, tmp_path
):
    """At the first step batch normalisation adds nothing: micro-batches have the features of the batch."""
    losses = {}
    for weight, micro_batches in ((0, 1), (0.5, 1), (0.5, 2), (1, 1)):
        settings = (f"loss.audio_visual={weight}", f"train.accumulate={micro_batches}", "optim.batch_size=2")
        run = tmp_path / f"{weight}-{micro_batches}"
        train(kept_shards("avs"), run, small_config("avs", "optim.epochs=1", *settings))
        losses[weight, micro_batches] = json.loads((run / "steps.jsonl").read_text().splitlines()[0])["loss"]
    assert losses[0.5, 2] == pytest.approx(losses[0.5, 1], rel=1e-5)
    assert losses[0, 1] < losses[0.5, 1]
    assert losses[1, 1] - losses[0.5, 1] == pytest.approx(losses[0.5, 1] - losses[0, 1], rel=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_comes_near_to_full(four_clips, small_config, tmp_path, precision):
    losses = {}
    for name in ("fp32", precision):
        train(four_clips, tmp_path / name, small_config("ave", "optim.epochs=1", f"train.precision={name}"))
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses[name] = rows[0]["loss"]
    assert losses[precision] != losses["fp32"], "something was computed otherwise"
    assert losses[precision] == pytest.approx(losses["fp32"], rel=0.02)


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(ave_shards, small_config, tmp_path):
    for name in ("false", "true"):
        config = small_config("ave", "optim.epochs=1", "model.drop_path=0", f"train.compile={name}")
        train(ave_shards, tmp_path / name, config)
    rows = [json.loads((tmp_path / name / "metrics.jsonl").read_text())["loss"] for name in ("false", "true")]
    assert rows[1] == pytest.approx(rows[0], rel=1e-2)
