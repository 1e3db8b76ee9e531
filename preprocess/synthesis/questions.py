"""The videos and questions of a synthetic MUSIC-AVQA in the layout of one's own questions."""

from __future__ import annotations

import shutil
from pathlib import Path

from ...shards.schema import SPLITS
from ..collections.avqa_questions import read_questions
from ..collections.questions import FILES, question_line
from . import music_avqa
from .encoding import new_folder
from .rendering import seeded, split_names


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write `questions.jsonl` and a folder of `clips` videos under `raw`.

    The same seed gives the same questions and the same clips, whatever the number of workers.
    Raises InputError when `raw` has content or `clips` is below 10.
    """
    # Refuse wrong numbers before a folder is made.
    split_names(clips)
    seeded(seed)
    with new_folder(raw) as folder:
        music = folder / "music"
        music_avqa.synthesize(music, clips=clips, seed=seed, workers=workers)
        videos = folder / "videos"
        videos.mkdir()
        for video in music.glob("*/*.mp4"):
            video.rename(videos / video.name)
        lines = []
        for split in SPLITS:
            for question in filter(None, read_questions(music / f"avqa-{split}.json")):
                line = question_line(
                    video=f"{question.video}.mp4",
                    question=" ".join(question.words).rstrip() + "?",
                    answer=question.answer,
                    type=" ".join(question.type).lower(),
                    split=split,
                )
                lines.append(line)
        (folder / FILES[0]).write_text("".join(lines), encoding="utf-8")
        shutil.rmtree(music)


SYNTHESIZER = synthesize
DEMO = music_avqa.DEMO
