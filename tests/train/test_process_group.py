"""Agreement between the processes of a training; the other processes are simulated."""

import numpy as np
import pytest
import torch
from stgcma.errors import InputError, StgcmaError
from stgcma.train.distributed import ProcessGroup


@pytest.fixture
def second(monkeypatch):
    """The second of two processes."""
    monkeypatch.setattr(torch.distributed, "barrier", lambda: None)
    return ProcessGroup(1, 2, torch.device("cpu"))


@pytest.mark.parametrize(("rows", "alike"), [([[1.0, 2.0]] * 2, True), ([[1.0, 2.0], [1.0, 3.0]], False)])
def test_processes_that_read_different_runs_are_refused(second, monkeypatch, rows, alike):
    monkeypatch.setattr(ProcessGroup, "gather", lambda *_: np.array(rows))
    if alike:
        second.check_equal(rows[0], "different states")
        return
    with pytest.raises(InputError, match="the processes find different states in RUN; it must be a folder"):
        second.check_equal(rows[0], "different states")


def test_what_fails_in_the_first_process_fails_in_the_others(second, monkeypatch):
    def told(box, **_):
        box[0] = StgcmaError("the disk is full")

    monkeypatch.setattr(torch.distributed, "broadcast_object_list", told)
    with pytest.raises(StgcmaError, match="the disk is full"):
        second.run_on_main(lambda: pytest.fail("only the first process works"))
