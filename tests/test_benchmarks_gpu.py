"""The GPU suite as far as a CPU goes: the dry run of every part, what its trace and page say, its limits."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PARTS = ("right", "step", "whole", "evaluation", "sturdy", "where")
# The quick dry run: of each part one row of each kind, without the compiler and the repeated trainings.
# One process makes the dry run; others would wait for it.
pytestmark = pytest.mark.xdist_group("dry run")

ROWS = (
    "ave_clip_audio_only", "untrained ave-demo", "matrix product", "ave-demo, bf16",
    "fp32, eager, 1 clips, naive", "step alone", "predict", "one rank", "out of memory", "costliest",
)  # fmt: skip


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def start(*options, **environment):
    command = [sys.executable, BENCHMARKS / "gpu.py", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, **environment)


def results(folder):
    return {part: json.loads((folder / f"{part}.json").read_text()) for part in PARTS}


@pytest.fixture(scope="session")
def dry_run(forks, made_once):
    """The results of `ROWS`. The processes of the parts are forked from one that has torch imported."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patched, contextlib.ExitStack() as processes:
            patched.syspath_prepend(str(BENCHMARKS))
            import gpu

            def popen(command, *, env, start_new_session, **_):
                return processes.enter_context(
                    forks.popen(command, env=env, start_new_session=start_new_session)
                )

            patched.setattr(gpu.subprocess, "Popen", popen)
            arguments = ["--device", "cpu", "--tiny", "--seconds", "250", "--out", str(folder)]
            patched.setattr(sys, "argv", ["gpu.py", *arguments, "--rows", *ROWS])
            with pytest.raises(SystemExit) as ended:
                gpu.main()
            assert ended.value.code == 0

    return made_once("gpu", make)


def check_all_right(found):
    for part, content in found.items():
        assert content["status"] == "done", content
        assert content["rows"], part
        assert not [row for row in content["rows"] if "failed" in row or row.get("ok") is False], part


