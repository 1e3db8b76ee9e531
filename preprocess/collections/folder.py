"""Any folder of clips sorted by class, in one of three layouts:

`RAW/CLASS/….mp4`, `RAW/SPLIT/CLASS/….mp4` or `RAW/CLASS/SPLIT/….mp4`, where SPLIT is `train`, `val` or `test`
(or `Training`, `valid`, `VALIDATION`, `testing` and the like).

Clips are sampled and labelled as those of AVE; every second carries the class of the folder. Without split
folders each class is divided 80/10/10 by a hash of the paths, so that a clip's split does not depend on the
machine. Folders and files whose names begin with a dot are no clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...shards.schema import SPLITS
from .ave import BACKGROUND, SAMPLING, SECONDS
from .clip_list import ClipList
from .divisions import divided, path_key
from .names import check_twins, class_name, looks_like_split, split_of
from .own_files import by_parts, file_name, files_below, folder_of, is_hidden
from .paths import count_suffixes, is_video_name, printable
from .specification import Collection, CollectionEntry, clip_values

_MOST_NAMED = 5


@dataclass(frozen=True)
class _Layout:
    """The places of class and split in a clip's path, counted from RAW; no split is None."""

    category: int
    split: int | None

    @property
    def folders(self) -> int:
        """The least number of folders that a clip lies in."""
        return 1 if self.split is None else 2

    @property
    def shape(self) -> str:
        """The layout for a message."""
        return "RAW/CLASS/*.mp4" if self.split is None else "RAW/SPLIT/CLASS/*.mp4"


_CLASSES = _Layout(category=0, split=None)
_CLASSES_IN_SPLITS = _Layout(category=1, split=0)
_SPLITS_IN_CLASSES = _Layout(category=0, split=1)


def read(raw: Path, *, allow_links: bool = False) -> Collection:  # noqa: ARG001 (no annotations)
    """Find the clips under `raw`.

    Raises InputError when there is none, when splits stand beside classes or are named otherwise, and when
    the names of two classes differ in nothing that a reader sees.
    """
    files = sorted(files_below(raw), key=by_parts)
    videos = [path for path in files if is_video_name(file_name(path)) and not is_hidden(path)]
    layout = _layout(raw, videos)
    clips = [path for path in videos if path.count("/") >= layout.folders]
    if not clips:
        raise InputError(
            f"{raw} holds no videos as {layout.shape}, one folder a class ({_found(files, videos)})"
        )
    del videos
    by_class: dict[str, list[str]] = {}
    for path in clips:
        by_class.setdefault(class_name(path.split("/", 2)[layout.category]), []).append(path)
    classes = tuple(sorted(by_class))
    check_twins(classes, raw, background=BACKGROUND)
    findings = tuple(_findings(files, clips, by_class, layout))
    del files, clips
    return Collection(
        name="folder",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=(*map(printable, classes), BACKGROUND),
        clips=_clips(by_class, classes, layout),
        findings=findings,
    )


COLLECTION = CollectionEntry(
    read=read, task="ave", summary="RAW/CLASS/*.mp4, RAW/SPLIT/CLASS/*.mp4 or RAW/CLASS/SPLIT/*.mp4"
)


def _clips(by_class: dict[str, list[str]], classes: Sequence[str], layout: _Layout) -> ClipList:
    """Return the clips in the order of splits and sources. `by_class` is emptied."""
    planned: dict[str, list[tuple[str, int]]] = {split: [] for split in SPLITS}
    for index, name in enumerate(classes):
        for path, split in _divide(by_class.pop(name), layout):
            planned[split].append((path, index))
    names = tuple(map(printable, classes))
    labels = tuple((index,) * SECONDS for index in range(len(classes)))
    fields = tuple({"category": name} for name in names)
    for clips in planned.values():
        clips.sort(key=lambda clip: printable(clip[0]))
    return ClipList.of_values(
        _specify(path, split, labels[index], fields[index])
        for split, clips in planned.items()
        for path, index in clips
    )


def _layout(raw: Path, videos: Sequence[str]) -> _Layout:
    """Return the layout that all videos agree on. Raises InputError naming the folders that do not."""
    marked: dict[tuple[int, ...], Path] = {}
    for folder in sorted(map(Path, {folder_of(path) for path in videos if "/" in path})):
        places = tuple(place for place, name in enumerate(folder.parts) if looks_like_split(name))
        for place in places:
            if split_of(folder.parts[place]) is None:
                raise InputError(
                    f"{raw} holds videos in {_shown(folder, place)}, which looks like a split; name it "
                    f"{', '.join(SPLITS)} if it is one, and otherwise if it is a class"
                )
        # Videos beside the classes of a split, RAW/train/a.mp4, have no class: they are left out.
        marked.setdefault(places, folder)
    if set(marked) <= {()}:
        return _CLASSES
    if len(marked) > 1:
        _refuse_mixture(raw, marked)
    (places,) = marked
    if places == (0,):
        _check_one_folder_a_split(raw, videos)
        return _CLASSES_IN_SPLITS
    if places != (1,) or any(path.count("/") > 2 for path in videos):
        folder = Path(folder_of(max(videos, key=lambda path: path.count("/"))))
        raise InputError(
            f"{raw} holds videos in {_shown(folder, len(folder.parts) - 1)}, where "
            f"{_shown(folder, places[-1])} names a split; splits lie right in RAW, or right in the class "
            "folders: is RAW one of the folders below?"
        )
    return _SPLITS_IN_CLASSES


