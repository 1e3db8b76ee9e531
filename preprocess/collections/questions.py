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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ...bounded import parse_json
from ...errors import InputError
from ...shards.schema import SPLITS
from ...strict_json import strict_json
from .avqa_questions import MAX_WORDS, PAD, plain_words
from .clip_list import values_by_split
from .divisions import divided, path_key, without_clips
from .json_records import read_records
from .music_avqa import SAMPLING
from .names import read_split
from .own_files import OwnVideos, file_name, folder_of
from .packed import HashList, PackedRows
from .paths import annotation_file, printable
from .question_notes import Notes, note_alike
from .question_texts import QuestionTexts, question_text
from .specification import Collection, CollectionEntry, clip_values
from .text_files import check_utf8, stream_lines

FILES = ("questions.jsonl", "questions.json")
FIELDS = ("video", "question", "answer", "type", "split")
UNTYPED = "other"
"""The type of questions without one."""

_KNOWN_FIELDS = frozenset(FIELDS)
_REQUIRED_FIELDS = frozenset(FIELDS[:3])
_REQUIRED = 3  # of `FIELDS`
_MOST_SHOWN = 80
_MOST_UNUSED = 8  # names of fields in the notes
_MOST_SUGGESTIONS = 5  # each is a comparison with all names
_MOST_QUESTIONS = 10_000  # of a video, as shards are read


class Row(NamedTuple):
    """One question.

    Attributes:
        line: the line that it begins in.
        video: the name of its video, as it stands there.
        split: None when it has none.
    """

    line: int
    video: str
    words: tuple[str, ...]
    answer: str
    type: str
    split: str | None

    def text(self) -> bytes:
        """Return the question for `KEY.qa.json`, cut to `MAX_WORDS` words."""
        return question_text(
            question_id=self.line,
            kind=(self.type,),
            template=_single_text(self.words),
            words=self.words[:MAX_WORDS],
            answer=self.answer,
        )


@lru_cache(maxsize=4096)
def _single_text(words: tuple[str, ...]) -> str:
    return " ".join(words)


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the questions under `raw`. Raises InputError naming the file and line at fault."""
    path = annotation_file(raw, _question_file(raw), allow_links=allow_links)
    notes = Notes()
    hashes = HashList()
    rows = PackedRows(_read_rows(path, notes, hashes), make=Row._make)
    if not rows:
        raise InputError(f"{path} holds no questions")
    _note_repeated(rows, hashes.repeated(), notes, path)
    videos = OwnVideos(raw)
    if not videos.paths:
        raise InputError(
            f"{raw} holds no videos; put them there or into {raw / 'videos'} (found: {videos.unused})"
        )
    groups = _Groups(path)
    groups.add(rows, videos)
    groups.decide_splits()
    ordered = sorted(groups.groups.values(), key=lambda group: group.source)
    lost = [group for group in ordered if not group.there]
    hints = {group.source: videos.suggestion(file_name(group.source)) for group in lost[:_MOST_SUGGESTIONS]}
    missing = list(_missing(groups.groups.values(), videos))
    folders = sorted({folder_of(video) for video in videos.paths})
    del videos
    words, answers, types, texts = _vocabulary(rows, groups, notes)
    del rows
    made = zip(ordered, texts.lists(group.number for group in ordered), strict=True)
    return Collection(
        name="questions",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=(),
        clips=values_by_split(_specify(group, text, hints.get(group.source, "")) for group, text in made),
        findings=(
            *notes.findings(),
            *missing,
            *without_clips("video", [group.split for group in ordered]),
        ),
        vocabulary={
            "words": [PAD, *words],
            "answers": answers,
            "types": types,
        },
        rows={split: sum(group.count for group in ordered if group.split == split) for split in SPLITS},
        media_folders=tuple(folders),
    )


COLLECTION = CollectionEntry(read=read, task="avqa", summary="RAW/questions.jsonl, RAW/videos/*.mp4")


def question_line(*, video: str, question: str, answer: str, **more: str) -> str:
    """Return a line of `questions.jsonl`; `more` are `type` and `split`."""
    record = {"video": video, "question": question, "answer": answer, **more}
    return strict_json(record) + "\n"


@dataclass(slots=True, eq=False)
class _Group:
    """The questions about one video.

    Attributes:
        source: the path of the video in RAW, or its name alone when it is not there.
        there: whether it is.
        where: `FILE:LINE` of the first question.
        split: that of its questions; empty before it is decided.
        number: from 0, in the order of the first questions.
        count: number of questions.
    """

    source: str
    there: bool
    where: str
    split: str
    number: int
    count: int = 0


def _question_file(raw: Path) -> Path:
    found = [raw / name for name in FILES if (raw / name).is_file()]
    if len(found) > 1:
        raise InputError(f"{raw} holds both {' and '.join(FILES)}; one file with all questions is needed")
    return found[0] if found else raw / FILES[0]


def _read_rows(path: Path, notes: Notes, hashes: HashList) -> Iterator[Row]:
    """Yield the questions; hashes of video and words are added to `hashes`."""
    unused: dict[str, None] = {}
    for line, record in _records(path):
        where = f"{path}:{line}"
        row = _parse(record, where, line)
        if not record.keys() <= _KNOWN_FIELDS:
            _note_unused([name for name in record if name not in FIELDS], unused, notes, where)
        if len(row.words) > MAX_WORDS:
            notes.add(f"are longer than {MAX_WORDS} words and were cut", where)
        hashes.add((row.video, row.words))
        yield row


def _note_unused(others: Sequence[str], unused: dict[str, None], notes: Notes, where: str) -> None:
    unused.update(
        dict.fromkeys([name for name in others if name not in unused][: _MOST_UNUSED - len(unused)])
    )
    for name in filter(unused.__contains__, others):
        notes.add(f"have the field {printable(name)[:_MOST_SHOWN]!r}, which is not used", where)
    if any(name not in unused for name in others):
        notes.add("have other fields, which are not used", where)


def _note_repeated(rows: PackedRows[Row], repeated: set[int], notes: Notes, path: Path) -> None:
    """Note the questions that were asked about their video; `repeated` are hashes of video and words."""
    asked: dict[tuple[str, tuple[str, ...]], tuple[Any, ...]] = {}
    for values in rows.values() if repeated else ():
        line, video, words, answer, *_ = values
        if hash((video, words)) not in repeated:
            continue
        before = asked.setdefault((video, words), values)
        if before is not values:
            same = "the same answer" if before[3] == answer else "another answer"
            notes.add(f"repeat an earlier one about the same video, with {same}", f"{path}:{line}")


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line where each record begins, and the record: one a line, or all as one JSON list."""
    lines = stream_lines(path, hint="write one JSON object a line into it: video, question, answer")
    first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if first and line.lstrip().startswith("["):
            yield from read_records(path, unique_keys=True)
            return
        first = False
        where = f"{path}:{number}"
        record = parse_json(line, where=where, unique_keys=True)
        if not isinstance(record, dict):
            raise InputError(f"{where}: a {type(record).__name__}, expected one JSON object a line")
        yield number, record


