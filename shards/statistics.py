"""Statistics of a shard directory, compared with published numbers (`stgcma shards stats`)."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import StgcmaError
from .columns import column_counts
from .distributions import Distribution, distributions, flag_counts
from .manifest import read_dataset, read_manifest, read_quarantine
from .members import read_description, read_labels, read_questions, read_tags
from .published import ALL, PublishedLookup
from .reader import small_members
from .schema import SHARD_FOLDER, SPLITS, ClipRecord, DatasetInfo
from .storage import Location, open_store


@dataclass(frozen=True)
class SplitStatistics:
    """Statistics of one split; lengths are in seconds.

    Attributes:
        clips: written clips.
        quarantined: clips that could not be made.
        published: number of clips in the publication; None when unknown.
        questions: question records (`music-avqa`), else 0.
        categories: `category` of the clips to their number.
        labels_by_class: class to the labels that name it (tasks with a label a second; a clip that is shorter
            than usual has as many).
        clips_by_tag: class to the clips that are tagged with it (tasks with tags).
        measured: statistic of the manifest to its distribution; empty for clips of earlier versions.
        flagged: `still` and `mute` to their number of clips, likewise.
    """

    clips: int
    quarantined: int
    published: int | None
    seconds_total: float
    seconds_least: float
    seconds_most: float
    without_sound: int
    with_warnings: int
    questions: int
    categories: dict[str, int]
    labels_by_class: dict[str, int]
    clips_by_tag: dict[str, int] = field(default_factory=dict)
    measured: dict[str, Distribution] = field(default_factory=dict)
    flagged: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Statistics:
    """A shard directory in numbers.

    Attributes:
        splits: the splits' statistics, and those of `all` clips.
        audio: fbank to mean and std over train; `published` has the authors' pair, if any.
        failures: quarantined clips by reason.
        additions: split to `{"written": n, "quarantined": n}` for each addition, when there are several.
        leaks: pairs of splits (`train & test`) to the sources that are in both.
        columns: complete column to its numbers of `written` and `quarantined` clips.
    """

    name: str
    task: str
    splits: dict[str, SplitStatistics]
    questions_published: int | None
    audio: dict[str, dict[str, float]]
    failures: dict[str, int]
    leaks: dict[str, list[str]]
    additions: list[dict[str, dict[str, int]]] = field(default_factory=list)
    columns: dict[str, dict[str, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as JSON values."""
        return asdict(self)


@dataclass
class _Labels:
    """Labels of the clips of a split."""

    categories: Counter[str]
    seconds: Counter[str]
    tags: Counter[str]
    questions: int = 0


def gather_statistics(location: Location, *, published: PublishedLookup = lambda _: None) -> Statistics:
    """Return the statistics of a finished shard directory.

    Of the shards only descriptions and labels are read, not pictures or sound.

    Args:
        location: the shard directory, a path or a URL.
        published: returns the published numbers of a collection, by its name.

    Raises:
        InputError: when `location` is not a finished shard directory.
    """
    info = read_dataset(location)
    manifest = read_manifest(location)
    labels = _labels(location, manifest, info)
    known = published(info.name)
    splits = {}
    for split in (*SPLITS, ALL):
        records = [record for record in manifest if split in (ALL, record.split)]
        parts = [labels[each] for each in SPLITS if split in (ALL, each)]
        quarantined = sum(
            count.get("quarantined", 0) for each, count in info.counts.items() if split in (ALL, each)
        )
        expected = known.clips_of(split) if known else None
        splits[split] = _split_statistics(records, parts, quarantined, expected)
    audio = {name: {"mean": each.mean, "std": each.std} for name, each in info.audio.items()}
    if known and known.audio:
        audio["published"] = asdict(known.audio)
    failures = Counter(record.reason for record in read_quarantine(location))
    return Statistics(
        name=info.name,
        task=info.task,
        splits=splits,
        questions_published=known.rows_of(ALL) if known else None,
        audio=audio,
        failures=dict(sorted(failures.items())),
        leaks=leaks(manifest),
        additions=[addition.counts for addition in info.additions],
        columns=column_counts(location),
    )


def leaks(manifest: list[ClipRecord]) -> dict[str, list[str]]:
    """Return the sources that are in two splits, by the pair of splits; pairs without any are left out."""
    sources = {split: {record.source for record in manifest if record.split == split} for split in SPLITS}
    return {f"{one} & {other}": shared for (one, other), shared in in_two_splits(sources).items()}


def in_two_splits(sources: Mapping[str, set[str]]) -> dict[tuple[str, str], list[str]]:
    """Return the sorted names that are in two splits, by pair of splits; empty pairs are left out."""
    pairs = itertools.combinations(SPLITS, 2)
    shared = {(one, other): sorted(sources[one] & sources[other]) for one, other in pairs}
    return {pair: names for pair, names in shared.items() if names}


def _split_statistics(
    records: list[ClipRecord], labels: list[_Labels], quarantined: int, published: int | None
) -> SplitStatistics:
    seconds = [record.seconds for record in records]
    categories = sum((each.categories for each in labels), Counter[str]())
    by_class = sum((each.seconds for each in labels), Counter[str]())
    return SplitStatistics(
        clips=len(records),
        quarantined=quarantined,
        published=published,
        seconds_total=math.fsum(seconds),
        seconds_least=min(seconds, default=0.0),
        seconds_most=max(seconds, default=0.0),
        without_sound=sum(not record.has_audio for record in records),
        with_warnings=sum(bool(record.warnings) for record in records),
        questions=sum(each.questions for each in labels),
        categories=dict(sorted(categories.items())),
        labels_by_class=dict(by_class),
        clips_by_tag=dict(sum((each.tags for each in labels), Counter[str]())),
        measured=distributions(records),
        flagged=flag_counts(records),
    )


def _labels(
    location: Location,
    manifest: list[ClipRecord],
    info: DatasetInfo,
) -> dict[str, _Labels]:
    store = open_store(location)
    labels: dict[str, _Labels] = defaultdict(lambda: _Labels(Counter(), Counter(), Counter()))
    split_of = {record.shard: record.split for record in manifest}
    for shard, split in split_of.items():
        name = f"{SHARD_FOLDER}/{shard}"
        for suffix, content in small_members(store, name, _LABEL_MEMBERS):
            try:
                _count(suffix, content, info, labels[split])
            except StgcmaError as error:
                raise StgcmaError(f"{store.where(name)}: a clip's {suffix} is damaged: {error}") from None
    return labels


def _count(suffix: str, content: bytes, info: DatasetInfo, labels: _Labels) -> None:
    if suffix == "json":
        category = read_description(content).get("category")
        labels.categories.update([category] if isinstance(category, str) else [])
    elif suffix == "label.npy":
        labels.seconds.update(_class_names(content, info))
    elif suffix == "tags.npy":
        flags = read_tags(content, classes=len(info.classes))
        labels.tags.update(name for name, flag in zip(info.classes, flags, strict=True) if flag)
    else:
        labels.questions += len(read_questions(content))


_LABEL_MEMBERS = ("json", "label.npy", "tags.npy", "qa.json")


def _class_names(content: bytes, info: DatasetInfo) -> Iterator[str]:
    for label in read_labels(content):
        yield info.classes[label] if 0 <= label < len(info.classes) else f"class {label}"
