"""torch.compile in training: the graphs of two epochs, their results, and the steps without it.

A backend that runs the graphs as they are takes the place of the compiler, but for the slow tests.
"""

import json

import pytest
import torch
from safetensors.torch import load_file
from stgcma.errors import InputError
from stgcma.export import export
from stgcma.train import compilation
from stgcma.train.evaluation import evaluate
from stgcma.train.run import train

from .outcomes import LAST, assert_same, outcome, train_killed

DROPPING = ("optim.epochs=2", "optim.warmup_epochs=0", "model.drop_path=0.3")


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that were made."""
    import torch._dynamo

    made = []

    def backend(graph, _inputs):
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(compilation, "compiler_options", lambda **_: {"backend": backend})
    torch._dynamo.utils.counters.clear()
    yield made
    torch._dynamo.reset()


@pytest.fixture
def passes(monkeypatch):
    """Of each pass, whether the model was in training and whether it was compiled."""
    made = []
    is_usual = compilation.CompiledPasses._is_usual

    def noting(self, inputs):
        usual = is_usual(self, inputs)
        made.append((self._model.training, usual))
        return usual

    monkeypatch.setattr(compilation.CompiledPasses, "_is_usual", noting)
    return made


def breaks():
    return dict(torch._dynamo.utils.counters["graph_break"])


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "steps.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_epochs_have_two_graphs_and_the_losses_without(few, small_config, tmp_path, graphs, passes):
    """Noise is drawn, the last step of an epoch is smaller, and the split is scored."""
    settings = (*DROPPING, "optim.batch_size=3", "model.depths=[2]", "train.accumulate=1")
    train(few, tmp_path / "compiled", small_config("ave", *settings, "train.compile=default"))
    assert (len(graphs), breaks()) == (2, {})
    in_training = [compiled for training, compiled in passes if training]
    assert in_training == 2 * [True, True, False]
    assert any(compiled for training, compiled in passes if not training)
    train(few, tmp_path / "plain", small_config("ave", *settings))
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)


def test_smaller_steps_are_not_compiled(few, small_config, tmp_path, passes, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda run, **_: run)
    settings = ("optim.epochs=1", "optim.batch_size=3", "train.compile=default", "train.accumulate=3")
    train(few, tmp_path / "run", small_config("ave", *settings))
    # Of 8 clips the last step has two, and one that does not count; 3 clips are scored at once.
    assert passes == 6 * [(True, True)] + 3 * [(True, False)] + [(False, True)]


# A task and settings.
CASES = {
    "avs": ("avs",),
    "avqa": ("avqa", "data.questions=one", "optim.epochs=1"),
    "accumulate": ("ave", "train.accumulate=2"),
    "checkpointing": ("ave", "train.checkpointing=true"),
    "bf16": ("ave", "train.precision=bf16"),
    "side": ("ave", "model.adapter=side"),
    "lora": ("ave", "model.adapter=lora"),
    "lavish": ("ave", "model.adapter=lavish", "model.groups=1", "model.reduction=4"),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_no_pass_is_compiled_anew(case, kept_shards, small_config, tmp_path, graphs, passes):
    task, *further = CASES[case]
    settings = (*DROPPING, "optim.batch_size=2", *further)
    settings += ("model.depths=[2]",) if task == "ave" else ()
    train(kept_shards(task), tmp_path / "run", small_config(task, *settings, "train.compile=default"))
    assert all(compiled for training, compiled in passes if training)
    scored = [compiled for training, compiled in passes if not training]  # one clip, and micro-batches of one
    assert (len(graphs), breaks()) == (1 + any(scored), {})
    train(kept_shards(task), tmp_path / "plain", small_config(task, *settings))
    rounding = 2e-3 if case == "bf16" else 1e-4  # half the last bit of bf16
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "plain"), rel=rounding)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_compiler_draws_the_same_noise(kept_shards, small_config, tmp_path):
    settings = (*DROPPING, "optim.batch_size=2")
    for name in ("off", "default"):
        train(kept_shards("ave"), tmp_path / name, small_config("ave", *settings, f"train.compile={name}"))
    assert losses(tmp_path / "default") == pytest.approx(losses(tmp_path / "off"), rel=1e-3)
    weights = tmp_path / "default" / "checkpoints" / "last"
    assert not any("_orig_mod" in path.read_text(errors="ignore") for path in weights.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_was_killed_ends_like_one_that_was_not(
    four_clips, small_config, tmp_path, graphs, monkeypatch
):
    """In the middle of the second epoch."""
    steps = ("optim.batch_size=1", "train.save_every_steps=1", "train.compile=default")
    config = small_config("ave", *DROPPING, *steps)
    train(four_clips, tmp_path / "whole", config)
    assert len(graphs) == 2
    train_killed(four_clips, tmp_path / "killed", config, monkeypatch, after=4)
    train(four_clips, tmp_path / "killed", config, resume=True)
    assert_same(outcome(tmp_path / "killed"), outcome(tmp_path / "whole"))


def test_a_checkpoint_is_like_any_other(four_clips, small_config, tmp_path, graphs, monkeypatch):
    settings = ("optim.epochs=1", "optim.batch_size=2")
    train(four_clips, tmp_path / "plain", small_config("ave", *settings))
    run = tmp_path / "compiled"
    train(four_clips, run, small_config("ave", *settings, "train.compile=default"))
    assert graphs
    plain, compiled = (load_file(folder / LAST) for folder in (tmp_path / "plain", run))
    assert {name: x.shape for name, x in compiled.items()} == {name: x.shape for name, x in plain.items()}
    monkeypatch.setattr(torch, "compile", None)
    (row,) = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert evaluate(run, split="val").score == pytest.approx(row["val_accuracy"], abs=1e-6)
    assert export(run, tmp_path / "model.pt2").path.is_file()


def test_a_compiler_is_needed(four_clips, small_config, tmp_path):
    import torch._inductor.config as inductor

    named = r"compile is default, which needs a C\+\+ compiler .* or choose off"
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(InputError, match=named):
        train(four_clips, tmp_path / "run", small_config("ave", "train.compile=default"))


def test_graphs_need_a_gpu_and_whole_steps(four_clips, small_config, tmp_path):
    config = small_config("ave", "train.compile=graphs")
    with pytest.raises(InputError, match=r"train\.compile is graphs, which needs a GPU; choose off or"):
        train(four_clips, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
    config = small_config("ave", "train.compile=graphs", "train.accumulate=2")
    with pytest.raises(InputError, match=r"takes no train\.accumulate=2"):
        compilation.check_compile(config, torch.device("cuda"))


@pytest.mark.parametrize(("given", "mode"), [("true", "default"), ("off", "off"), ("graphs", "graphs")])
def test_modes_are_read_as_yaml_and_earlier_versions_write_them(small_config, given, mode):
    assert small_config("ave", f"train.compile={given}").train.compile == mode
