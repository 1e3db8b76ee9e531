"""The card of a shard directory: its counts and statistics, and how to read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..pages.shard_account import ShardAccount, read_account
from ..pages.tasks import VIEWS
from ..shards.columns import column_counts
from ..shards.schema import SHARD_FOLDER
from .card_text import UNKNOWN_LICENSE, render_card
from .collection_form import NOT_PUBLISHED_TAG, other_than_published
from .library import hub_library
from .names import HubName

_MOST_CLASSES = 60
# The Hub's names of splits.
_SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}


def dataset_card(location: Path, name: HubName, *, license_: str) -> bytes:
    """Return the card of the shard directory `location` that is pushed as `name`.

    `license_` is the Hub's name of the collection's licence, or `unknown`.
    """
    account = read_account(location)
    other = other_than_published(account.info)
    names = VIEWS[account.info.task].filter_names(account.info)
    return render_card(
        _front_matter(name, account, license_, other=other),
        "dataset_card.md.j2",
        title=name.repo.partition("/")[2],
        name=str(name),
        url=str(name).replace("hf:", "hf://", 1),
        account=account,
        other=other,
        info=account.info,
        columns=column_counts(location),
        names=names[:_MOST_CLASSES],
        more=len(names) - _MOST_CLASSES,
        filter_word=VIEWS[account.info.task].filter_word,
        license=license_,
        unknown=UNKNOWN_LICENSE,
    )


def _front_matter(name: HubName, account: ShardAccount, license_: str, *, other: str) -> Any:
    files = [
        {"split": _SPLIT_NAMES[split.name], "path": f"{SHARD_FOLDER}/{split.name}-*.tar"}
        for split in account.splits
        if split.name in _SPLIT_NAMES and split.written
    ]
    collection = [NOT_PUBLISHED_TAG] if other else [f"collection:{account.info.name}"]
    return hub_library().DatasetCardData(
        license=license_,
        pretty_name=name.repo.partition("/")[2],
        task_categories=[VIEWS[account.info.task].hub_task],
        tags=["audio-visual", "webdataset", "stgcma", *collection],
        configs=[{"config_name": "default", "data_files": files}],
    )
