"""The figures as a page: docs/benchmarks.md from docs/benchmarks.json."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from gpu_page import section

EXPLAINED = {
    "clips": (
        "After a start of a few seconds, every clip adds its time; memory does not grow, because a "
        "clip is forgotten once its shard is written."
    ),
    "workers": (
        "Clips are decoded independently, so time falls with the workers as far as there are cores for them; "
        "more only add what each takes to start and get in each other's way. Memory is the largest "
        "process's, of which there is one a worker."
    ),
    "steps": (
        "Both grow with T, for every time step is a frame and a second of sound; the naive side also keeps "
        "every attention matrix for the backward pass."
    ),
    "resolution": (
        "TPAVI has no softmax, so its product is taken from the right and costs as much as there are pixels; "
        "written down naively, its matrix grows with their square."
    ),
}
HEAD = (
    "# Benchmarks",
    "",
    "Written by `make bench`. Every figure stands beside a baseline measured in the same run, the sides",
    "taking turns; what counts is their ratio, the median of the rounds (least and most in brackets). What",
    "was tried to get there is in [performance.md](performance.md).",
    "",
)
TABLE = ("| what | ours | baseline | | ours ÷ baseline | target | |", "|---|--:|--:|---|--:|--:|---|")


def page(content: dict[str, Any]) -> str:
    """Markdown of a run's `figures` and `curves`, of which machine they are, and of `gpu`."""
    return "\n".join(
        (
            *HEAD,
            *(("**A quick run: few clips, few rounds, small models.**", "") if content["quick"] else ()),
            *_tables(content),
            *_growth(content),
            *section(content.get("gpu")),
        )
    )


def _tables(content: dict[str, Any]) -> Iterator[str]:
    """A table for each machine, the one that was measured last first."""
    parts: dict[str, list[str]] = {}
    for name in content["figures"]:
        parts.setdefault(_machine(content["measured"][name]["machine"]), []).append(name)
    days = {told: sorted({content["measured"][name]["date"] for name in parts[told]}) for told in parts}
    for told in sorted(parts, key=lambda each: days[each][-1], reverse=True):
        figures = [figure for name in parts[told] for figure in content["figures"][name]]
        yield from (f"## Measured on {' and '.join(days[told])}", "", told, "")
        yield from (*TABLE, *map(_row, figures), "", *_remarks(figures))


def compared(figure: dict[str, Any]) -> str:
    """Ours ÷ baseline, or what ours is more, with the least and the most of the rounds."""
    least, most = min(figure["compared"]), max(figure["compared"])
    unit = f" {figure['unit']} more" if figure["difference"] else ""
    return f"{figure['median']:.3g}{unit} ({least:.3g} to {most:.3g})"


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{machine['gpu'] or 'no GPU'}; Python {machine['python']}, {versions}."
    )


def _row(figure: dict[str, Any]) -> str:
    ours, theirs = (_number(statistics.median(figure[side])) for side in ("ours", "theirs"))
    unit, target = figure["unit"], "–"
    if figure["target"] is not None:
        target = f"{'≥' if figure['at_least'] else '≤'} {figure['target']:g}"
        target += f" {unit} more" if figure["difference"] else ""
    met = {True: "✓", False: "✗", None: ""}[figure["met"]]
    sides = (f"{ours} {unit}", f"{theirs} {unit}", figure["baseline"])
    return f"| {' | '.join((figure['name'], *sides, compared(figure), target, met))} |"


def _remarks(figures: list[dict[str, Any]]) -> Iterator[str]:
    for figure in figures:
        if figure["met"] is False:
            share = figure["median"] / figure["target"]
            yield f"- **{figure['name']}, against {figure['baseline']}: {share:.2f} times its target.**"
    for figure in figures:
        if figure["note"]:
            yield f"- {figure['name']}, against {figure['baseline']}: {figure['note']}."
    yield ""


def _growth(content: dict[str, Any]) -> Iterator[str]:
    curves = content["curves"]
    if curves:
        measured = content["measured"]["growth"]
        told = f"Measured on {measured['date']}, each point once, in a process of its own."
        yield from ("## Growth", "", told, _machine(measured["machine"]), "")
    for curve in curves:
        about = f"{curve['title']}: seconds and memory over {curve['axis']}"
        yield from (f"![{about}](images/growth-{curve['name']}.svg)", "", EXPLAINED[curve["name"]], "")
        yield from (*map(_grown, curve["points"].items()), "")


def _grown(side: tuple[str, list[list[float]]]) -> str:
    name, points = side
    (x, seconds, size), (last, last_seconds, last_size) = points[0], points[-1]
    xs, times, sizes = zip(*points, strict=True)
    mebibytes = [size / 2**20 for size in sizes]
    return (
        f"- {name}, at {_listed(xs, '{:g}')}: {_listed(times, '{:.2g}')} s; "
        f"{_listed(mebibytes, '{:,.0f}')} MiB. "
        f"From first to last ({last / x:.3g} times): {last_seconds / seconds:.2g} times the time, "
        f"{last_size / size:.2g} times the memory."
    )


def _listed(values: Sequence[float], form: str) -> str:
    return ", ".join(form.format(value) for value in values)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
