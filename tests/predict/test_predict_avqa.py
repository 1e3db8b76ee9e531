"""`stgcma predict` with a run of AVQA: questions, answers, attention."""

import json

import pytest
import torch
from PIL import Image
from stgcma.errors import InputError
from stgcma.predict import predict
from stgcma.predict.questions import encode_questions
from stgcma.preprocess.collections import questions as own_questions
from stgcma.train.run_folder import RunFolder
from stgcma.train.tasks import task_of

from .conftest import H264, picture, tone
from .test_predict_ave import scored

# One process makes the run; others would wait for it.
pytestmark = pytest.mark.xdist_group("predictions of AVQA")


def task_of_run(run):
    return task_of(RunFolder.open(run).read_dataset())


def asked_of(raw, split="test"):
    """Return the questions of a split by video, with their placeholders filled."""
    asked = {}
    for record in json.loads((raw / f"avqa-{split}.json").read_text()):
        if record.get("question_deleted"):
            continue
        text = record["question_content"]
        for value in json.loads(record["templ_values"]):
            start, end = text.index("<"), text.index(">")
            text = text[:start] + value + text[end + 1 :]
        asked.setdefault(record["video_id"], []).append(text)
    return asked


def test_questions_get_the_answers_that_evaluate_gives(run_of, raw_of):
    run, raw = run_of("avqa"), raw_of("avqa")
    answers = list(task_of_run(run).answers)
    asked = asked_of(raw)
    batch, made, _ = scored(run)[0]
    key = batch.keys[0]
    (video,) = raw.rglob(f"{key}.mp4")
    own = made["answer_logits"][batch.targets["owner"] == 0].softmax(-1)
    (one,) = predict(run, [video], asked[key]).videos
    assert len(one.answers) == len(own) > 5
    for answer, shares in zip(one.answers, own, strict=True):
        for name, share in ((answer.answer, answer.confidence), *answer.rivals):
            assert share == pytest.approx(float(shares[answers.index(name)]), abs=1e-6)


def test_an_answer_says_what_it_was_taken_from(stgcma, run_of, long_video, tmp_path):
    question = "How many instruments are sounding in the vidoe?"
    arguments = (
        "--question",
        question,
        "--question",
        "Is there a violin sound?",
        "--out",
        tmp_path,
        "--json",
    )
    result = stgcma("predict", run_of("avqa"), long_video, *arguments)
    assert result.status == 0, result.stderr
    said = json.loads((tmp_path / "long.json").read_text())
    first, second = said["answers"]
    assert first["question"] == question
    assert "vidoe" in first["unknown_words"]
    assert "the model does not know" in result.stderr
    assert "'vidoe' (did you mean 'video'?)" in result.stderr
    assert (second["unknown_words"], second["unread_words"]) == ([], [])
    assert len(second["rivals"]) == 5
    assert second["confidence"] >= second["rivals"][0]["confidence"] >= second["rivals"][-1]["confidence"]
    windows = {step["window"] for step in second["steps"]}
    assert len(windows) == len(second["by_window"]) == 2, "two windows of 12 s"
    for window in windows:
        steps = [step for step in second["steps"] if step["window"] == window]
        assert sum(step["seen"] for step in steps) == pytest.approx(1, abs=1e-4)
        assert sum(step["heard"] for step in steps) == pytest.approx(1, abs=1e-4)
    assert second["steps"][-1]["end"] == pytest.approx(23.4)
    assert len(said["grounding"]) == len(second["steps"])
    for cells in said["grounding"]:
        assert sum(sum(row) for row in cells) == pytest.approx(1, abs=1e-4)
    (printed,) = json.loads(result.stdout)["videos"]
    assert printed["answers"] == said["answers"]
    with Image.open(tmp_path / "long.answers.png") as image:
        image.verify()
    # The answers are a collection of questions with the same words.
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / long_video.name).touch()
    (tmp_path / "long.questions.jsonl").rename(tmp_path / "questions.jsonl")
    (clip,) = own_questions.read(tmp_path).clips
    exported = json.loads(dict(clip.members)["qa.json"])
    assert [(one["words"], one["answer"]) for one in exported] == [
        (one["question"].rstrip("?").split()[:14], one["answer"]) for one in said["answers"]
    ]


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ((), "answers questions: ask at least one"),
        (("Wherefore art thou?",), "question 'Wherefore art thou\\?' holds no word that the model knows"),
        ((" ? ",), "a question is empty"),
    ],
)
def test_questions_that_cannot_be_answered(run_of, long_video, questions, message):
    with pytest.raises(InputError, match=message):
        predict(run_of("avqa"), [long_video], questions)


def test_questions_are_read_as_in_training(run_of):
    task = task_of_run(run_of("avqa"))
    plain, unmarked, wide = encode_questions(
        ["Is there a violin sound?", "Is there a violin sound", " Is there  a violin sound？ "], task.words
    )
    assert plain.ids == unmarked.ids == wide.ids
    assert list(plain.ids[:5]) == [task.words[word] for word in ["Is", "there", "a", "violin", "sound"]]
    assert not plain.warnings()
    (long,) = encode_questions(["Is there a violin sound " + "a " * 12 + "?"], task.words)
    assert long.unread == ("a",) * 3
    assert "only 14 words are read" in long.warnings()[0]


def test_a_short_clip_has_one_window(run_of, encoded):
    video = encoded("clip.mp4", *picture(seconds=0.3), *tone(seconds=0.3), *H264)
    (one,) = predict(run_of("avqa"), [video], ["Is there a violin sound?"]).videos
    (answer,) = one.answers
    assert answer.by_window == ((answer.answer, answer.confidence),)
    assert answer.steps[-1].end == one.length_seconds


def test_explaining_changes_no_output(run_of):
    from stgcma.model import load_model

    model = load_model(run_of("avqa"))
    torch.manual_seed(0)
    inputs = {
        "video": torch.randn(2, 10, 3, 224, 224),
        "audio": torch.randn(2, 10, 224, 224),
        "question": torch.randint(0, model.config.head.vocabulary, (3, 14)),
        "owner": torch.tensor([0, 1, 1]),
    }
    with torch.inference_mode():
        plain, explained = model(**inputs), model(**inputs, explain=True)
    assert torch.equal(plain["answer_logits"], explained["answer_logits"])
    assert set(explained) - set(plain) == {"attention_audio", "attention_video", "grounding"}
    assert explained["attention_audio"].shape == explained["attention_video"].shape == (3, 10)
    assert explained["grounding"].shape[:2] == (2, 10)
    for name in ("attention_audio", "attention_video", "grounding"):
        torch.testing.assert_close(
            explained[name].sum(-1), torch.ones(explained[name].shape[:2][: explained[name].dim() - 1])
        )


def test_only_answers_are_explained(run_of):
    from stgcma.model import load_model

    with pytest.raises(InputError, match="explain: given, but this ave model takes no questions"):
        load_model(run_of("ave"))(explain=True)