def _refuse_mixture(raw: Path, marked: dict[tuple[int, ...], Path]) -> None:
    first = min(places for places in marked if places)
    other = next(folder for places, folder in marked.items() if places != first)
    shown = _shown(other, 0 if () in marked else len(other.parts) - 1)
    raise InputError(
        f"{raw} holds videos in {_shown(marked[first], first[-1])}, which names a split, and in {shown}; "
        f"put every class into {', '.join(SPLITS)}, or none; a class of that name needs another"
    )


def _check_one_folder_a_split(raw: Path, videos: Sequence[str]) -> None:
    named: dict[str | None, str] = {}
    for name in sorted({path.partition("/")[0] for path in videos if "/" in path}):
        twin = named.setdefault(split_of(name), name)
        if twin != name:
            raise InputError(
                f"{raw} holds videos in {twin!r} and in {name!r}, which name the same split; "
                "make them one folder"
            )


def _shown(path: Path, place: int) -> str:
    return repr(printable(Path(*path.parts[: place + 1]).as_posix()))


def _found(files: Sequence[str], videos: Sequence[str]) -> str:
    if videos:
        return f"videos found: {len(videos)}, too high; is RAW the folder above?"
    kinds = f": {count_suffixes(map(file_name, files))}" if files else ""
    return f"{len(files)} other files{kinds}"


def _findings(
    files: Sequence[str], clips: Sequence[str], by_class: dict[str, list[str]], layout: _Layout
) -> Iterator[str]:
    """Yield notes for the user: folders that were read as splits, and files that are no clips."""
    if layout.split is not None:
        names = sorted({path.split("/", 2)[layout.split] for path in clips} - set(SPLITS))
        if names:
            said = ", ".join(f"{printable(name)!r} is {split_of(name)}" for name in names[:_MOST_NAMED])
            yield f"folders taken for splits: {said}{', …' if len(names) > _MOST_NAMED else ''}"
    elif same := _same_folders(clips):
        count = len({path.partition("/")[0] for path in clips})
        yield (
            f"each of the {count} classes holds the same folders, "
            f"{', '.join(map(repr, same[:_MOST_NAMED]))}{', …' if len(same) > _MOST_NAMED else ''}: "
            "if these are the classes, name the folders above them train, val and test"
        )
    # Both are sorted alike, and the clips are some of the files.
    remaining = iter([*clips, ""])
    clip = next(remaining)
    ignored = []
    for path in files:
        if path == clip:
            clip = next(remaining)
        else:
            ignored.append(path)
    kinds = count_suffixes(map(file_name, ignored))
    if len(ignored) == 1:
        yield f"1 file is not a clip in a class folder and was left out: {kinds}"
    elif ignored:
        yield f"{len(ignored)} files are not clips in a class folder and were left out: {kinds}"
    lost = sorted(
        {
            class_name(path.split("/", 2)[layout.category])
            for path in ignored
            if path.count("/") >= layout.folders and not is_hidden(path) and _fits(path, layout)
        }
        - set(by_class)
    )
    if lost:
        said = ", ".join(repr(printable(name)) for name in lost[:_MOST_NAMED])
        more = ", …" if len(lost) > _MOST_NAMED else ""
        yield f"{len(lost)} folders hold files, but no clip, and are no classes: {said}{more}"


def _same_folders(clips: Sequence[str]) -> list[str]:
    """Return the folders in the class folders if these hold the same ones and no other clips."""
    held: dict[str, set[str]] = {}
    for path in clips:
        first, _, below = path.partition("/")
        held.setdefault(first, set()).add(below.partition("/")[0] if "/" in below else "")
    names = next(iter(held.values()))
    alike = len(held) > 1 and len(names) > 1 and "" not in names
    return sorted(map(printable, names)) if alike and all(one == names for one in held.values()) else []


def _fits(path: str, layout: _Layout) -> bool:
    return layout.split is None or split_of(path.split("/", 2)[layout.split]) is not None


def _specify(path: str, split: str, labels: tuple[int, ...], fields: dict[str, str]) -> tuple[Any, ...]:
    source = printable(path)
    problem = None
    if source != path:
        problem = ("unsafe-path", f"{source!r} has bytes that are not UTF-8, or control characters")
    return clip_values(
        key=path_key(path), split=split, source=source, labels=labels, fields=fields, problem=problem
    )


def _divide(paths: list[str], layout: _Layout) -> list[tuple[str, str]]:
    """Return each path of a class with its split: that of its folder, else by a hash."""
    if layout.split is not None:
        return [(path, split_of(path.split("/", 2)[layout.split]) or "train") for path in paths]
    return divided(paths)
