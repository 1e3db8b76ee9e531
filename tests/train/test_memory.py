"""Too little memory: one line with settings that would fit."""

import functools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from stgcma.errors import StgcmaError
from stgcma.model import preset_config
from stgcma.train import evaluation, memory
from stgcma.train import run as run_module
from stgcma.train.config import load_preset
from stgcma.train.memory import advice, peak_bytes, reset_peak
from stgcma.train.run import train
from stgcma.train.step import OptimizerStep


def test_too_little_gpu_memory_says_what_would_fit(monkeypatch):
    describe = functools.cache(memory.describe)  # an account takes seconds
    monkeypatch.setattr(memory, "describe", describe)
    config = load_preset("ave-demo")  # batches of 4 clips
    model = preset_config("ave-demo", depths=[2], temporal=False, global_=False)

    def room(clips, *, checkpointing=False):
        """A GPU on which so many clips fit beside weights, gradients and Adam's two states."""
        account = describe(model.replace(checkpointing=checkpointing))
        weights = 4 * (account.total + 3 * account.trainable)
        return 1 + int((weights + clips * (account.training_bytes - weights)) / 0.85)

    half = "--set train.precision=bf16"
    assert advice(config, model, room(4)) == f"this should fit: {half}"
    assert advice(config, model, room(2)) == f"this should fit: --set train.accumulate=2 {half}"
    tight = advice(config, model, room(1, checkpointing=True))
    assert tight == f"this should fit: --set train.checkpointing=true --set train.accumulate=4 {half}"
    assert advice(config, model, 2**20).startswith("no setting of this preset fits")


FULL = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`\nmore"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
]


@pytest.mark.parametrize("error", FULL)
def test_errors_of_cuda_are_about_memory(error):
    assert memory.is_out_of_memory(error)


@pytest.mark.parametrize("error", FULL[:2])
def test_a_full_gpu_is_one_line(error, kept_shards, small_config, tmp_path, monkeypatch):
    def full(*_):
        raise error

    monkeypatch.setattr(OptimizerStep, "_backward", full)
    card = SimpleNamespace(total_memory=2**34)
    monkeypatch.setattr(memory.torch.cuda, "get_device_properties", lambda _: card)
    # The device is the GPU of this machine only in name.
    monkeypatch.setattr(memory, "_named", lambda _: "a GPU of 16 GiB")
    monkeypatch.setattr(run_module, "training_advice", lambda *_: "this should fit: a smaller batch")
    with pytest.raises(
        StgcmaError, match="out of memory with 4 clips at a time on a GPU of 16 GiB"
    ) as caught:
        train(kept_shards("ave"), tmp_path / "run", small_config("ave", "optim.epochs=1"))
    assert "this should fit" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_gpu_is_one_line_in_evaluate(kept_shards, small_config, tmp_path, monkeypatch):
    config = small_config("ave", "optim.epochs=1", "optim.batch_size=2")
    train(kept_shards("ave"), tmp_path / "run", config)

    def full(*_):
        raise FULL[1]

    monkeypatch.setattr(evaluation, "run_model", full)
    with pytest.raises(StgcmaError, match=r"out of memory scoring 2 clips at a time on .*ALLOC_FAILED"):
        evaluation.evaluate(tmp_path / "run", split="val")


def test_other_errors_of_torch_stay_as_they_are(kept_shards, small_config, tmp_path, monkeypatch):
    def wrong(*_):
        raise RuntimeError("CUBLAS_STATUS_INVALID_VALUE")

    monkeypatch.setattr(OptimizerStep, "_backward", wrong)
    with pytest.raises(RuntimeError, match="INVALID_VALUE"):
        train(kept_shards("ave"), tmp_path / "run", small_config("ave", "optim.epochs=1"))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux resets the peak")
def test_the_peak_is_that_since_the_reset():
    cpu = torch.device("cpu")
    size = 256 << 20
    reset_peak(cpu)
    before = peak_bytes(cpu)
    torch.ones(size, dtype=torch.uint8)
    assert peak_bytes(cpu) > before + 0.9 * size
    reset_peak(cpu)
    assert peak_bytes(cpu) < before + 0.5 * size
