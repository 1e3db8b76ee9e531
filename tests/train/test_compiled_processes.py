"""torch.compile in two processes: graphs over the batch normalisation that they share."""

import json

import pytest

from ..conftest import SMALL

COMPILED = """
import json, os, sys
from pathlib import Path
import torch
from stgcma.train import compilation
from stgcma.train.config import load_preset
from stgcma.train.run import train
task, shards, run, name, *settings = sys.argv[1:]
made = []
def backend(graph, inputs):
    made.append(graph)
    return torch._dynamo.lookup_backend(name)(graph, inputs)
compilation.compiler_options = lambda **_: {"backend": backend}
compiled = []
is_usual = compilation.CompiledPasses._is_usual
def noting(passes, inputs):
    usual = is_usual(passes, inputs)
    compiled.append(usual)
    return usual
compilation.CompiledPasses._is_usual = noting
train(shards, Path(run), load_preset(f"{task}-demo", settings))
breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
facts = {"graphs": len(made), "breaks": breaks, "compiled": compiled}
Path(f"{run}-{os.environ['RANK']}.json").write_text(json.dumps(facts))
"""

# A backend, a task and settings; `aot_eager` also makes a graph of the backward pass.
CASES = {
    "lavish": (
        "aot_eager",
        "ave",
        "model.adapter=lavish",
        "model.groups=1",
        "model.reduction=4",
        "model.depths=[2]",
    ),
    "avs": ("eager", "avs"),
    "no shared norm": ("eager", "ave", "model.depths=[2]"),
}


@pytest.fixture
def trained(ranks, tmp_path):
    """Function that trains in two processes; it returns the losses, and the facts of each process."""

    def run(name, backend, task, shards, *settings):
        chosen = [*SMALL[task], "data.workers=0", "optim.epochs=2", "optim.warmup_epochs=0", *settings]
        done = ranks(task, shards, tmp_path / name, backend, *chosen, code=COMPILED)
        assert done.returncode == 0, done.stderr
        steps = (tmp_path / name / "steps.jsonl").read_text().splitlines()
        facts = [json.loads((tmp_path / f"{name}-{rank}.json").read_text()) for rank in range(2)]
        return [json.loads(line)["loss"] for line in steps], facts

    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_each_process_has_one_graph_and_the_losses_without(case, few, shards_of, trained):
    """Two epochs of 8 clips in steps of 6: one step is compiled, the other has one clip a process."""
    backend, task, *settings = CASES[case]
    shards = few if task == "ave" else shards_of(task)
    settings = (*settings, "model.drop_path=0.3", "optim.batch_size=6")
    plain, _ = trained("plain", backend, task, shards, *settings)
    compiled, facts = trained("compiled", backend, task, shards, *settings, "train.compile=default")
    assert compiled == pytest.approx(plain, rel=1e-4)
    for each in facts:
        assert (each["graphs"], each["breaks"]) == (1, 0)
        assert sum(each["compiled"]) == 2


def test_what_one_process_does_not_compile_no_process_compiles(few, trained):
    """Steps of 5 clips: the processes compute two and three, and three would be the usual number."""
    _, facts = trained("run", "eager", "ave", few, "optim.batch_size=5", "train.compile=default")
    for each in facts:
        assert each["compiled"]
        assert not any(each["compiled"])
