"""The MUSIC-AVQA collection: minute-long performances, and questions about each.

Layout: `avqa-train.json`, `avqa-val.json`, `avqa-test.json` in RAW or in `json_update/`, `json/` and the
like; videos as `VIDEO_ID.mp4` in `MUSIC-AVQA-videos-Real/` and `MUSIC-AVQA-videos-Synthetic/` (which the
authors also spell `MUCIS-…`), in RAW or in `videos/` and the like, or all in `videos/` itself.

One clip a video and split, with all its questions there. A video that has questions in several splits is a
clip in each: its key is the video's id in the first of them, and `ID_val` or `ID_test` in the later ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...shards.published import Published
from ...shards.schema import SPLITS, AudioStatistics
from .avqa_questions import MAX_WORDS, PAD, Question, read_questions
from .clip_list import SOURCE, ClipList
from .names import class_key
from .packed import HashList
from .paths import VideoNames, annotation_file, printable, unsafe_name, videos_by_name
from .question_texts import QuestionTexts
from .specification import Collection, CollectionEntry, Sampling, clip_values

SAMPLING = Sampling(frames=10, frame_times="evenly", resize="squash", windows=10, window_seconds=1.95)
# Table 8 of the STG-CMA paper, and constants of its release.
PUBLISHED = Published(
    clips={"all": 9288},
    rows={"all": 45867},
    classes=42,
    unit="questions",
    audio=AudioStatistics(mean=-5.2144, std=3.8699),
)
PUBLISHED_TEMPLATES = 33

JSON_FOLDERS = ("", "json_update", "json", "data/json_update", "data/json", "annotations")
_REAL = ("MUSIC-AVQA-videos-Real", "MUCIS-AVQA-videos-Real", "real", "Real")
_SYNTHETIC = ("MUSIC-AVQA-videos-Synthetic", "MUCIS-AVQA-videos-Synthetic", "synthetic", "Synthetic")
_PARENTS = ("", "videos/", "video/", "avqa-videos/", "MUSIC-AVQA-videos/", "data/videos/", "data/video/")
VIDEO_FOLDERS = tuple(
    (parent + name).rstrip("/") for parent in _PARENTS for name in (*_REAL, *_SYNTHETIC, "")
)


def read(raw: Path, *, allow_links: bool = False) -> Collection:
    """Read the questions under `raw`. Raises InputError naming the file and line at fault."""
    files = _question_files(raw, allow_links=allow_links)
    places, folders = _find_videos(raw, allow_links=allow_links)
    tally = _Tally()
    clips = ClipList()
    seen: set[str] = set()
    for split in SPLITS:
        videos, texts = tally.read(files[split], split)
        for video, questions in zip(videos, texts.lists(videos.values()), strict=True):
            clips.append_values(_specify(video, split, questions, places, folders, again=video in seen))
        seen.update(videos)
    if not clips:
        raise InputError(f"{files['train'].parent} holds no questions in avqa-train.json, -val or -test")
    return Collection(
        name="music-avqa",
        task=COLLECTION.task,
        sampling=SAMPLING,
        classes=(),
        clips=clips,
        findings=tuple(tally.findings(clips)),
        vocabulary={"words": list(tally.words), "answers": list(tally.answers)},
        rows=tally.questions,
        media_folders=folders,
        published=PUBLISHED,
    )


COLLECTION = CollectionEntry(
    read=read,
    task="avqa",
    summary="RAW/avqa-SPLIT.json, RAW/MUSIC-AVQA-videos-Real/*.mp4, …-Synthetic/*.mp4",
    published=PUBLISHED,
)


def _question_files(raw: Path, *, allow_links: bool) -> dict[str, Path]:
    """Return the question file of each split, all from the first folder that holds the training one."""
    folder = next((name for name in JSON_FOLDERS if (raw / name / "avqa-train.json").is_file()), None)
    if folder is None:
        looked = ", ".join(name or "RAW itself" for name in JSON_FOLDERS)
        raise InputError(f"avqa-train.json is missing; RAW is {raw}, looked for it in: {looked}")
    files = {
        split: annotation_file(raw, raw / folder / f"avqa-{split}.json", allow_links=allow_links)
        for split in SPLITS
    }
    for path in files.values():
        if not path.is_file():
            raise InputError(f"{path} is missing; it must lie beside avqa-train.json")
    return files


def _find_videos(raw: Path, *, allow_links: bool) -> tuple[dict[str, VideoNames], tuple[str, ...]]:
    """Return the videos of each folder that has any, and all folders."""
    places: dict[str, VideoNames] = {}
    folders = []
    for folder in dict.fromkeys(VIDEO_FOLDERS):
        if not (raw / folder).is_dir():
            continue
        videos = videos_by_name(raw, folder, allow_links=allow_links)
        # RAW and `videos/` are among the folders; they count only when videos lie right in them.
        if videos or folder.endswith((*_REAL, *_SYNTHETIC)):
            folders.append(folder)
        if videos:
            places[folder] = videos
    if not folders:
        raise InputError(
            f"{raw} holds no folder of videos; looked for {_REAL[0]}, {_SYNTHETIC[0]} and {_SYNTHETIC[1]} "
            f"in {', '.join(parent or 'RAW itself' for parent in _PARENTS)}, and for videos right in those"
        )
    return places, tuple(folders)


@dataclass
class _Tally:
    """Vocabulary and counts of the questions, collected while they are read.

    Attributes:
        words: the vocabulary, as a dict for its order; filled from the training questions.
        answers: the same for the answers.
        questions: split to the number of questions that are kept.
    """

    words: dict[str, None] = field(default_factory=lambda: {PAD: None})
    answers: dict[str, None] = field(default_factory=dict)
    questions: dict[str, int] = field(default_factory=dict)
    _templates: set[str] = field(default_factory=set)
    _counts: Counter[str] = field(default_factory=Counter)

    def read(self, path: Path, split: str) -> tuple[dict[str, int], QuestionTexts]:
        """Return the videos of a split in the order of the file, with numbers from 0, and the questions."""
        videos: dict[str, int] = {}
        texts = QuestionTexts()
        identities = HashList()
        count = 0
        for question in read_questions(path):
            if question is None:
                self._counts["deleted"] += 1
                continue
            count += 1
            self._note(question, training=split == "train")
            identities.add(question.question_id)
            texts.add(videos.setdefault(question.video, len(videos)), question.text())
        self.questions[split] = count
        if identities.repeated():
            self._counts["repeated"] += _repeated(path)
        return videos, texts

    def _note(self, question: Question, *, training: bool) -> None:
        _, _, _, template, words, answer, marked = question
        self._templates.add(template)
        if len(words) > MAX_WORDS:
            self._counts["long"] += 1
        if not marked:
            self._counts["unmarked"] += 1
        if training:
            if not self.words.keys() >= set(words):
                self.words.update(dict.fromkeys(words))
            self.answers.setdefault(answer)
        else:
            self._counts["unknown words"] += not self.words.keys() >= set(words)
            self._counts["unknown answers"] += answer not in self.answers

    def findings(self, clips: ClipList) -> Iterator[str]:
        """Yield notes for the user."""
        yield (
            f"{len(self._templates)} question templates (published: {PUBLISHED_TEMPLATES}), "
            f"{len(self.answers)} answers (published: {PUBLISHED.classes}), "
            f"{len(self.words)} words, {PAD} included"
        )
        texts = {
            "deleted": "questions are marked as deleted and were left out",
            "repeated": "questions have the question_id of an earlier one of their split",
            "long": f"questions are longer than {MAX_WORDS} words and were cut",
            "unmarked": "questions end without a question mark: they lose their last letter, as published",
            "unknown words": f"val and test questions hold words unseen in training, which become {PAD}",
            "unknown answers": "val and test questions have answers unseen in training: they cannot be right",
        }
        if alike := len(self.answers) - len(set(map(class_key, self.answers))):
            yield (
                f"{alike} answers differ from another one in case, blanks or Unicode form only; each is an "
                "answer of its own"
            )
        yield from (f"{self._counts[name]} {text}" for name, text in texts.items() if self._counts[name])
        if several := len(clips) - len({values[SOURCE] for values in clips.values()}):
            yield f"{several} clips are of videos that have questions in an earlier split too"


def _repeated(path: Path) -> int:
    """Return the number of questions with the question_id of an earlier one."""
    identities = [question.question_id for question in read_questions(path) if question is not None]
    return len(identities) - len(set(identities))


def _specify(
    video: str,
    split: str,
    questions: bytes,
    places: Mapping[str, VideoNames],
    folders: tuple[str, ...],
    *,
    again: bool,
) -> tuple[Any, ...]:
    expected = f"{folders[0]}/{video}.mp4" if folders[0] else f"{video}.mp4"
    return clip_values(
        key=f"{video}_{split}" if again else video,
        split=split,
        source=printable(_path_of(video, places) or expected),
        members=(("qa.json", questions),),
        problem=unsafe_name(video, "video_id"),
    )


def _path_of(video: str, places: Mapping[str, VideoNames]) -> str | None:
    """Return the path of a video, from the first folder that has it."""
    for folder, names in places.items():
        if (name := names.get(video)) is not None:
            return f"{folder}/{name}" if folder else name
    return None