def _parse(record: dict[str, Any], where: str, line: int) -> Row:
    if not record.keys() >= _REQUIRED_FIELDS:
        name = next(name for name in FIELDS if name not in record)
        fields = ", ".join(map(printable, record))[:_MOST_SHOWN] or "none"
        raise InputError(f"{where}: {name} is missing; the fields are {fields}")
    texts = [_text(record, name, where) for name in FIELDS]
    video, question, answer, kind, split = texts
    if not all(texts[:_REQUIRED]):
        raise InputError(f"{where}: {FIELDS[texts.index('')]} is empty")
    words = _words(question)
    if not words:
        raise InputError(f"{where}: question {question!r} has no words")
    return Row(line, video, words, answer, kind or UNTYPED, read_split(split, where) if split else None)


@lru_cache(maxsize=4096)  # often thousands of questions are the same words
def _words(question: str) -> tuple[str, ...]:
    return tuple(filter(None, plain_words(question)))  # none is left by a blank before the mark


def _text(record: dict[str, Any], name: str, where: str) -> str:
    """Return a field as text: composed (NFC), blanks count once; empty for one that is left out or null."""
    value = record.get(name)
    if type(value) is str and name != "video" and (plain := _plain(value)) is not None:
        return plain
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {str(value)[:_MOST_SHOWN]}, must be a text in double quotes")
    if value.isascii() and value.isprintable():
        return value.strip()
    text = unicodedata.normalize("NFC", check_utf8(value, where, name))
    return printable(text.strip() if name == "video" else " ".join(text.split()))


@lru_cache(maxsize=4096)  # as of `_words`; equal texts are one object, which takes less when it is packed
def _plain(text: str) -> str | None:
    """Return a text with single blanks; None where it is not plain ASCII."""
    return " ".join(text.split()) if text.isascii() and text.isprintable() else None


