"""One self-contained HTML page of clips from the shards: what training gets to see, hear and learn."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..console import progress
from ..errors import InputError
from ..shards.members import (
    class_name,
    member,
    named_clip,
    question_text,
    read_description,
    read_labels,
    read_questions,
)
from ..shards.reader import ClipPlace, ClipReader, clip_places
from ..shards.schema import QUESTION_TYPES, SPLITS, ClipRecord, DatasetInfo
from ..shards.storage import LocalStore, Location, open_store
from .rendering import check_target, render, write_page
from .shard_account import read_account, warning_kind
from .strips import Strip, classes_row, clip_strip, frames_row, masks_row, sound_row, true_masks

CLIPS_SHOWN = 24


@dataclass(frozen=True)
class Wanted:
    """Which clips are shown: `None` is any. `warning` is a part of a warning's text, of any case."""

    split: str | None = None
    class_: str | None = None
    warning: str | None = None
    clips: int = CLIPS_SHOWN
    seed: int = 0


@dataclass(frozen=True)
class Question:
    """A question of a clip, its answer and its type."""

    text: str
    answer: str
    kind: str


@dataclass(frozen=True)
class SampleView:
    """A clip as the page shows it. `classes`: the classes or question types that it is filtered by."""

    record: ClipRecord
    classes: tuple[str, ...]
    strip: Strip
    questions: tuple[Question, ...]

    @property
    def warning_kinds(self) -> tuple[str, ...]:
        """Its warnings as they are counted."""
        return tuple(dict.fromkeys(map(warning_kind, self.record.warnings)))


def write_samples(out: Location, wanted: Wanted | None = None, *, page: Path | None = None) -> Path:
    """Writes a page of clips of the shard directory `out` into `page`, or `OUT-inspect.html` beside it.

    The tables are read, and of the shards only the clips that are shown; with a class, also those that
    are drawn before enough have it.

    Raises InputError when `out` is no finished directory, when nothing is as `wanted`, and when `out` is a
    URL and there is no `page`.
    """
    wanted = wanted or Wanted()
    page = page or _beside(out)
    check_target(page)
    account = read_account(out)
    _check(wanted, account.info)
    clips = []
    for record, members in _chosen(out, account.info, account.manifest, wanted):
        with named_clip(out, record.key):
            clips.append(_view(account.info, record, members))
    clips.sort(key=lambda clip: (SPLITS.index(clip.record.split), clip.record.key))
    content = render(
        "inspect.html.j2",
        title=f"{account.info.name} · {Path(str(out)).resolve().name}",
        sections={"data": "Data", "clips": "Clips"},
        data=account,
        wanted=wanted,
        clips=clips,
        splits=_in_order(clip.record.split for clip in clips),
        classes=sorted({name for clip in clips for name in clip.classes}),
        warnings=sorted({kind for clip in clips for kind in clip.warning_kinds}),
        class_word="question type" if account.info.task == "avqa" else "class",
    )
    return write_page(page, content)


def _beside(out: Location) -> Path:
    """Not in the directory, which holds what the contract names and nothing else."""
    store = open_store(out)
    if not isinstance(store, LocalStore):
        raise InputError(f"OUT {out} is a URL: say with --page where the page is to be written")
    folder = store.path.resolve()
    return folder.with_name(f"{folder.name}-inspect.html")


def _check(wanted: Wanted, info: DatasetInfo) -> None:
    if wanted.split is not None and wanted.split not in SPLITS:
        raise InputError(f"--split is {wanted.split!r}, must be one of {', '.join(SPLITS)}")
    known = known_classes(info)
    if wanted.class_ is not None and wanted.class_ not in known:
        # In quotes: names hold commas.
        raise InputError(f"--class is {wanted.class_!r}, must be one of {', '.join(map(repr, known))}")


def known_classes(info: DatasetInfo) -> list[str]:
    """What clips of a collection are filtered by: its classes, or where it has questions their types."""
    if info.task == "avqa":
        return [" ".join(kind) for kind in QUESTION_TYPES]
    return list(info.classes)


