"""Two processes on gloo: what one would do, to rounding; and an end when one of them dies."""

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import stgcma
import torch
from safetensors.torch import load_file
from stgcma.errors import InputError
from stgcma.train import run as run_module
from stgcma.train.distributed import ProcessGroup, SharedBatchNorm, share_batch_norms
from stgcma.train.run import train

from ..conftest import SMALL

LAST = "checkpoints/last/adapters.safetensors"


def options(task, *settings):
    chosen = [*SMALL[task], "data.workers=0", "optim.epochs=2", *settings]
    return [part for setting in chosen for part in ("--set", setting)]


def rates(rate):
    return f"optim.adapter_lr={rate}", f"optim.task_lr={rate}"


def rows(run, name):
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        # 8 and 7 training clips: the last step of an epoch has fewer clips than the others, or a single one.
        ("ave", ("optim.batch_size=3", "data.mixup=0.5")),
        # Batch statistics are those of both processes, and a second run of a block leaves them alone.
        pytest.param(
            "ave",
            ("optim.batch_size=3", "model.adapter=lavish", "train.checkpointing=true", *rates("3e-4")),
            marks=pytest.mark.slow,
        ),
        pytest.param("ave", ("optim.batch_size=3", "model.adapter=side"), marks=pytest.mark.slow),
        pytest.param(
            "ave",
            ("optim.batch_size=3", "model.backbone=vit", "model.timm_name=vit_small_patch16_dinov3"),
            marks=pytest.mark.slow,
        ),
        # Adam makes whole steps of gradients that are nothing but rounding: of keys' biases, and where a
        # frame is one token of all that grounds the sound. So: the published rates, and more tokens.
        pytest.param("avs", ("optim.batch_size=2", *rates("3e-4")), marks=pytest.mark.slow),
        pytest.param(
            "avs",
            (
                "optim.batch_size=2",
                "model.backbone=swinv2",
                "model.timm_name=swinv2_tiny_window8_256",
                *rates("5e-5"),
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param("avqa", ("optim.batch_size=3", "data.questions=all"), marks=pytest.mark.slow),
        pytest.param(
            "avqa",
            (
                "optim.batch_size=3",
                "data.questions=one",
                "model.patch=7",
                "model.window=4",
                *rates("5e-5"),
            ),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_do_what_one_does(task, settings, shards_of, small_config, ranks, tmp_path):
    shards = shards_of(task)
    train(shards, tmp_path / "one", small_config(task, *settings, "optim.epochs=2"))
    result = ranks(
        "train",
        shards,
        "--preset",
        f"{task}-demo",
        "--run-folder",
        tmp_path / "two",
        *options(task, *settings),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1, "the first process speaks for all"
    one, two = load_file(tmp_path / "one" / LAST), load_file(tmp_path / "two" / LAST)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-5, msg=name)
    for before, after in zip(
        rows(tmp_path / "one", "steps.jsonl"), rows(tmp_path / "two", "steps.jsonl"), strict=True
    ):
        assert after["clips"] == before["clips"]
        assert after["loss"] == pytest.approx(before["loss"], abs=1e-5)
    name = "val_miou" if task == "avs" else "val_accuracy"
    one_scores, two_scores = (
        [row[name] for row in rows(tmp_path / run, "metrics.jsonl")] for run in ("one", "two")
    )
    assert two_scores == pytest.approx(one_scores, abs=1e-3)


def test_scoring_in_three_processes_is_exact(ave_shards, small_config, ranks, tmp_path, stgcma):
    train(ave_shards, tmp_path / "run", small_config("ave", "optim.epochs=1"))
    alone = json.loads(stgcma("evaluate", tmp_path / "run", "--split", "train", "--json").stdout)
    result = ranks("evaluate", tmp_path / "run", "--split", "train", "--json", processes=3)
    assert result.returncode == 0, result.stderr
    shared = json.loads(result.stdout)
    assert shared["clips"] == 8, "three processes hold three, three and two of them"
    assert shared["confusion"] == alone["confusion"]
    assert shared["stored"]["met"]


def test_several_seeds_in_two_processes(four_clips, ranks, tmp_path):
    chosen = options("ave", "optim.epochs=1", "optim.warmup_epochs=0", "optim.batch_size=2")
    run = ("--preset", "ave-demo", "--run-folder", tmp_path / "seeds", "--seeds", 2)
    result = ranks("train", four_clips, *run, *chosen)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("over 2 seeds") == 1, "the first process speaks for all"
    assert len(json.loads((tmp_path / "seeds" / "seeds.json").read_text())["runs"]) == 2


def test_a_run_folder_that_is_not_shared_is_refused(four_clips, small_config, ranks, tmp_path, monkeypatch):
    """As if each process were on a machine of its own, with a RUN of its own: the first one's is finished."""
    settings = ("optim.epochs=1", "optim.warmup_epochs=0", "optim.batch_size=2", "train.save_every_steps=1")
    train(four_clips, tmp_path / "run-0", small_config("ave", *settings))
    code = (
        "import os, sys\n"
        "sys.argv[sys.argv.index('RUN')] = f'{os.environ[\"HERE\"]}/run-{os.environ[\"RANK\"]}'\n"
        "from stgcma.cli import main\n"
        "main()\n"
    )
    monkeypatch.setenv("HERE", str(tmp_path))
    arguments = ("train", four_clips, "--preset", "ave-demo", "--run-folder", "RUN", "--resume")
    result = ranks(*arguments, *options("ave", *settings), code=code)
    assert result.returncode != 0
    assert "the processes find different summaries in RUN" in result.stderr


DYING = """
import os, sys
from stgcma.train.trainer import Trainer
step = Trainer._step
def dying(trainer, *arguments):
    if trainer.group.rank == 1 and trainer.progress.step == 1:
        os._exit(9)
    return step(trainer, *arguments)
Trainer._step = dying
from stgcma.cli import main
main()
"""


def test_a_process_that_dies_ends_the_other(forks, ave_shards, tmp_path):
    """Nobody but itself ends the one that is left."""
    run = tmp_path / "run"
    command = [sys.executable, "-c", DYING, "train", ave_shards, "--preset", "ave-demo"]
    with forks.started_ranks([*command, "--run-folder", run, *options("ave")], processes=2) as started:
        codes = [process.wait(timeout=120) for process in started]
        said = started[0].communicate()[1]
    assert codes == [1, 9], said
    assert not (run / "summary.json").exists()


@pytest.mark.slow
def test_a_process_that_dies_ends_all(forks, ave_shards, tmp_path):
    """With torchrun itself."""
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    run = tmp_path / "run"
    package = Path(stgcma.__file__).absolute().parent.parent
    paths = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["train", ave_shards, "--preset", "ave-demo", "--run-folder", run, *options("ave")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    result = forks.run([*launcher, script, *arguments], env=environment)
    assert result.returncode != 0
    assert "exitcode  : 9" in result.stderr
    assert not (run / "summary.json").exists()


def test_too_few_clips_for_the_processes_are_refused(kept_shards, small_config, tmp_path, monkeypatch):
    monkeypatch.setattr(
        run_module, "process_group", lambda: nullcontext(ProcessGroup(0, 2, torch.device("cpu")))
    )
    message = r"optim\.batch_size is 1, too few clips for 2 processes with train\.accumulate=1; at least 2"
    with pytest.raises(InputError, match=message):
        train(kept_shards("ave"), tmp_path / "run", small_config("ave", "optim.batch_size=1"))
    assert not (tmp_path / "run").exists()


def test_a_step_in_parts_is_the_whole_step(ave_shards, small_config, tmp_path):
    settings = ("optim.epochs=2", "optim.batch_size=4")
    train(ave_shards, tmp_path / "whole", small_config("ave", *settings))
    train(ave_shards, tmp_path / "parts", small_config("ave", *settings, "train.accumulate=3"))
    whole, parts = (load_file(tmp_path / name / LAST) for name in ("whole", "parts"))
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-5, rtol=1e-5, msg=name)


SHARED_NORM = """
import os, sys
from pathlib import Path
import torch
from stgcma.train.distributed import ProcessGroup, share_batch_norms
folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
torch.distributed.init_process_group("gloo")
x, upstream, weight = torch.load(folder / "case.pt", weights_only=True)
norm = torch.nn.BatchNorm1d(3)
norm.weight.data.copy_(weight)
(norm,) = share_batch_norms(torch.nn.Sequential(norm))
rows = slice(0, 5) if rank == 0 else slice(5, 12)
own = x[rows].clone().requires_grad_()
y = norm(own)
(y * upstream[rows]).sum().backward()
group = ProcessGroup(rank, 2, torch.device("cpu"))
clips = torch.tensor([[4, 0, 1], [3, 2]][rank]).numpy()  # not in turn
result = [y.detach(), own.grad, norm.weight.grad, norm.running_mean, norm.running_var]
result.append(torch.from_numpy(group.join_rows(10.0 * clips[:, None], clips)))
torch.save(result, folder / f"{rank}.pt")
torch.distributed.destroy_process_group()
"""


def test_batch_norm_over_two_processes_is_one(ranks, tmp_path):
    torch.manual_seed(0)
    x, upstream, norm = torch.randn(12, 3), torch.randn(12, 3), torch.nn.BatchNorm1d(3)
    torch.nn.init.normal_(norm.weight)
    torch.save((x, upstream, norm.weight.detach()), tmp_path / "case.pt")
    result = ranks(tmp_path, code=SHARED_NORM)
    assert result.returncode == 0, result.stderr
    whole = x.clone().requires_grad_()
    y = norm(whole)
    (y * upstream).sum().backward()
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for index, expected in enumerate((y.detach(), whole.grad)):
        torch.testing.assert_close(torch.cat([part[index] for part in parts]), expected)
    torch.testing.assert_close(parts[0][2] + parts[1][2], norm.weight.grad)
    for index, expected in ((3, norm.running_mean), (4, norm.running_var)):
        for part in parts:
            torch.testing.assert_close(part[index], expected)
    for part in parts:
        assert part[5].flatten().tolist() == [0, 10, 20, 30, 40], "rows of clips are joined in their order"


def test_a_shared_norm_scores_as_any_other():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    assert isinstance(share_batch_norms(model)[0], SharedBatchNorm)
    x = torch.randn(6, 3)
    model.eval()
    np.testing.assert_allclose(model(x).detach(), x / np.sqrt(1 + 1e-5), rtol=1e-5)
