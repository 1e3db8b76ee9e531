"""`stgcma doctor` on the machine that runs the tests, and on one where things are wrong."""

import json

import pytest
from stgcma.doctor import decoding, diagnosis, gpu, packages, tools, weights
from stgcma.doctor.clips import CLIPS
from stgcma.doctor.diagnosis import CHECKS, diagnose
from stgcma.doctor.findings import Finding, Level
from stgcma.errors import StgcmaError
from stgcma.preprocess.media.reasons import ClipError


class PoolOfThisProcess:
    """A stand-in for `IsolatedPool`; each real one starts a process, most of which load torch."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, function, items):
        for item in items:
            try:
                yield item, function(item)
            except ClipError as error:
                yield item, error


@pytest.mark.parametrize("isolated", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_this_machine_can_do_the_work(stgcma, monkeypatch, isolated):
    if not isolated:
        for module in (decoding, gpu, packages, tools, weights):
            monkeypatch.setattr(module, "IsolatedPool", PoolOfThisProcess)
    result = stgcma("doctor", "--json")
    found = json.loads(result.stdout)
    problems = [finding for finding in found["findings"] if finding["level"] == "problem"]
    assert (result.status, problems) == (0, [])
    assert found["ok"] is True
    assert {finding["area"] for finding in found["findings"]} == set(CHECKS)
    decoded = {f["name"]: f["text"] for f in found["findings"] if f["area"] == "decoding built-in clips"}
    assert set(decoded) == {clip.name for clip in CLIPS}
    for text in decoded.values():
        right = text.rpartition("right with ")[2]
        assert all(decoder in right for decoder in ("pyav", "ffmpeg", "sound"))


def full():
    yield Finding("disk", Level.PROBLEM, "nothing is free", "make room")


def slow():
    yield Finding("OpenMP", Level.WARNING, "threads spin", "unset OMP_WAIT_POLICY")


def test_problems_fail_and_warnings_do_not(stgcma, monkeypatch):
    monkeypatch.setattr(diagnosis.diagnose, "__defaults__", ({"machine": (slow,)},))
    result = stgcma("doctor")
    assert (result.status, result.stderr) == (0, "no problems, warnings: 1\n")
    assert result.stdout == "machine\n  warning  OpenMP           threads spin → unset OMP_WAIT_POLICY\n"
    monkeypatch.setattr(diagnosis.diagnose, "__defaults__", ({"machine": (full, slow)},))
    result = stgcma("doctor")
    assert result.status == 1
    assert result.stderr.startswith("stgcma: problems: 1, warnings: 1;")
    assert "nothing is free → make room" in result.stdout
    result = stgcma("doctor", "--json")
    assert (result.status, json.loads(result.stdout)["ok"]) == (1, False)


@pytest.mark.parametrize("error", [ImportError("no pebble"), OSError("no disk"), StgcmaError("no pool")])
def test_a_check_that_cannot_run_is_a_problem_and_the_rest_goes_on(error):
    def check_cluster():
        yield Finding("first", Level.OK, "fine")
        raise error

    found = [finding for _, finding in diagnose({"area": (check_cluster, slow)})]
    assert [finding.name for finding in found] == ["first", "cluster", "OpenMP"]
    assert found[1].level is Level.PROBLEM
    assert str(error) in found[1].text
