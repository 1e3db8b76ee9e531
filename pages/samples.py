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
from ..shards.reader import ClipPlace, ClipReader, clip_places
from ..shards.schema import SPLITS, ClipRecord, DatasetInfo
from ..shards.storage import LocalStore, Location, open_store
from .rendering import check_target, render, write_page
from .shard_account import read_account, warning_kind
from .strips import Strip, clip_strip, frames_row, sound_row
from .tasks import VIEWS
from .tasks.base import AskedQuestion, in_order

CLIPS_SHOWN = 24


@dataclass(frozen=True)
class Wanted:
    """Choice of clips; None is any. `warning`: a part of a warning's text, in any case."""

    split: str | None = None
    class_: str | None = None
    warning: str | None = None
    clips: int = CLIPS_SHOWN
    seed: int = 0


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


def write_samples(out: Location, wanted: Wanted | None = None, *, page: Path | None = None) -> Path:
    """Write a page of clips of the shard directory `out` into `page`, or `OUT-inspect.html` beside it.

    The tables are read, and of the shards only the clips that are shown; with a class, also clips that
    are drawn before enough of that class are found.

    Raises InputError when `out` is no finished directory, when no clip is as `wanted`, and when `out` is a
    URL and `page` is not given.
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
        raise InputError(f"OUT {out} is a URL: say with --page where the page is to be written")
    folder = store.path.resolve()
    return folder.with_name(f"{folder.name}-inspect.html")


def _check(wanted: Wanted, info: DatasetInfo) -> None:
    if wanted.split is not None and wanted.split not in SPLITS:
        raise InputError(f"--split is {wanted.split!r}, must be one of {', '.join(SPLITS)}")
    known = VIEWS[info.task].filter_names(info)
    if wanted.class_ is not None and wanted.class_ not in known:
        # In quotes: names hold commas.
        raise InputError(f"--class is {wanted.class_!r}, must be one of {', '.join(map(repr, known))}")


def _chosen(
    out: Location, info: DatasetInfo, manifest: Sequence[ClipRecord], wanted: Wanted
) -> Iterator[tuple[ClipRecord, dict[str, bytes]]]:
    """Yield clips as wanted, drawn at random, from all splits in turn."""
    candidates = [
        (record, place)
        for record, place in zip(manifest, clip_places(manifest), strict=True)
        if wanted.split in (None, record.split) and _has_warning(record, wanted.warning)
    ]
    if not candidates:
        raise InputError(f"{out} has no clip{_description(wanted)}")
    found = 0
    with closing(ClipReader(out)) as reader, progress("clips") as bar:
        row = bar.add_task("read clips", total=min(wanted.clips, len(candidates)), note="")
        for number, (record, place) in enumerate(_drawn(candidates, wanted.seed)):
            if found == wanted.clips:
                break
            members = reader.read(place)
            with named_clip(out, record.key):
                fits = wanted.class_ is None or wanted.class_ in VIEWS[info.task].names_of(info, members)
            if fits:
                found += 1
                yield record, members
            note = "" if wanted.class_ is None else f"{number + 1:,} looked at for {wanted.class_}"
            bar.update(row, completed=found, note=note)
    if not found:
        raise InputError(f"{out} has no clip{_description(wanted)}")


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


def _has_warning(record: ClipRecord, text: str | None) -> bool:
    return text is None or any(text.casefold() in warning.casefold() for warning in record.warnings)


def _description(wanted: Wanted) -> str:
    """Return the wanted split, class and warning as words of a message."""
    text = f" in split {wanted.split}" if wanted.split else ""
    text += f" with class {wanted.class_!r}" if wanted.class_ else ""
    return text + (f" with a warning that contains {wanted.warning!r}" if wanted.warning is not None else "")


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
