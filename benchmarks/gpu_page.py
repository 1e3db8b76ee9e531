"""The GPU suite's figures as a section of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gpu_goals import goals

PARTS = {
    "right": "Right results",
    "step": "One training step",
    "whole": "Training from shards",
    "evaluation": "Evaluation and prediction",
    "sturdy": "Interruptions and limits",
    "where": "Costliest kernels and operators",
}
Rows = list[dict[str, Any]]


def section(gpu: dict[str, Any] | None) -> Iterator[str]:
    """Markdown of the `gpu` entry of benchmarks.json; without one, what is unmeasured."""
    yield from ("## On a GPU", "")
    if gpu is None:
        yield from (
            "Nothing has been measured on a GPU yet: no right results in any precision, no training step,",
            "no loader beside a GPU, no evaluation, no interruption, no full memory. `make bench-gpu`",
            "measures all of it in eight minutes; `benchmarks/gpu.md` in the repository says what it needs.",
            "",
            *goals({}),
        )
        return
    machine = gpu["machine"]
    card = ", ".join(f"{name} {value}" for name, value in (machine["card"] or {}).items())
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield f"{card}; {machine['cores']} cores; {machine['date']}; Python {machine['python']}, {versions}."
    yield ""
    yield from goals(gpu["parts"])
    for part, title in PARTS.items():
        content = gpu["parts"].get(part)
        yield from (f"### {title}", "")
        if content is None:
            yield from ("Unmeasured.", "")
            continue
        yield from TABLES[part](content["rows"])
        yield ""
        missing = [row for row in content["rows"] if "unmeasured" in row or "failed" in row]
        for row in missing:
            yield f"- {row['name']}: {row.get('failed') or 'unmeasured, ' + row['unmeasured']}."
        if content.get("why"):
            yield f"- The part was not whole: {content['why'].splitlines()[-1]}."
        if missing or content.get("why"):
            yield ""


def _right(rows: Rows) -> Iterator[str]:
    yield from ("| what | difference | tolerance | |", "|---|--:|--:|---|")
    for row in _measured(rows):
        off = row.get("output_difference", row.get("difference"))
        tolerance = row.get("output_tolerance", row.get("tolerance"))
        yield f"| {row['name']} | {off:.2g} | {tolerance:g} | {_mark(row)} |"
        if "gradient_norm_difference" in row:
            off, tolerance = row["gradient_norm_difference"], row["gradient_norm_tolerance"]
            yield f"| {row['name']}: a gradient's norm | {off:.2g} | {tolerance:g} | {_mark(row)} |"


def _step(rows: Rows) -> Iterator[str]:
    measured = _measured(rows)
    rates = [f"{row['name']} {row['tflops']:.0f} TFLOP/s" for row in measured if "side" in row]
    yield from (f"Rates of a large product: {'; '.join(rates)}.", "")
    yield "| step | ms | peak memory | TFLOP/s | share of the product's rate |"
    yield "|---|--:|--:|--:|--:|"
    for row in measured:
        if "side" in row:
            continue
        memory = "–" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.1f} GiB"
        share = "–" if row["share_of_product_rate"] is None else f"{row['share_of_product_rate']:.0%}"
        batch = f", {row['batch']} clips" if "batch" in row else ""
        milliseconds = f"{1000 * row['seconds']:.1f}"
        yield f"| {row['name']}{batch} | {milliseconds} | {memory} | {row['tflops']:.1f} | {share} |"


def _whole(rows: Rows) -> Iterator[str]:
    yield from ("| what | clips/s | the loader's share |", "|---|--:|--:|")
    for row in _measured(rows):
        if "clips_per_second" in row:
            share = f"{row['loader_share']:.0%}" if row.get("loader_share") is not None else "–"
            yield f"| {row['name']} | {row['clips_per_second']:.2f} | {share} |"
    yield ""
    for row in _measured(rows):
        if "idle_share" in row:
            idle = "–" if row["idle_share"] is None else f"{row['idle_share']:.0%}"
            yield (
                f"Of a step of {1000 * row['seconds_a_step']:.0f} ms under the profiler the GPU was idle for "
                f"{idle}; "
                f"{row['kernels_a_step']:.0f} kernels, {_listed(row['copies_a_step']) or 'no copies'}, "
                f"{_listed(row['waits_a_step']) or 'no waits'} a step."
            )


def _evaluation(rows: Rows) -> Iterator[str]:
    for row in _measured(rows):
        if "ratio" in row:
            yield f"- {row['name']}: {row['ratio']:.2f} times its floor ({row['note']}) {_mark(row)}"
        else:
            minutes = row["video_seconds"] / 60
            yield (
                f"- {row['name']}: {minutes:.0f} minutes of prepared windows in {row['seconds']:.1f} s, "
                f"{row['model_and_merging_seconds']:.1f} s of them model and merging."
            )


def _sturdy(rows: Rows) -> Iterator[str]:
    for row in _measured(rows):
        told = {key: value for key, value in row.items() if key not in ("name", "ok")}
        yield f"- {row['name']} {_mark(row)}: {_listed(told)}."


def _where(rows: Rows) -> Iterator[str]:
    for row in _measured(rows):
        yield f"`{row['preset']}`, {row['batch']} clips, {row['precision']}."
        for kind in ("kernels", "operators"):
            yield from ("", f"| {kind} | calls a step | ms a step | share |", "|---|--:|--:|--:|")
            for one in row[kind]:
                name = one["name"].replace("|", "\\|")
                cost = f"{one['calls_a_step']:.0f} | {one['milliseconds_a_step']:.2f} | {one['share']:.0%}"
                yield f"| `{name}` | {cost} |"


TABLES: dict[str, Callable[[Rows], Iterator[str]]] = {
    "right": _right,
    "step": _step,
    "whole": _whole,
    "evaluation": _evaluation,
    "sturdy": _sturdy,
    "where": _where,
}


def _measured(rows: Rows) -> Rows:
    return [row for row in rows if "unmeasured" not in row and "failed" not in row]


def _mark(row: dict[str, Any]) -> str:
    return {True: "✓", False: "✗", None: ""}[row.get("ok")]


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"({_listed(value)})" if isinstance(value, dict) else str(value)
