"""Questions about one's own videos: `questions.jsonl`, one JSON object a line, and the videos.

    {"video": "kitchen.mp4", "question": "How many cups are there?", "answer": "two", "type": "counting"}

`video` is the name of a file in RAW or in `RAW/videos`, `type` any text, `split` train, val or test. `type`
and `split` may be left out; without splits, the videos are divided 80/10/10 by a hash of their paths. The
file may also be a JSON list of such objects, and be called `questions.json`.

One clip a video, with all its questions. Clips are sampled as those of MUSIC-AVQA, and words and answers of
the training questions are the vocabulary.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...bounded import parse_json
from ...errors import InputError
from ...shards.schema import SPLITS, canonical_json
from ...strict_json import strict_json
from .avqa_questions import MAX_WORDS, PAD, plain_words
from .divisions import divided, path_key, without_clips
from .json_records import read_records
from .music_avqa import SAMPLING
from .names import class_key, read_split
from .own_files import OwnVideos
from .paths import annotation_file, count_suffixes, printable
from .specification import ClipSpecification, Collection, CollectionEntry, by_split
from .text_files import check_utf8, read_text

FILES = ("questions.jsonl", "questions.json")
FIELDS = ("video", "question", "answer", "type", "split")
UNTYPED = "other"
"""The type of questions without one."""

_REQUIRED = 3  # of `FIELDS`
_MOST_SHOWN = 80
_MOST_UNUSED = 8  # names of fields in the notes
_MOST_SUGGESTIONS = 5  # each is a comparison with all names
_MOST_QUESTIONS = 10_000  # of a video, as shards are read


class Row(NamedTuple):
    """One question.

    Attributes:
        where: the path of the file and the line, `FILE:LINE`.
        line: the line that it begins in.
        video: the name of its video, as it stands there.
        split: None when it has none.
    """

    where: str
    line: int
    video: str
    words: tuple[str, ...]
    answer: str
    type: str
    split: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the question for `KEY.qa.json`, cut to `MAX_WORDS` words."""
        return {
            "question_id": self.line,
            "type": [self.type],
            "template": " ".join(self.words),
            "words": list(self.words[:MAX_WORDS]),
            "answer": self.answer,
        }


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the questions under `raw`. Raises InputError naming the file and line at fault."""
    path = annotation_file(raw, _question_file(raw), allow_links=allow_links)
    notes = Notes()
    rows = list(_read_rows(path, notes))
    if not rows:
        raise InputError(f"{path} holds no questions")
    videos = OwnVideos(raw)
    if not videos.paths:
        kinds = count_suffixes([file.name for file in videos.unused])
        raise InputError(f"{raw} holds no videos; put them there or into {raw / 'videos'} (found: {kinds})")
    groups = _by_video(rows, videos, path)
    splits = _splits(groups, path)
    words, answers = _vocabulary(groups, splits, notes)
    ordered = sorted(groups.items(), key=lambda item: item[0].path.as_posix())
    lost = [source for source, _ in ordered if not source.there]
    hints = {source: videos.suggestion(source.path.name) for source in lost[:_MOST_SUGGESTIONS]}
    clips = [_specify(source, group, splits[source], hints.get(source, "")) for source, group in ordered]
    folders = sorted({video.parent.as_posix() for video in videos.paths})
    return Collection(
        name="questions",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=(),
        clips=by_split(clips),
        findings=(*notes.findings(), *_missing(groups, videos), *without_clips("video", splits.values())),
        vocabulary={
            "words": [PAD, *words],
            "answers": answers,
            "types": list(dict.fromkeys(row.type for row in rows)),
        },
        rows={
            split: sum(len(group) for source, group in groups.items() if splits[source] == split)
            for split in SPLITS
        },
        media_folders=tuple("" if folder == "." else folder for folder in folders),
    )


COLLECTION = CollectionEntry(read=read, task="avqa", summary="RAW/questions.jsonl, RAW/videos/*.mp4")


def question_line(*, video: str, question: str, answer: str, **more: str) -> str:
    """Return a line of `questions.jsonl`; `more` are `type` and `split`."""
    record = {"video": video, "question": question, "answer": answer, **more}
    return strict_json(record) + "\n"


class Source(NamedTuple):
    """A video that questions name: its path in RAW, or the name alone when it is not there."""

    path: Path
    there: bool


@dataclass
class Notes:
    """Notes for the user, with the number of questions and the first of them."""

    _texts: dict[str, list[str]] = field(default_factory=dict)

    def add(self, text: str, where: str) -> None:
        """Count a question for the note `text`."""
        self._texts.setdefault(text, []).append(where)

    def findings(self) -> Iterator[str]:
        """Yield each note as a line."""
        for text, places in self._texts.items():
            first = places[0].rpartition(":")[2]
            yield f"{len(places)} questions {text} (first: line {first})"


def _question_file(raw: Path) -> Path:
    found = [raw / name for name in FILES if (raw / name).is_file()]
    if len(found) > 1:
        raise InputError(f"{raw} holds both {' and '.join(FILES)}; one file with all questions is needed")
    return found[0] if found else raw / FILES[0]


def _read_rows(path: Path, notes: Notes) -> Iterator[Row]:
    asked: dict[tuple[str, tuple[str, ...]], Row] = {}
    unused: dict[str, None] = {}
    for line, record in _records(path):
        where = f"{path}:{line}"
        row = _parse(record, where, line)
        others = [name for name in record if name not in FIELDS]
        unused.update(
            dict.fromkeys([name for name in others if name not in unused][: _MOST_UNUSED - len(unused)])
        )
        for name in filter(unused.__contains__, others):
            notes.add(f"have the field {printable(name)[:_MOST_SHOWN]!r}, which is not used", where)
        if any(name not in unused for name in others):
            notes.add("have other fields, which are not used", where)
        if len(row.words) > MAX_WORDS:
            notes.add(f"are longer than {MAX_WORDS} words and were cut", where)
        before = asked.setdefault((row.video, row.words), row)
        if before is not row:
            same = "the same answer" if before.answer == row.answer else "another answer"
            notes.add(f"repeat an earlier one about the same video, with {same}", where)
        yield row


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line where each record begins, and the record: one a line, or all as one JSON list."""
    text = read_text(path, hint="write one JSON object a line into it: video, question, answer")
    if text.lstrip().startswith("["):
        yield from read_records(path, unique_keys=True)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        record = parse_json(line, where=where, unique_keys=True)
        if not isinstance(record, dict):
            raise InputError(f"{where}: a {type(record).__name__}, expected one JSON object a line")
        yield number, record