@dataclass
class _Groups:
    """The videos of the questions in `path`.

    Attributes:
        groups: by source, and whether it is there.
        named: the same by the name that rows have for the video.
    """

    path: Path
    groups: dict[tuple[str, bool], _Group] = field(default_factory=dict)
    named: dict[str, _Group] = field(default_factory=dict)
    _without: str = ""  # the first row without a split, and the first in another one than its video
    _other: str = ""
    _given: bool = False

    def add(self, rows: PackedRows[Row], videos: OwnVideos) -> None:
        """Find the video of every row. Raises InputError when none is there, and for too many questions."""
        for values in rows.values():
            line, video, *_, split = values
            group = self.named.get(video)
            if group is None:
                where = f"{self.path}:{line}"
                found = videos.find(video, where=where)
                key = (PurePosixPath(video).as_posix() if found is None else found, found is not None)
                group = self.groups.setdefault(key, _Group(*key, where, split or "", len(self.groups)))
                self.named[video] = group
            group.count += 1
            if group.count > _MOST_QUESTIONS:
                raise InputError(
                    f"{self.path}:{line}: {group.source} has more than {_MOST_QUESTIONS:,} questions, "
                    "the most that a video may have"
                )
            if split is None:
                self._without = self._without or f"{self.path}:{line}"
                continue
            self._given = True
            if split != group.split and not self._other:
                before = group.where.rpartition(":")[2]
                self._other = (
                    f"{self.path}:{line}: split is {split} for {video!r}, which line {before} puts "
                    f"into {group.split}; all questions about a video belong to one split"
                )
        if not any(group.there for group in self.groups.values()):
            name, first = next(iter(self.named.items()))
            raise InputError(
                f"{self.path} names no video that is in RAW; line {first.where.rpartition(':')[2]} names "
                f"{name!r}{videos.suggestion(name)}"
            )

    def decide_splits(self) -> None:
        """Set the split of each video: that of its questions, or by a hash when no question has one."""
        if not self._given:
            by_path = dict(divided([group.source for group in self.groups.values() if group.there]))
            for group in self.groups.values():
                group.split = by_path.get(group.source, "train") if group.there else "train"
            return
        if self._without:
            raise InputError(
                f"{self._without}: no split, but other questions have one; all or none must have it"
            )
        if self._other:
            raise InputError(self._other)
        if not any(group.split == "train" for group in self.groups.values()):
            raise InputError(f"{self.path} holds no question of the split train")


def _vocabulary(
    rows: PackedRows[Row], groups: _Groups, notes: Notes
) -> tuple[list[str], list[str], list[str], QuestionTexts]:
    """Return words and answers of the training questions, all types, and the questions as JSON.

    Each list is in the order of the file.
    """
    words: dict[str, None] = {}
    answers: dict[str, None] = {}
    types: dict[str, None] = {}
    for _, video, asked, answer, kind, _ in rows.values():
        types.setdefault(kind)
        if groups.named[video].split == "train":
            if not words.keys() >= set(asked):
                words.update(dict.fromkeys(asked))
            answers.setdefault(answer)
    texts = QuestionTexts()
    for row in rows:
        _, video, asked, answer, _, _ = row
        group = groups.named[video]
        texts.add(group.number, row.text())
        if group.split == "train":
            continue
        if not words.keys() >= set(asked):
            where = f"{groups.path}:{row.line}"
            notes.add(f"of val and test hold words unseen in training, which become {PAD}", where)
        if answer not in answers:
            where = f"{groups.path}:{row.line}"
            notes.add("of val and test have answers unseen in training: they cannot be right", where)
    training = (row for row in rows if groups.named[row.video].split == "train")
    note_alike("answer", answers, ((row.answer, f"{groups.path}:{row.line}") for row in training), notes)
    note_alike("type", types, ((row.type, f"{groups.path}:{row.line}") for row in rows), notes)
    return list(words), list(answers), list(types), texts


def _missing(groups: Iterable[_Group], videos: OwnVideos) -> Iterator[str]:
    lost = [group for group in groups if not group.there]
    if lost:
        line = lost[0].where.rpartition(":")[2]
        yield (
            f"{len(lost)} videos of questions are not in RAW: {lost[0].source[:_MOST_SHOWN]!r} (line "
            f"{line}){', …' if len(lost) > 1 else ''}{videos.suggestion(file_name(lost[0].source))}"
        )


def _specify(group: _Group, questions: bytes, hint: str) -> tuple[Any, ...]:
    shown = printable(group.source)
    problem = None
    if not group.there:
        problem = ("missing", f"{Path(group.where).name} names {shown!r}, which is not in RAW{hint}")
    elif shown != group.source:
        problem = ("unsafe-path", f"{shown!r} has bytes that are not UTF-8, or control characters")
    return clip_values(
        key=path_key(group.source),
        split=group.split,
        source=shown,
        members=(("qa.json", questions),),
        problem=problem,
    )
