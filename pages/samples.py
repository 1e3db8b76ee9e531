"""One self-contained HTML page of clips from the shards, as training reads them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..console import progress
from ..errors import InputError
from ..shards.members import named_clip
from ..shards.places import ClipPlace
from ..shards.reader import ClipReader, clip_places
from ..shards.schema import SPLITS, ClipRecord, DatasetInfo
from ..shards.storage import LocalStore, Location, open_store
from .histograms import histogram
from .rendering import check_target, render, write_page
from .shard_account import read_account, warning_kind
from .strips import Strip, clip_strip, frames_row, sound_row
from .tasks import VIEWS
from .tasks.base import AskedQuestion, in_order

CLIPS_SHOWN = 24


@dataclass(frozen=True)
class ClipFilter:
    """Choice of clips for the page.

    Attributes:
        split: None for all splits.
        class_: class or question type that the clips have; None for any.
        warning: part of a warning's text, in any case; None for clips with and without warnings.
        clips: the most clips that are shown.
        seed: of the random choice.
    """

    split: str | None = None
    class_: str | None = None
    warning: str | None = None
    clips: int = CLIPS_SHOWN
    seed: int = 0

    def check(self, info: DatasetInfo) -> None:
        """Raise InputError for a split or a class that the shards cannot have."""
        if self.split is not None and self.split not in SPLITS:
            raise InputError(f"split is {self.split!r}, must be one of {', '.join(SPLITS)}")
        known = VIEWS[info.task].filter_names(info)
        if self.class_ is not None and self.class_ not in known:
            # In quotes: names hold commas.
            raise InputError(f"class is {self.class_!r}, must be one of {', '.join(map(repr, known))}")

    def takes(self, record: ClipRecord) -> bool:
        """Return true for a clip of the split and with the warning."""
        warning = None if self.warning is None else self.warning.casefold()
        has_warning = warning is None or any(warning in one.casefold() for one in record.warnings)
        return self.split in (None, record.split) and has_warning

    def takes_members(self, info: DatasetInfo, members: dict[str, bytes]) -> bool:
        """Return true for a clip with the class."""
        return self.class_ is None or self.class_ in VIEWS[info.task].names_of(info, members)

    def __str__(self) -> str:
        """The filter as the end of a message such as `no clip in split val`."""
        text = f" in split {self.split}" if self.split else ""
        text += f" with class {self.class_!r}" if self.class_ else ""
        return text + ("" if self.warning is None else f" with a warning that contains {self.warning!r}")


@dataclass(frozen=True)
class SampleView:
    """A clip of the page. `classes`: the classes or question types that it is filtered by."""

    record: ClipRecord
    classes: tuple[str, ...]
    strip: Strip
    questions: tuple[AskedQuestion, ...]

    @property
    def warning_kinds(self) -> tuple[str, ...]:
        """The kinds of its warnings, each once."""
        return tuple(dict.fromkeys(map(warning_kind, self.record.warnings)))


def write_samples(out: Location, clip_filter: ClipFilter | None = None, *, page: Path | None = None) -> Path:
    """Write a page of clips of the shard directory `out` into `page`, or `OUT-inspect.html` beside it.

    The tables are read, and of the shards only the clips that are shown; with a class, also clips that
    are drawn before enough of that class are found.

    Raises InputError when `out` is no finished directory, when no clip passes the filter, and when `out` is a
    URL and `page` is not given.
    """
    clip_filter = clip_filter or ClipFilter()
    page = page or _beside(out)
    check_target(page)
    account = read_account(out)
    clip_filter.check(account.info)
    clips = []
    for record, members in _chosen(out, account.info, account.manifest, clip_filter):
        with named_clip(out, record.key):
            clips.append(_view(account.info, record, members))
    clips.sort(key=lambda clip: (SPLITS.index(clip.record.split), clip.record.key))
    content = render(
        "inspect.html.j2",
        title=f"{account.info.name} · {Path(str(out)).resolve().name}",
        sections={"data": "Data", "clips": "Clips"},
        data=account,
        histogram_svgs={
            name: histogram(each.counts, f"Histogram of {name}") for name, each in account.measured.items()
        },
        clip_filter=clip_filter,
        clips=clips,
        splits=in_order(clip.record.split for clip in clips),
        classes=sorted({name for clip in clips for name in clip.classes}),
        warnings=sorted({kind for clip in clips for kind in clip.warning_kinds}),
        view=VIEWS[account.info.task],
    )
    return write_page(page, content)


def _beside(out: Location) -> Path:
    """Return the page's path beside `out`, not in it: the format names all files of a shard directory."""
    store = open_store(out)
    if not isinstance(store, LocalStore):
        raise InputError(f"OUT {out} is a URL; the option page must give the path of the page")
    folder = store.path.resolve()
    return folder.with_name(f"{folder.name}-inspect.html")


def _chosen(
    out: Location, info: DatasetInfo, manifest: Sequence[ClipRecord], clip_filter: ClipFilter
) -> Iterator[tuple[ClipRecord, dict[str, bytes]]]:
    """Yield clips that pass the filter, drawn at random, from all splits in turn."""
    candidates = [
        (record, place)
        for record, place in zip(manifest, clip_places(manifest), strict=True)
        if clip_filter.takes(record)
    ]
    if not candidates:
        raise InputError(f"{out} has no clip{clip_filter}")
    found = 0
    with closing(ClipReader(out)) as reader, progress("clips") as bar:
        row = bar.add_task("read clips", total=min(clip_filter.clips, len(candidates)), note="")
        for number, (record, place) in enumerate(_drawn(candidates, clip_filter.seed)):
            if found == clip_filter.clips:
                break
            members = reader.read(place)
            with named_clip(out, record.key):
                fits = clip_filter.takes_members(info, members)
            if fits:
                found += 1
                yield record, members
            note = "" if clip_filter.class_ is None else f"{number + 1:,} read for {clip_filter.class_}"
            bar.update(row, completed=found, note=note)
    if not found:
        raise InputError(f"{out} has no clip{clip_filter}")


def _drawn(
    candidates: Sequence[tuple[ClipRecord, ClipPlace]], seed: int
) -> Iterator[tuple[ClipRecord, ClipPlace]]:
    """Yield all candidates in a random order in which the splits alternate."""
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


def _view(info: DatasetInfo, record: ClipRecord, members: dict[str, bytes]) -> SampleView:
    view = VIEWS[info.task]
    rows = view.true_rows(record.key, info, members)
    frames, sound = frames_row(record.key, members), sound_row(record.key, members)
    return SampleView(
        record=record,
        classes=view.names_of(info, members),
        strip=clip_strip(members, info, [frames, *rows.above, sound, *rows.below]),
        questions=view.questions(members),
    )