def _parse(record: dict[str, Any], where: str, line: int) -> Row:
    for name in FIELDS[:_REQUIRED]:
        if name not in record:
            fields = ", ".join(map(printable, record))[:_MOST_SHOWN] or "none"
            raise InputError(f"{where}: {name} is missing; the fields are {fields}")
    texts = {name: _text(record, name, where) for name in FIELDS}
    for name in FIELDS[:_REQUIRED]:
        if not texts[name]:
            raise InputError(f"{where}: {name} is empty")
    words = tuple(filter(None, plain_words(texts["question"])))  # none is left by a blank before the mark
    if not words:
        raise InputError(f"{where}: question {texts['question']!r} has no words")
    split = read_split(texts["split"], where) if texts["split"] else None
    return Row(where, line, texts["video"], words, texts["answer"], texts["type"] or UNTYPED, split)


def _text(record: dict[str, Any], name: str, where: str) -> str:
    """Return a field as text: composed (NFC), blanks count once; empty for one that is left out or null."""
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {str(value)[:_MOST_SHOWN]}, must be a text in double quotes")
    text = unicodedata.normalize("NFC", check_utf8(value, where, name))
    return printable(text.strip() if name == "video" else " ".join(text.split()))


def _by_video(rows: Sequence[Row], videos: OwnVideos, path: Path) -> dict[Source, list[Row]]:
    groups: dict[Source, list[Row]] = {}
    for row in rows:
        found = videos.find(row.video, where=row.where)
        source = Source(Path(row.video), there=False) if found is None else Source(found, there=True)
        groups.setdefault(source, []).append(row)
    if not any(source.there for source in groups):
        raise InputError(
            f"{path} names no video that is in RAW; line {rows[0].line} names {rows[0].video!r}"
            f"{videos.suggestion(rows[0].video)}"
        )
    for source, group in groups.items():
        if len(group) > _MOST_QUESTIONS:
            raise InputError(
                f"{group[_MOST_QUESTIONS].where}: {source.path} has more than {_MOST_QUESTIONS:,} questions, "
                "the most that a video may have"
            )
    return groups