def test_a_dry_run_of_some_rows_runs_every_part_and_finds_all_right(dry_run):
    found = results(dry_run)
    check_all_right(found)
    names = [row["name"] for content in found.values() for row in content["rows"]]
    assert all(any(text in name for text in ROWS) for name in names)
    assert all(any(text in name for name in names) for text in ROWS)
    files = sorted(path.name for path in dry_run.iterdir())
    assert files == sorted([*(f"{part}.json" for part in PARTS), "machine.json"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_dry_run_of_all_rows_finds_all_right(tmp_path):
    done = start("--device", "cpu", "--tiny", "--seconds", 250, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(tmp_path)
    check_all_right(found)
    asked = {row["name"] for row in found["sturdy"]["rows"] if "unmeasured" not in row}
    assert asked == {
        "SIGKILL and --resume",
        "SIGTERM and --resume",
        "deterministic mode",
        "fp16 with an overflowing step",
        "one rank of NCCL (gloo on a CPU)",
    }
    resumed = next(row for row in found["sturdy"]["rows"] if row["name"] == "SIGKILL and --resume")
    assert resumed["resumed_and_whole"] == {"bitwise": True, "difference": 0.0}
    measured = [row for row in found["step"]["rows"] if "seconds" in row]
    assert {row["name"].split(", ")[1] for row in measured} == {"bf16", "fp32", "tf32"}
    assert all(row["tflop"] > 0 and row["seconds"] > 0 for row in measured)


@pytest.mark.usefixtures("benchmarks")
def test_the_page_shows_every_part_and_a_dry_run_is_not_published(dry_run, tmp_path):
    import gpu_page
    import gpu_publish

    machine = json.loads((dry_run / "machine.json").read_text())
    content = {"machine": machine | {"card": {"name": "A Card", "driver_version": "1.2.3"}}}
    page = "\n".join(gpu_page.section(content | {"parts": results(dry_run)}))
    for title in gpu_page.PARTS.values():
        assert f"### {title}\n" in page
    assert "name A Card, driver_version 1.2.3;" in page
    assert machine["date"] in page
    assert "out of memory, cuBLAS: unmeasured, needs a GPU." in page
    assert "| ave_clip_audio_only, bf16 |" in page
    with pytest.raises(SystemExit, match="holds a dry run"):
        gpu_publish.publish(dry_run, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("benchmarks")
def test_goals_and_the_forecast_are_computed_from_the_steps():
    import gpu_goals

    step, naive = (
        "ave-clip-l14-base, bf16, {}, 1 clips, stgcma",
        "ave-clip-l14-base, bf16, eager, 1 clips, naive",
    )
    rows = [
        {"name": step.format("eager"), "seconds": 0.054, "peak_bytes": 2 * 2**30},
        {"name": step.format("CUDA graphs"), "seconds": 0.018},
        {"name": step.format("compiled"), "failed": "RuntimeError: no"},
        {"name": naive, "seconds": 0.108, "peak_bytes": 8 * 2**30},
    ]
    text = "\n".join(gpu_goals.goals({"step": {"rows": rows}}))
    assert "every preset, bf16 | 0.50 (`ave-clip-l14-base`), of 1 presets |" in text
    assert "every preset, bf16 | 0.25 (`ave-clip-l14-base`), of 1 presets |" in text
    assert "the batch of Table 9 | 2.0 GiB (`ave-clip-l14-base`), of 1 presets |" in text
    # 3,339 clips, 20 times, 54 and 18 ms each.
    assert "epochs, bf16, eager | 1.00 h |" in text
    assert "epochs, bf16, CUDA graphs | 0.33 h |" in text
    assert text.count("not measured yet") == 3
    assert "\n".join(gpu_goals.goals({})).count("not measured yet") == 8


@pytest.mark.usefixtures("benchmarks")
def test_goals_name_the_presets_that_have_no_figure():
    """A preset whose step did not fit says nothing for the goal that every preset fits."""
    import gpu_goals

    small, large = (f"{name}, bf16, eager, 1 clips, " for name in ("ave-clip-b16-base", "avqa-swin-l"))
    rows = [
        {"name": f"{small}stgcma", "seconds": 0.05, "peak_bytes": 2 * 2**30},
        {"name": f"{small}naive", "seconds": 0.1, "peak_bytes": 8 * 2**30},
        {"name": f"{large}stgcma", "failed": "OutOfMemoryError: no"},
    ]
    whole = [{"name": "train, 16 workers", "loader_share": 0.0}]
    text = "\n".join(gpu_goals.goals({"step": {"rows": rows}, "whole": {"rows": whole}}))
    only = "(`ave-clip-b16-base`), of 1 presets; none for `avqa-swin-l` |"
    assert f"naive one's time, every preset, bf16 | 0.50 {only}" in text
    assert f"the batch of Table 9 | 2.0 GiB {only}" in text
    assert "16 workers | 0% |" in text


@pytest.mark.usefixtures("benchmarks")
def test_a_published_run_stands_beside_the_cpus_figures(tmp_path):
    import gpu_publish
    import page

    docs = BENCHMARKS.parent / "docs"
    before = json.loads((docs / "benchmarks.json").read_text())
    out, published = tmp_path / "out", tmp_path / "docs"
    out.mkdir(), published.mkdir()
    (published / "benchmarks.json").write_text(json.dumps(before))
    machine = {
        "date": "2030-01-02", "device": "cuda", "tiny": False, "card": {"name": "A Card"}, "cores": 16,
        "python": "3.12.3", "versions": {"torch": "2.11.0"},
    }  # fmt: skip
    (out / "machine.json").write_text(json.dumps(machine))
    rows = [{"name": "x, fp32", "ok": False, "output_difference": 0.5, "output_tolerance": 1e-4}]
    rows.append({"name": "x, bf16", "ok": False, "failed": "RuntimeError: no"})
    (out / "right.json").write_text(json.dumps({"part": "right", "rows": rows, "why": "cut off after 50 s"}))
    gpu_publish.publish(out, published)
    content = json.loads((published / "benchmarks.json").read_text())
    assert {key: value for key, value in content.items() if key != "gpu"} == {
        key: value for key, value in before.items() if key != "gpu"
    }
    text = (published / "benchmarks.md").read_text()
    assert text == page.page(content)
    assert "name A Card; 16 cores; 2030-01-02;" in text
    assert "| x, fp32 | 0.5 | 0.0001 | ✗ |" in text
    assert "- x, bf16: RuntimeError: no." in text
    assert "- The part was not whole: cut off after 50 s." in text
    assert text.count("Unmeasured.") == len(PARTS) - 1


def test_a_part_that_is_cut_off_or_fails_says_so_and_the_next_runs(tmp_path):
    done = start(
        "--device", "cpu", "--tiny", "--only", "sturdy", "where", "--out", tmp_path, "--seconds", 0.5
    )
    assert done.returncode == 1
    for part in ("sturdy", "where"):
        content = json.loads((tmp_path / f"{part}.json").read_text())
        assert content["status"] == "failed"
        assert content["why"] == "cut off after 0 s"
        assert f"{part}: cut off after 0 s" in done.stdout


@pytest.mark.usefixtures("benchmarks")
def test_a_row_that_fails_says_why_and_the_part_goes_on(tmp_path):
    from gpu_parts.common import Report, Setting

    report = Report("right", Setting("cpu", True, 100.0, tmp_path))

    def fail():
        raise ValueError("three words only")

    assert report.attempt("one", fail) is None
    assert report.attempt("two", lambda: {"ok": True}) == {"ok": True}
    report.setting = Setting("cpu", True, 0.0, tmp_path)
    report.attempt("three", fail)
    one, two, three = json.loads((tmp_path / "right.json").read_text())["rows"]
    assert (one["ok"], one["failed"]) == (False, "ValueError: three words only")
    assert two == {"name": "two", "ok": True}
    assert three == {"name": "three", "unmeasured": "no time was left"}


def event(name, category, start, length):
    return {"ph": "X", "name": name, "cat": category, "ts": start, "dur": length}


@pytest.mark.usefixtures("benchmarks")
def test_a_trace_is_accounted_for():
    from gpu_parts.trace import account

    events = [
        event("ProfilerStep#4", "user_annotation", 1000, 100),
        event("ProfilerStep#5", "user_annotation", 1100, 100),
        event("gemm", "kernel", 1010, 40),
        event("gemm", "kernel", 1030, 40),  # overlaps the one before: 60 together
        event("Memcpy HtoD (Pinned -> Device)", "gpu_memcpy", 1110, 10),
        event("Memcpy DtoH (Device -> Pinned)", "gpu_memcpy", 1190, 50),  # 10 of them within the steps
        event("gemm", "kernel", 900, 50),  # before the steps
        event("cudaStreamSynchronize", "cuda_runtime", 1195, 4),
        event("cudaLaunchKernel", "cuda_runtime", 1005, 4),
        event("aten::mm", "cpu_op", 1004, 4),
        {"ph": "i", "name": "cudaStreamSynchronize", "cat": "cuda_runtime", "ts": 1100},
    ]
    assert account(events) == {
        "steps": 2,
        "seconds_a_step": pytest.approx(1e-4),
        "idle_share": pytest.approx(1 - 80 / 200),
        "kernels_a_step": 1.0,
        "copies_a_step": {"Memcpy HtoD": 0.5, "Memcpy DtoH": 0.5},
        "waits_a_step": {"cudaStreamSynchronize": 0.5},
        "operators_a_step": 0.5,
    }
    with pytest.raises(ValueError, match="no profiled step"):
        account(events[2:])


@pytest.mark.usefixtures("benchmarks")
def test_the_slowest_preset_is_that_of_the_steps(tmp_path):
    from gpu_parts.where import SLOWEST, slowest

    file = tmp_path / "step.json"
    assert slowest(file) == SLOWEST
    rows = [
        {"name": "a, bf16, eager, 1 clips, stgcma", "seconds": 0.1},
        {"name": "b, bf16, eager, 2 clips, stgcma", "seconds": 0.3},
        {"name": "c, bf16, eager, 2 clips, naive", "seconds": 0.9},
        {"name": "d, fp32, eager, 2 clips, stgcma", "seconds": 0.8},
        {"name": "e, bf16, eager, 2 clips, stgcma", "failed": "RuntimeError"},
    ]
    file.write_text(json.dumps({"rows": rows}))
    assert slowest(file) == "b"


def test_what_is_missing_is_asked_for(tmp_path):
    done = start("--out", tmp_path / "out")
    assert done.returncode == 2
    assert "--device and --out are needed, for example: --device cpu --tiny" in done.stderr
    assert "holds no results" in start("--publish", tmp_path).stderr


def test_the_limits_add_up_to_eight_minutes_and_the_wheels_are_pinned():
    import ast

    tree = ast.parse((BENCHMARKS / "gpu.py").read_text())
    (limits,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "LIMITS"
    )
    assert tuple(limits) == PARTS
    assert sum(limits.values()) <= 480
    wheels = (BENCHMARKS / "gpu-wheels.txt").read_text().splitlines()
    named = dict(line.split("==") for line in wheels if not line.startswith("#"))
    project = (BENCHMARKS.parent / "pyproject.toml").read_text()
    for name in ("pydantic", "tensorboard", "webdataset"):
        assert f'"{name}=={named[name]}"' in project
