"""The goals on a GPU beside what was measured of them, and the forecast of a whole training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Rows = list[dict[str, Any]]
GIB = 2**30
FORECAST_PRESET, CLIPS, EPOCHS = "ave-clip-l14-base", 3_339, 20
MODES = ("eager", "compiled", "CUDA graphs")
UNMEASURED = "not measured yet"


def goals(parts: dict[str, Any]) -> Iterator[str]:
    """Markdown: a row for each goal, and one for each forecast, of the parts that were measured."""
    yield from (
        "### Goals",
        "",
        "| goal | measured | by `benchmarks/gpu.py --device cuda --out DIR` |",
        "|---|---|---|",
    )
    for goal, part, measured in GOALS:
        found = measured(parts.get(part, {}).get("rows", []))
        yield f"| {goal} | {found or UNMEASURED} | `--only {part}` |"
    run = f"steps of `{FORECAST_PRESET}` on AVE, {CLIPS:,} clips, {EPOCHS} epochs, bf16"
    for mode in MODES:
        hours = forecast_hours(parts.get("step", {}).get("rows", []), mode)
        yield f"| forecast: {run}, {mode} | {f'{hours:.2f} h' if hours else UNMEASURED} | `--only step` |"
    yield ""


def forecast_hours(rows: Rows, mode: str) -> float | None:
    """Hours of the steps of a whole training, without its scoring; None where the step was not measured."""
    for row in rows:
        if row["name"].startswith(f"{FORECAST_PRESET}, bf16, {mode}, ") and "seconds" in row:
            batch = int(row["name"].split(", ")[3].split()[0])
            return float(row["seconds"]) * CLIPS * EPOCHS / batch / 3600
    return None


def _against_naive(field: str) -> Callable[[Rows], str]:
    def worst(rows: Rows) -> str:
        values = {row["name"]: row.get(field) for row in rows}
        ratios = {}
        for name, value in values.items():
            if ", bf16, eager, " in name and name.endswith(", stgcma"):
                naive = values.get(name.replace(", stgcma", ", naive"))
                ratios[name.partition(",")[0]] = value / naive if value and naive else None
        return _extreme(ratios, max, "{:.2f}")

    return worst


def _extreme(values: dict[str, float | None], choose: Callable[..., str], form: str) -> str:
    """The largest or the smallest value with its preset, and the presets without one; empty without any."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return ""
    name = choose(known, key=lambda each: known[each])
    without = ", ".join(f"`{each}`" for each in values if each not in known)
    extreme = f"{form.format(known[name])} (`{name}`), of {len(known)} presets"
    return f"{extreme}; none for {without}" if without else extreme


def _smallest_share(rows: Rows) -> str:
    shares = {
        row["name"].partition(",")[0]: row.get("share_of_product_rate")
        for row in rows
        if "largest batch" in row["name"]
    }
    return _extreme(shares, min, "{:.0%}")


def _largest_peak(rows: Rows) -> str:
    peaks = {
        row["name"].partition(",")[0]: row["peak_bytes"] / GIB if row.get("peak_bytes") else None
        for row in rows
        if ", bf16, eager, " in row["name"] and row["name"].endswith("stgcma")
    }
    return _extreme(peaks, max, "{:.1f} GiB")


def _lost_to_loading(rows: Rows) -> str:
    shares = [
        row["loader_share"]
        for row in rows
        if row["name"] == "train, 16 workers" and row.get("loader_share") is not None
    ]
    return f"{shares[0]:.0%}" if shares else ""


GOALS: tuple[tuple[str, str, Callable[[Rows], str]], ...] = (
    ("a step ≤ 0.4 of the naive one's time, every preset, bf16", "step", _against_naive("seconds")),
    ("a step ≤ 0.5 of the naive one's memory, every preset, bf16", "step", _against_naive("peak_bytes")),
    ("≥ 40 % of the rate of a large product, largest batch of 24 GB", "step", _smallest_share),
    ("every preset within 24 GB, the batch of Table 9", "step", _largest_peak),
    ("≤ 3 % of a step lost to loading, 16 workers", "whole", _lost_to_loading),
)