def _splits(groups: dict[Source, list[Row]], path: Path) -> dict[Source, str]:
    """Return the split of each video: that of its questions, or by a hash when no question has one."""
    rows = [row for group in groups.values() for row in group]
    if all(row.split is None for row in rows):
        found = [source.path for source in groups if source.there]
        by_path = dict(divided(found))
        return {source: by_path.get(source.path, "train") for source in groups}
    if (without := min((row for row in rows if row.split is None), default=None, key=_line)) is not None:
        raise InputError(f"{without.where}: no split, but other questions have one; all or none must have it")
    for group in groups.values():
        for row in group:
            if row.split != group[0].split:
                raise InputError(
                    f"{row.where}: split is {row.split} for {row.video!r}, which line {group[0].line} puts "
                    f"into {group[0].split}; all questions about a video belong to one split"
                )
    if not any(row.split == "train" for row in rows):
        raise InputError(f"{path} holds no question of the split train")
    return {source: str(group[0].split) for source, group in groups.items()}


def _line(row: Row) -> int:
    return row.line


def _vocabulary(
    groups: dict[Source, list[Row]], splits: dict[Source, str], notes: Notes
) -> tuple[list[str], list[str]]:
    """Return words and answers of the training questions, in the order of the file."""
    in_order = sorted(
        ((row, splits[source]) for source, group in groups.items() for row in group),
        key=lambda item: item[0].line,
    )
    training = [row for row, split in in_order if split == "train"]
    words = dict.fromkeys(word for row in training for word in row.words)
    answers = dict.fromkeys(row.answer for row in training)
    for row, split in in_order:
        if split != "train" and not words.keys() >= set(row.words):
            notes.add(f"of val and test hold words unseen in training, which become {PAD}", row.where)
        if split != "train" and row.answer not in answers:
            notes.add("of val and test have answers unseen in training: they cannot be right", row.where)
    _note_alike("answer", [(row.answer, row) for row in training], notes)
    _note_alike("type", [(row.type, row) for row, _ in in_order], notes)
    return list(words), list(answers)


def _note_alike(what: str, texts: list[tuple[str, Row]], notes: Notes) -> None:
    seen: dict[str, str] = {}
    for text, row in texts:
        if seen.setdefault(class_key(text), text) != text:
            named = f"the {what} {text[:_MOST_SHOWN]!r}"
            notes.add(f"have {named}, which differs from another in case or blanks only", row.where)


def _missing(groups: dict[Source, list[Row]], videos: OwnVideos) -> Iterator[str]:
    lost = [(source, group) for source, group in groups.items() if not source.there]
    if lost:
        source, group = lost[0]
        yield (
            f"{len(lost)} videos of questions are not in RAW: {str(source.path)[:_MOST_SHOWN]!r} (line "
            f"{group[0].line}){', …' if len(lost) > 1 else ''}{videos.suggestion(source.path.name)}"
        )


def _specify(source: Source, group: list[Row], split: str, hint: str) -> ClipSpecification:
    shown = printable(source.path.as_posix())
    problem = None
    if not source.there:
        problem = ("missing", f"{Path(group[0].where).name} names {shown!r}, which is not in RAW{hint}")
    elif shown != source.path.as_posix():
        problem = ("unsafe-path", f"{shown!r} has bytes that are not UTF-8, or control characters")
    return ClipSpecification(
        key=path_key(source.path),
        split=split,
        source=shown,
        members=(("qa.json", canonical_json([row.to_json() for row in group])),),
        problem=problem,
    )