def _chosen(
    out: Location, info: DatasetInfo, manifest: Sequence[ClipRecord], wanted: Wanted
) -> Iterator[tuple[ClipRecord, dict[str, bytes]]]:
    """Clips as wanted, drawn at random, from all splits in turn."""
    candidates = [
        (record, place)
        for record, place in zip(manifest, clip_places(manifest), strict=True)
        if wanted.split in (None, record.split) and _has_warning(record, wanted.warning)
    ]
    if not candidates:
        raise InputError(f"{out} has no clip{_said(wanted)}")
    found = 0
    with closing(ClipReader(out)) as reader, progress("clips") as bar:
        row = bar.add_task("read clips", total=min(wanted.clips, len(candidates)), note="")
        for number, (record, place) in enumerate(_drawn(candidates, wanted.seed)):
            if found == wanted.clips:
                break
            members = reader.read(place)
            with named_clip(out, record.key):
                fits = wanted.class_ is None or wanted.class_ in _classes(info, members)
            if fits:
                found += 1
                yield record, members
            note = "" if wanted.class_ is None else f"{number + 1:,} looked at for {wanted.class_}"
            bar.update(row, completed=found, note=note)
    if not found:
        raise InputError(f"{out} has no clip{_said(wanted)}")


def _drawn(
    candidates: Sequence[tuple[ClipRecord, ClipPlace]], seed: int
) -> Iterator[tuple[ClipRecord, ClipPlace]]:
    """All candidates in a random order, in which the splits take turns."""
    rng = random.Random(seed)
    by_split: dict[str, list[tuple[ClipRecord, ClipPlace]]] = {}
    for candidate in candidates:
        by_split.setdefault(candidate[0].split, []).append(candidate)
    turns = list(by_split.values())
    for one in turns:
        rng.shuffle(one)
    while turns:
        yield from [one.pop() for one in turns]
        turns = [one for one in turns if one]


def _has_warning(record: ClipRecord, text: str | None) -> bool:
    return text is None or any(text.casefold() in warning.casefold() for warning in record.warnings)


def _said(wanted: Wanted) -> str:
    """What was asked for, for a message."""
    said = f" in split {wanted.split}" if wanted.split else ""
    said += f" with class {wanted.class_!r}" if wanted.class_ else ""
    return said + (f" with a warning that contains {wanted.warning!r}" if wanted.warning is not None else "")


def _classes(info: DatasetInfo, members: dict[str, bytes]) -> tuple[str, ...]:
    """What a clip is filtered by, in the order in which it has them."""
    if info.task == "avqa":
        return _in_order(" ".join(asked["type"]) for asked in read_questions(member(members, "qa.json")))
    if "label.npy" in members:
        return _in_order(class_name(info.classes, label) for label in read_labels(members["label.npy"]))
    return (str(read_description(member(members, "json")).get("category", "")),)


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in the order of their first appearance."""
    return tuple(dict.fromkeys(names))


def _view(info: DatasetInfo, record: ClipRecord, members: dict[str, bytes]) -> SampleView:
    rows = [frames_row(record.key, members)]
    if info.task == "avs":
        masks = true_masks(members)
        known = sum(mask is not None for mask in masks)
        alt = f"Frames of {record.key}, {known} of {len(masks)} with their mask"
        rows.append(masks_row("masks", members, masks, alt))
    rows.append(sound_row(record.key, members))
    if "label.npy" in members:
        rows.append(classes_row("label", read_labels(members["label.npy"]), info.classes))
    return SampleView(
        record=record,
        classes=_classes(info, members),
        strip=clip_strip(members, info, rows),
        questions=_questions(members),
    )


def _questions(members: dict[str, bytes]) -> tuple[Question, ...]:
    asked = read_questions(members["qa.json"]) if "qa.json" in members else []
    return tuple(Question(question_text(one), one["answer"], " ".join(one["type"])) for one in asked)
