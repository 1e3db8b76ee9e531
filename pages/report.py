"""One self-contained HTML page of runs: scores, curves, clips, data, cost, and what they ran with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..console import message
from ..errors import StgcmaError
from ..shards.manifest import read_dataset
from ..shards.storage import Location
from .charts import Chart, Series, line_chart
from .confusion import confusion_table
from .published import PROTOCOL, published_scores
from .rendering import check_target, render, write_page
from .runs import RunAccount, read_runs
from .shard_account import ShardAccount, read_account
from .views import RankedClips, ranked_clips

_T = TypeVar("_T")

CLIPS_SHOWN = 8


def _sections(detail: str) -> dict[str, str]:
    """The page's sections: their ids, and what they are called."""
    return {
        "scores": "Scores",
        "training": "Training",
        "detail": detail,
        "clips": "Best and worst clips",
        "data": "Data",
        "configuration": "Configuration",
    }


_LEADS = {
    "ave": "What happens when, second by second",
    "avs": "Which pixels make the sound, second by second",
    "avqa": "Answers to questions about what is seen and heard",
}
# What the parts of a score are called, and what the score of a single clip is.
_WORDS: dict[str, dict[str, Any]] = {
    "ave": {
        "sections": _sections("Classes"),
        "detail_caption": "The share of each class's seconds that are right",
        "detail_heads": ("class", "seconds"),
        "clip_score": "of the seconds right",
    },
    "avs": {
        "sections": _sections("Measures"),
        "detail_caption": "mIoU over all frames, F-score (β² = 0.3) over those that show what sounds",
        "detail_heads": ("measure", "frames"),
        "clip_score": "mIoU",
    },
    "avqa": {
        "sections": _sections("Questions by type"),
        "detail_caption": "The share of each type's questions that are answered right",
        "detail_heads": ("type", "questions"),
        "clip_score": "of the questions right",
    },
}
_SCORE_NAMES = {"accuracy": "accuracy", "miou": "mIoU"}


@dataclass(frozen=True)
class DetailRow:
    """A part of the score: what it is of, how many seconds or questions, and every run's share of it."""

    name: str
    count: int | None
    shares: tuple[float | None, ...]


def write_report(
    runs: Sequence[Path],
    *,
    split: str = "test",
    page: Path | None = None,
    clips: int = CLIPS_SHOWN,
    weights: str | Path | None = None,
) -> Path:
    """Writes a page of `runs`, all evaluated on `split`, into `page`.

    Without `page`, into the first run's folder: `report.html`, or `comparison.html` for several.

    The first run's clips are shown, `clips` of them; `weights` says where its backbone's weights are, if not
    where its checkpoint says. Shards that cannot be reached any more, or hold other
    data by now, are said to be so in the page. Raises InputError as `read_runs`. Returns the page's path.
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
    content = render(
        "report.html.j2",
        title=_title(accounts),
        lead=_LEADS[main.config.task],
        split=split,
        score_name=_SCORE_NAMES[main.result["score_name"]],
        runs=accounts,
        main=main,
        published=list(
            dict.fromkeys(score for run in accounts for score in published_scores(run.config, run.collection))
        ),
        main_published=published_scores(main.config, main.collection),
        best_baseline=max(main.result["baselines"].items(), key=lambda item: item[1], default=None),
        protocol=PROTOCOL,
        charts=charts(accounts),
        detail=detail_rows(accounts),
        confusion=confusion_table(main.result) if "confusion" in main.result else None,
        data=data,
        data_problem=data_problem,
        ranked=ranked,
        **_WORDS[main.config.task],
    )
    return write_page(page, content)


def _title(runs: Sequence[RunAccount]) -> str:
    if len(runs) == 1:
        return f"{runs[0].config.preset} · {runs[0].name}"
    return f"{' · '.join(dict.fromkeys(run.config.preset for run in runs))}: {len(runs)} runs"


def _reach(read: Callable[[], _T]) -> tuple[_T | None, str]:
    """What `read` gives, or None and why it cannot: a page outlives the shards that it is of."""
    try:
        return read(), ""
    except (StgcmaError, OSError) as error:
        return None, str(error)


def _read_shards(run: RunAccount) -> ShardAccount:
    """The shards of the evaluation, else those of the training, if they hold the same data as then.

    Raises StgcmaError saying of each why not.
    """
    wanted = run.result["data_fingerprint"]
    problems = []
    for location in dict.fromkeys((run.result["shards"], run.about["shards"])):
        found, problem = _reach(partial(_same_data, location, wanted))
        if found is not None:
            return found
        problems.append(problem)
    raise StgcmaError("; ".join(problems))


def _same_data(location: Location, fingerprint: str) -> ShardAccount:
    found = read_dataset(location).data_fingerprint
    if found != fingerprint:
        raise StgcmaError(
            f"{location} holds other data by now: {found[:12]}, the score is of {fingerprint[:12]}"
        )
    return read_account(location)


def charts(runs: Sequence[RunAccount]) -> list[Chart]:
    """Loss and score over the epochs: of one run on train and the selection split, of several a line each."""
    runs = [run for run in runs if run.epochs]
    if not runs:
        return []
    name = runs[0].result["score_name"]
    if len(runs) == 1:
        run = runs[0]
        losses = [_series(run, "training", "loss")]
        scores = [_series(run, split, f"{split}_{name}") for split in ("train", run.selected_on)]
    else:
        losses = [_series(run, run.name, "loss") for run in runs]
        scores = [_series(run, run.name, f"{run.selected_on}_{name}") for run in runs]
    return [
        line_chart("Training loss", losses),
        line_chart(f"Score ({_SCORE_NAMES[name]})", scores, percent=True),
    ]


def _series(run: RunAccount, name: str, key: str) -> Series:
    return Series(name, [(row["epoch"], row[key]) for row in run.epochs if row[key] is not None])


def detail_rows(runs: Sequence[RunAccount]) -> list[DetailRow]:
    """The parts of the score of the task, and each run's share: classes, or question types, or measures."""
    results = [run.result for run in runs]
    first = results[0]
    if "by_class" in first:
        seconds = [sum(row) for row in first["confusion"]]
        return [
            DetailRow(name, count, tuple(result["by_class"].get(name) for result in results))
            for name, count in zip(first["by_class"], seconds, strict=True)
        ]
    if "by_type" in first:
        types = [
            DetailRow(
                name, kind["questions"], tuple(result["by_type"][name]["accuracy"] for result in results)
            )
            for name, kind in first["by_type"].items()
        ]
        return types + [
            DetailRow(
                f"all {name}",
                sum(kind["questions"] for own, kind in first["by_type"].items() if own.split()[0] == name),
                tuple(result["by_modality"][name] for result in results),
            )
            for name in first["by_modality"]
        ]
    shown = first["frames"] - first["frames_without_object"]
    return [
        DetailRow("mIoU at 0.5", first["frames"], tuple(result["miou"] for result in results)),
        DetailRow("F-score", shown, tuple(result["f_score"] for result in results)),
    ]
