"""The benchmarks' frame: what is met, who begins, what is written. Nothing here depends on how fast it is."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def measurement(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import measurement

    return measurement


@pytest.mark.parametrize(
    ("ours", "theirs", "options", "middle", "met"),
    [
        ([1.0, 2.0, 3.0], [10.0, 10.0, 10.0], {"target": 0.2}, 0.2, True),
        ([1.0, 2.1, 3.0], [10.0, 10.0, 10.0], {"target": 0.2}, 0.21, False),
        ([19.0, 17.0, 18.0], [10.0, 10.0, 10.0], {"target": 1.8, "at_least": True}, 1.8, True),
        ([17.0], [10.0], {"target": 1.8, "at_least": True}, 1.7, False),
        ([0.75], [0.25], {"target": 0.5, "difference": True}, 0.5, True),
        ([0.8], [0.25], {"target": 0.5, "difference": True}, 0.55, False),
        ([3.0], [4.0], {}, 0.75, None),
    ],
)
def test_the_median_of_the_rounds_meets_the_target_or_not(measurement, ours, theirs, options, middle, met):
    figure = measurement.Figure("what", "s", "other", ours, theirs, **options)
    assert figure.middle == pytest.approx(middle)
    assert figure.met is met


def test_the_sides_take_turns_and_take_turns_at_beginning(measurement):
    calls = []

    def side(name):
        return lambda: calls.append(name) or float(len(calls))

    assert measurement.in_turns(3, side("ours"), side("theirs")) == ([1.0, 4.0, 5.0], [2.0, 3.0, 6.0])
    assert calls == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]


def test_a_command_s_cost_is_its_own_and_a_failure_ends_the_benchmark(measurement):
    ballast = bytearray(300 << 20)  # of this process, not of the command's
    cost = measurement.cost_of([sys.executable, "-c", "b = bytearray(100 << 20); sum(range(10**6))"])
    assert 100 << 20 <= cost.peak_bytes < len(ballast)
    assert cost.cpu_seconds > 0
    with pytest.raises(measurement.MeasurementError, match="no such thing"):
        measurement.cost_of([sys.executable, "-c", "raise ValueError('no such thing')"])


KEPT = {
    "name": "kept",
    "unit": "s",
    "baseline": "other",
    "ours": [1.0],
    "theirs": [2.0],
    "target": 0.4,
    "at_least": False,
    "difference": False,
    "note": "",
    "compared": [0.5],
    "median": 0.5,
    "met": False,
}


# A benchmark run, whose figure nobody measured.
WITH_A_FIGURE = """
import sys, types
import measurement
name = sys.argv.pop()
small = types.ModuleType("small")
small.figures = lambda scratch, *, quick: [measurement.Figure(name, "s", "other", [1.0], [2.0])]
sys.modules["small"] = small
import run
run.main()
"""


def test_a_run_writes_page_and_json_and_keeps_the_figures_of_others(forks, tmp_path):
    file = tmp_path / "benchmarks.json"

    def start(*options, name):
        code = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n{WITH_A_FIGURE}"
        return forks.run([sys.executable, "-c", code, *options, "--out", tmp_path, "small", name])

    done = start("--quick", name="first")
    assert done.returncode == 0, done.stderr
    content, page = json.loads(file.read_text()), (tmp_path / "benchmarks.md").read_text()
    assert list(content["figures"]) == ["small"]
    assert content["figures"]["small"][0]["name"] == "first"
    assert "A quick run" in page

    content["figures"]["streaming"] = [KEPT]
    elsewhere = {**content["measured"]["small"]["machine"], "processor": "A Processor"}
    content["measured"]["streaming"] = {"date": "2020-01-02", "machine": elsewhere}
    file.write_text(json.dumps(content))
    again = start("--quick", name="again")
    assert again.returncode == 0, again.stderr
    content, page = json.loads(file.read_text()), (tmp_path / "benchmarks.md").read_text()
    assert list(content["figures"]) == ["streaming", "small"]
    assert content["figures"]["small"][0]["name"] == "again"
    assert "| kept | 1 s | 2 s | other | 0.5 (0.5 to 0.5) | ≤ 0.4 | ✗ |" in page
    assert "**kept, against other: 1.25 times its target.**" in page

    ours, theirs = re.findall(r"## Measured on (\S+)\n\n(\w+ \w+)", page)
    assert ours[0] > "2020-01-02"
    assert theirs == ("2020-01-02", "A Processor")
    assert page.index("| again |") < page.index("A Processor") < page.index("| kept |")

    assert "is of another kind of run; choose another --out" in start(name="whole").stderr


@pytest.mark.slow
def test_everything_is_measured_quickly(tmp_path):
    command = [sys.executable, BENCHMARKS / "run.py", "--quick", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "benchmarks.json").read_text())
    assert list(content["figures"]) == [
        "preprocess", "planning", "million", "loading", "streaming", "scale", "training_step", "forward",
        "small",
    ]  # fmt: skip
    checkpoint = content["figures"]["small"][0]
    assert checkpoint["met"], checkpoint
    drawn = {path.name for path in (tmp_path / "images").iterdir()}
    assert drawn == {f"growth-{curve['name']}.svg" for curve in content["curves"]}
    assert [curve["name"] for curve in content["curves"]] == ["clips", "workers", "steps", "resolution"]


def test_an_unknown_name_is_refused(forks, tmp_path):
    command = [sys.executable, BENCHMARKS / "run.py", "--out", tmp_path / "out", "speed"]
    done = forks.run(command)
    assert done.returncode == 2
    assert "speed: not known, choose from preprocess, planning, million, loading" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("measurement")
def test_the_page_on_disk_is_that_of_its_json():
    import page

    docs = BENCHMARKS.parent / "docs"
    content = json.loads((docs / "benchmarks.json").read_text())
    assert page.page(content) == (docs / "benchmarks.md").read_text()
