"""Synthetic MUSIC-AVQA in the layout of one's own questions."""

import json

import pytest
from stgcma.preprocess.collections import music_avqa as published
from stgcma.preprocess.collections import questions as own
from stgcma.preprocess.synthesis import music_avqa, questions


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    """Encodes no videos: their files are empty."""

    def render_all(render, scenes, workers):  # noqa: ARG001
        folder = render.keywords["folder"]
        for scene in scenes:
            name = music_avqa.SYNTHETIC_FOLDER if scene.video.startswith("sa") else music_avqa.REAL_FOLDER
            (folder / name / f"{scene.video}.mp4").touch()

    monkeypatch.setattr(music_avqa, "render_all", render_all)


def test_questions_are_those_of_music_avqa(tmp_path):
    music_avqa.synthesize(tmp_path / "music", clips=12, seed=3)
    questions.synthesize(tmp_path / "own", clips=12, seed=3)
    first, second = published.read(tmp_path / "music"), own.read(tmp_path / "own")

    def asked(collection):
        return {
            (clip.source.rpartition("/")[2], clip.split): [
                (one["answer"], " ".join(one["type"]).lower(), [word for word in one["words"] if word])
                for one in json.loads(dict(clip.members)["qa.json"])
            ]
            for clip in collection.clips
        }

    assert asked(first) == asked(second)
    assert len(asked(first)) == 12
    assert set(second.vocabulary["answers"]) == set(first.vocabulary["answers"])
    assert {path.name for path in (tmp_path / "own").iterdir()} == {"questions.jsonl", "videos"}
