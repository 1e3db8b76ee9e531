"""JSON that every reader takes, the precision of fp32, and values that stay in one process."""

import json

import pytest
import torch
from stgcma.strict_json import strict_json
from stgcma.train.distributed import ProcessGroup
from stgcma.train.objective import set_tf32
from stgcma.train.run import train


@pytest.fixture
def float32_policy():
    """Leaves torch's switches as they were."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_numbers_that_are_not_finite_are_null():
    content = {"loss": float("inf"), "all": (1.5, [float("nan"), -float("inf")]), "names": {"é": 1}}
    assert strict_json(content) == '{"loss": null, "all": [1.5, [null, null]], "names": {"é": 1}}'


def test_an_overflow_in_fp16_is_null_in_the_steps(four_clips, small_config, tmp_path, monkeypatch):
    """The scaler leaves such a step out; the line of it must be JSON all the same."""
    from stgcma.train.step import OptimizerStep

    norm = OptimizerStep._gradient_norm
    monkeypatch.setattr(OptimizerStep, "_gradient_norm", lambda step: norm(step) * float("inf"))
    train(four_clips, tmp_path / "run", small_config("ave", "optim.epochs=1", "train.precision=fp16"))
    for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["gradient_norm"] is None


def test_values_of_one_process_stay_off_the_device():
    # The meta device has no values: what was copied there could not come back.
    alone = ProcessGroup(0, 1, torch.device("meta"))
    assert alone.gather([1.5, 2.0]).tolist() == [[1.5, 2.0]]


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.usefixtures("float32_policy")
def test_tf32_is_set_and_recorded(allowed, four_clips, small_config, tmp_path):
    set_tf32(allowed=not allowed)
    config = small_config("ave", "optim.epochs=1", *(["train.tf32=true"] if allowed else []))
    train(four_clips, tmp_path / "run", config)
    assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
    assert torch.backends.cudnn.allow_tf32 is allowed
    assert f"tf32: {str(allowed).lower()}" in (tmp_path / "run" / "config.yaml").read_text()
