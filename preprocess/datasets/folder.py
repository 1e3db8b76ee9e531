"""Any folder of clips sorted by class: `RAW/CLASS/….mp4`, or `RAW/{train,val,test}/CLASS/….mp4`.

Clips are sampled and labelled as those of AVE; every second carries the class of the folder. Without split
folders each class is divided 80/10/10 by a hash of the paths, so that a clip's split does not depend on the
machine. Folders and files whose names begin with a dot are no clips.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError
from ...shards.schema import SPLITS
from ..paths import VIDEO_SUFFIXES, printable
from ..specification import ClipSpecification, Collection
from .ave import BACKGROUND, SAMPLING, SECONDS


def read(raw: Path, *, allow_links: bool = False) -> Collection:  # noqa: ARG001 (no annotations)
    """Finds the clips under `raw`. Raises InputError when there is none, or splits stand beside classes."""
    files = sorted(_files(raw))
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES and not _is_hidden(path)]
    split_folders = _has_splits(raw, {path.parts[0] for path in videos if len(path.parts) > 1})
    depth = 3 if split_folders else 2
    clips = [path for path in videos if len(path.parts) >= depth]
    if not clips:
        shape = "RAW/SPLIT/CLASS/*.mp4" if split_folders else "RAW/CLASS/*.mp4"
        found = f"{len(files)} other files"
        if videos:
            found = f"videos found: {len(videos)}, too high; is RAW the folder above?"
        raise InputError(f"{raw} holds no videos as {shape}, one folder a class ({found})")
    by_class: dict[str, list[Path]] = {}
    for path in clips:
        by_class.setdefault(path.parts[depth - 2], []).append(path)
    classes = tuple(sorted(by_class))
    specifications = [
        _specify(path, path.parts[0] if split_folders else split, printable(name), index)
        for index, name in enumerate(classes)
        for path, split in _divide(by_class[name])
    ]
    findings = []
    ignored = len(files) - len(clips)
    if ignored == 1:
        findings.append("1 file is not a clip in a class folder and was left out")
    elif ignored:
        findings.append(f"{ignored} files are not clips in a class folder and were left out")
    return Collection(
        name="folder",
        task="ave",
        sampling=SAMPLING,
        classes=(*map(printable, classes), BACKGROUND),
        clips=tuple(sorted(specifications, key=lambda clip: (SPLITS.index(clip.split), clip.source))),
        findings=tuple(findings),
    )


def _has_splits(raw: Path, top: set[str]) -> bool:
    """Whether the folders `top`, those right in `raw` that hold videos, are splits and not classes."""
    splits, others = sorted(top & set(SPLITS)), sorted(top - set(SPLITS))
    if splits and others:
        raise InputError(
            f"{raw} holds videos in {splits[0]!r}, which names a split, and in {printable(others[0])!r}; "
            f"put every class into {', '.join(SPLITS)}, or none; a class of that name needs another"
        )
    return bool(splits)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _files(raw: Path) -> Iterator[Path]:
    """Every file below `raw`, relative to it. Folders that are links are not entered."""
    for folder, _, names in os.walk(raw):
        place = Path(folder).relative_to(raw)
        yield from (place / name for name in names)


def _specify(path: Path, split: str, category: str, index: int) -> ClipSpecification:
    source = printable(path.as_posix())
    problem = None
    if source != path.as_posix():
        problem = ("unsafe-path", f"{source!r} has bytes that are not UTF-8, or control characters")
    return ClipSpecification(
        key=_key(path),
        split=split,
        source=source,
        labels=(index,) * SECONDS,
        fields={"category": category},
        problem=problem,
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.as_posix().encode("utf-8", "surrogateescape")).hexdigest()


def _key(path: Path) -> str:
    """The path with every other character replaced, and a hash that keeps it unique."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.with_suffix("").as_posix())
    return f"{name[-60:]}-{_digest(path)[:10]}"


def _divide(paths: list[Path]) -> list[tuple[Path, str]]:
    """Each path with its split: of n clips, n/10 rounded (one at least, when n ≥ 3) go to val and to test."""
    ranked = sorted(paths, key=_digest)
    share = max(round(len(ranked) / 10), 1) if len(ranked) >= 3 else 0
    splits = ["test"] * share + ["val"] * share
    splits += ["train"] * (len(ranked) - len(splits))
    return list(zip(ranked, splits, strict=True))
