"""The card of a run: its model, scores and data, and how to use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import StgcmaError
from ..model.accounting import ModelSummary, describe
from ..model.checkpoint import describe_checkpoint
from ..model.config import ModelConfig
from ..pages.published import PROTOCOL, published_scores
from ..pages.runs import RunAccount, read_runs
from ..pages.tasks import VIEWS
from ..shards.schema import SPLITS, DatasetInfo
from ..train.results import EvaluationResult
from ..train.run_folder import RunFolder
from .card_text import render_card
from .collection_form import NOT_PUBLISHED_TAG, other_than_published
from .library import hub_library
from .names import HubName
from .run_files import evaluations_of

_MOST_CLASSES = 40
_QUESTION = ' --question "What is sounding?"'


@dataclass(frozen=True)
class Picture:
    """The picture of a prediction: its file in the repository, its text, and the line below it."""

    file: str
    alt: str
    caption: str


def model_card(
    run: RunFolder, name: HubName, *, license_: str, shards: str = "", picture: Picture | None = None
) -> bytes:
    """Return the card of a run that is pushed as `name`.

    Args:
        run: a run folder with scores.
        name: of the repository.
        license_: the Hub's name of the licence, or `unknown`.
        shards: the name of the data set on the Hub with the run's shards; empty for none.
        picture: of a prediction.
    """
    scores = evaluations_of(run)
    split, result = next(iter(scores.items()))
    account = read_runs([run.path], split)[0]
    info, view = run.read_dataset(), VIEWS[account.config.task]
    other = other_than_published(info)
    config, source = describe_checkpoint(run.best)
    backbone = {"timm_name": None, "weights": None, "file_sha256": None} | source
    return render_card(
        _front_matter(
            name,
            account,
            scores,
            license_=license_,
            shards=shards,
            config=config,
            backbone=backbone,
            other=other,
        ),
        "model_card.md.j2",
        title=name.repo.partition("/")[2],
        name=str(name),
        run=account,
        view=view,
        split=split,
        result=result,
        score_label=view.label_of(result.score_name),
        selected_on=account.selected_on,
        published=[] if other else published_scores(account.config, account.collection),
        other=other,
        protocol=PROTOCOL,
        backbone=backbone,
        adapter=config.adapter.method,
        family=config.backbone.family,
        stgcma_version=account.facts.versions.get("stgcma", ""),
        counts=_counts(info),
        classes=_classes(info),
        memory=_memory(config),
        shards=shards,
        license=license_,
        picture=picture,
        question=_QUESTION if info.vocabulary else "",
    )


def _front_matter(
    name: HubName,
    run: RunAccount,
    scores: dict[str, EvaluationResult],
    *,
    license_: str,
    shards: str,
    config: ModelConfig,
    backbone: dict[str, Any],
    other: str,
) -> Any:
    library = hub_library()
    task = VIEWS[run.config.task].hub_task
    results = [
        library.EvalResult(
            task_type=task,
            dataset_type=f"{run.collection}-form" if other else run.collection,
            dataset_name=f"in the form of {run.collection}, not the published one: {other}"
            if other
            else run.collection,
            dataset_split=split,
            metric_type=metric,
            metric_name=VIEWS[run.config.task].label_of(metric),
            metric_value=round(value, 4),
        )
        for split, result in scores.items()
        for metric, value in {**result.further_metrics, result.score_name: result.score}.items()
        if value is not None and value == value  # not NaN, of an empty split
    ]
    return library.ModelCardData(
        license=license_,
        library_name="stgcma",
        pipeline_tag=task,
        tags=[
            *("audio-visual", "adapters", f"task:{run.config.task}", f"adapter:{config.adapter.method}"),
            *([NOT_PUBLISHED_TAG] if other else []),
        ],
        datasets=[shards.partition("datasets/")[2].partition("@")[0]] if shards else None,
        base_model=_base_model(backbone),
        model_name=name.repo.partition("/")[2],
        eval_results=sorted(results, key=lambda each: each.metric_type != run.result.score_name),
    )


def _base_model(backbone: dict[str, Any]) -> str | None:
    """Return the backbone's repository on the Hub; None when it is not published there."""
    if backbone["timm_name"] is None:
        return None
    import timm

    published = timm.get_pretrained_cfg(backbone["timm_name"], allow_unregistered=True)
    found = None if published is None else published.hf_hub_id
    return found if isinstance(found, str) and "/" in found else None


def _memory(config: ModelConfig) -> ModelSummary | None:
    try:
        return describe(config)
    except (StgcmaError, NotImplementedError):
        return None


def _counts(info: DatasetInfo) -> str:
    written = [info.counts.get(split, {}).get("written", 0) for split in SPLITS]
    return ", ".join(f"{count:,}" for count in written)


def _classes(info: DatasetInfo) -> str:
    names = info.vocabulary.get("answers") or list(info.classes)
    noun = "answers" if info.vocabulary else "classes"
    more = f" · … ({len(names)} {noun})" if len(names) > _MOST_CLASSES else ""
    return " · ".join(names[:_MOST_CLASSES]) + more
