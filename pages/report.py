"""One self-contained HTML page of runs: scores, curves, clips, data, cost and configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..console import message
from ..errors import StgcmaError
from ..shards.manifest import read_dataset
from ..shards.storage import Location
from ..train.results import EvaluationResult
from ..train.run_folder import RunFolder
from ..train.unseen import unseen_by_run
from .charts import Chart, Series, line_chart
from .confusion import confusion_table
from .published import PROTOCOL, published_scores
from .rendering import check_target, render, write_page
from .runs import RunAccount, read_runs
from .shard_account import ShardAccount, read_account
from .tasks import VIEWS
from .views import RankedClips, ranked_clips

_T = TypeVar("_T")

CLIPS_SHOWN = 8
# Ids and titles of the page's sections, in order; the task's view names the third.
_SECTIONS = {
    "scores": "Scores",
    "training": "Training",
    "detail": "",
    "clips": "Best and worst clips",
    "data": "Data",
    "configuration": "Configuration",
}


@dataclass(frozen=True)
class DetailRow:
    """A part of the score.

    Attributes:
        count: seconds, frames or questions of the first run.
        shares: the score of every run; None for a run without this part.
        is_sum: the row stands for several other rows.
    """

    name: str
    count: int
    shares: tuple[float | None, ...]
    is_sum: bool


def write_report(
    runs: Sequence[Path],
    *,
    split: str = "test",
    page: Path | None = None,
    clips: int = CLIPS_SHOWN,
    weights: str | Path | None = None,
) -> Path:
    """Write a page of `runs`, all evaluated on `split`, and return its path.

    Args:
        runs: run folders; clips of the first one are shown.
        split: of the shards.
        page: where to write; in the first run's folder when not given, as `report.html`, or as
            `comparison.html` for several runs.
        clips: number of clips that are shown.
        weights: path of the backbone's weights, if not where the checkpoint expects them.

    Shards that cannot be read any more or hold other data now are named as such in the page. Raises
    InputError as `read_runs`.
    """
    accounts = read_runs(runs, split)
    main = accounts[0]
    page = page or (main.folder.report if len(accounts) == 1 else main.folder.comparison)
    check_target(page)
    data, data_problem = _reach(lambda: _read_shards(main))
    ranked: RankedClips | None = None
    if data is not None and clips:
        shards = data.location
        ranked, data_problem = _reach(
            lambda: ranked_clips(main.folder, shards, split, count=clips, weights=weights)
        )
    if data_problem:
        message(f"not in the page: {data_problem}")
    view, matrix = VIEWS[main.config.task], main.result.detail.confusion_matrix()
    score_label = view.label_of(main.result.score_name)
    content = render(
        "report.html.j2",
        title=_title(accounts),
        view=view,
        score_label=score_label,
        sections=_SECTIONS | {"detail": view.detail.title},
        split=split,
        runs=accounts,
        main=main,
        published=list(
            dict.fromkeys(score for run in accounts for score in published_scores(run.config, run.collection))
        ),
        main_published=published_scores(main.config, main.collection),
        protocol=PROTOCOL,
        charts=charts(accounts, score_label),
        metrics=list(main.result.further_metrics),
        detail=detail_rows([run.result for run in accounts]),
        confusion=None if matrix is None else confusion_table(matrix),
        data=data,
        data_problem=data_problem,
        ranked=ranked,
    )
    return write_page(page, content)


def _title(runs: Sequence[RunAccount]) -> str:
    if len(runs) == 1:
        return f"{runs[0].config.preset} · {runs[0].name}"
    return f"{' · '.join(dict.fromkeys(run.config.preset for run in runs))}: {len(runs)} runs"


def _reach(read: Callable[[], _T]) -> tuple[_T | None, str]:
    """Return the result of `read` and "", or None and the error: a page may be written after its shards."""
    try:
        return read(), ""
    except (StgcmaError, OSError) as error:
        return None, str(error)


def _read_shards(run: RunAccount) -> ShardAccount:
    """Read the shards of the evaluation, or of the training, if they still hold the data that was scored.

    Raises StgcmaError with the reason for each.
    """
    wanted = run.result.data_fingerprint
    problems = []
    if not (locations := [each for each in (run.result.shards, run.facts.shards) if each]):
        problems.append("the run was pushed, and does not say where its shards are")
    for location in dict.fromkeys(locations):
        found, problem = _reach(partial(_same_data, location, wanted, run.folder))
        if found is not None:
            return found
        problems.append(problem)
    raise StgcmaError("; ".join(problems))


def _same_data(location: Location, fingerprint: str, run: RunFolder) -> ShardAccount:
    info = read_dataset(location)
    found = info.data_fingerprint
    if found != fingerprint:
        unseen = unseen_by_run(run, info)
        raise StgcmaError(
            f"{location} holds other data now: {found[:12]}, the score was measured on {fingerprint[:12]}"
            f"{'' if unseen is None else f'; {unseen}'}"
        )
    return read_account(location)


def charts(runs: Sequence[RunAccount], score_label: str) -> list[Chart]:
    """Return charts of loss and score over the epochs.

    Of one run: the score on the selection split, and on the training split where that is the same measure.
    Of several: a line a run.
    """
    runs = [run for run in runs if run.epochs]
    if not runs:
        return []
    name = runs[0].result.score_name
    if len(runs) == 1:
        run = runs[0]
        losses = [_series(run, "training", "loss")]
        scores = [] if run.training_score is None else [_series(run, "train", run.training_score)]
        scores.append(_series(run, run.selected_on, f"{run.selected_on}_{name}"))
    else:
        losses = [_series(run, run.name, "loss") for run in runs]
        scores = [_series(run, run.name, f"{run.selected_on}_{name}") for run in runs]
    return [
        line_chart("Training loss", losses),
        line_chart(f"Score ({score_label})", scores, percent=True),
    ]


def _series(run: RunAccount, name: str, key: str) -> Series:
    return Series(name, [(row.number, value) for row in run.epochs if (value := row.values[key]) is not None])


def detail_rows(results: Sequence[EvaluationResult]) -> list[DetailRow]:
    """Return the parts of the first result's score, with the scores of all results."""
    scores = [{row.name: row.share for row in result.detail.rows()} for result in results]
    return [
        DetailRow(row.name, row.count, tuple(named.get(row.name) for named in scores), row.kind == "sum")
        for row in results[0].detail.rows()
    ]
