"""Results of evaluations: written and read back, and refused when they are damaged."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from stgcma.errors import InputError
from stgcma.strict_json import strict_json
from stgcma.train import evaluation
from stgcma.train.results import EvaluationResult, read_evaluation
from stgcma.train.run_folder import RunFolder
from stgcma.train.tasks import TASKS
from stgcma.train.tasks.ave import AveTask
from stgcma.train.tasks.avqa import AvqaTask
from stgcma.train.tasks.avs import AvsTask
from stgcma.train.tasks.avss_result import _SCORES as AVSS_SCORES


class Info:
    """The fields of dataset.json that a meter needs."""

    classes = ("Bell", "Flute, Shofar", "Background")
    features = {"sampling": {"frames": 2}}  # noqa: RUF012
    vocabulary = {"words": ["<pad>"], "answers": ["one", "two", "three"]}  # noqa: RUF012


def batches():
    """Task to outputs and targets of two clips, and the score of each clip, by hand."""
    logits = torch.tensor([[[2.0, 0, 0], [0, 1, 0]], [[0, 0, 3], [1, 0, 0]]])
    masks = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    masks[:, :, :2] = True
    predicted = masks.clone()
    predicted[1, 0, 1] = False  # half of the object's pixels
    answers = torch.nn.functional.one_hot(torch.tensor([0, 2, 1]), 3).float()
    return {
        "ave": ({"logits": logits}, {"labels": torch.tensor([[0, 1], [2, 2]])}, [1.0, 0.5]),
        "avc": (
            {"logits": logits[:, 0]},
            {"tags": torch.tensor([[1.0, 0, 0], [0, 1, 0]])},
            [1.0, 0.0],
        ),
        "avs": (
            {"mask_logits": predicted[:, :, None].float() * 8 - 4},
            {"masks": masks, "annotated": torch.tensor([[True, True], [True, False]])},
            [1.0, 0.5],
        ),
        "avqa": (
            {"answer_logits": answers},
            {
                "answer": torch.tensor([0, 1, 1]),
                "type": torch.tensor([0, 2, 2]),
                "owner": torch.tensor([0, 0, 1]),
            },
            [0.5, 1.0],
        ),
        "avss": labelled(masks, predicted),
        "avvp": parsed(),
    }


def labelled(masks, predicted):
    """The same masks as class 1 of 3, over background.

    Of the annotated frame of the second clip, class 1 has 4 of 8 pixels; background 8, and 4 too many.
    """
    outputs = {"classes": predicted.to(torch.uint8)}
    targets = {
        "labels": masks.to(torch.uint8),
        "annotated": torch.tensor([[True, True], [True, False]]),
        "frames": torch.ones(2, 2, dtype=torch.bool),
    }
    return outputs, targets, [1.0, (1 / 2 + 8 / 12) / 2]


def parsed():
    """Two clips of two seconds; class 0 is audible throughout, class 1 visible in the first second.

    The first clip is predicted rightly, by segment. In the second, class 0 is predicted visible and class 1
    is missed: A is 1, V 0, and AV, which should be empty, 0.
    """
    events = torch.zeros(2, 2, 2, 3, dtype=torch.bool)
    events[:, :, 0, 0] = events[:, 0, 1, 1] = True
    predicted = events.clone()
    predicted[1, :, 1] = False
    predicted[1, :, 1, 0] = True
    clip = torch.tensor([[0.6, 1.2, 0.1], [0.5, 0.9, 0.1]])
    outputs = {"logits": 8.0 * predicted - 4, "audio": clip, "visual": clip, "clip": clip}
    targets = {
        "tags": torch.tensor([[True, True, False]] * 2),
        "events": events,
        "dense": torch.tensor([True, True]),
    }
    return outputs, targets, [1.0, 1 / 3]


def result_of(name):
    task = TASKS[name](Info)
    outputs, targets, _ = batches()[name]
    meter = task.meter()
    meter.update(outputs, targets)
    detail = meter.result()
    return EvaluationResult(
        task=name,
        split="test",
        shards="shards",
        data_fingerprint="0",
        checkpoint_sha256="1",
        bounds={"one object a frame": 0.75},
        clips=2,
        modality="av",
        score_name=task.score_name,
        score=detail.score,
        detail=detail,
        baselines={"most frequent": 0.25},
        selected_on="val",
        machine="x86_64",
    )


# The fields of evaluation-SPLIT.json since version 0.1.
FIELDS = [
    *("task", "split", "shards", "data_fingerprint", "checkpoint_sha256", "clips", "modality"),
    *("score_name", "score", "baselines", "selected_on", "machine"),
]
# Fields that evaluations of earlier versions lack.
LATER = ("bounds", "batchwise", "miou_with_object")
AVS_SCORES = ["f_score", "f_score_batch_4", "f_score_batch_1", "miou_with_object"]
OF_TASK = {
    "ave": ["accuracy", "seconds", "by_class", "confusion", "majority"],
    "avc": ["accuracy", "accuracy_at_5", "map", "labels_per_clip", "found", "by_class", "confusion"],
    "avs": ["miou", "f_score", "threshold", "frames", "frames_without_object"],
    "avqa": ["accuracy", "questions", "by_modality", "by_type"],
    "avss": [
        *("miou", "classes_seen", "frames", "padded_frames", "official", "no_padding"),
        *("classes", "iou", "class_frames"),
    ],
    "avvp": ["segment_type_av", "segment", "event", "micro", "share_above_1", "scored_clips", "by_class"],
}
# Fields that follow from others, and are not read.
DERIVED = {
    "ave": ["accuracy", "seconds", "majority"],
    "avc": ["accuracy", "accuracy_at_5", "map"],
    "avs": [],
    "avqa": ["questions"],
    "avss": ["classes_seen", *(name for name, *_ in AVSS_SCORES)],
    "avvp": [
        *("segment_type_av", "segment", "event", "micro", "share_above_1", "scored_clips"),
        *("empty_truth_share", "empty_share", "clips_without_events"),
    ],
}


@pytest.mark.parametrize("name", TASKS.names)
def test_a_result_is_read_as_it_was_written(name):
    result = result_of(name)
    content = json.loads(strict_json(result.to_json()))
    assert set(FIELDS + OF_TASK[name]) <= set(content)
    assert EvaluationResult.from_json(content, where="file") == result
    assert content[result.score_name] == content["score"]
    assert content["metrics"] == result.metrics
    further = {
        "avs": AVS_SCORES,
        "avc": ["accuracy_at_5", "map"],
        "avss": [name for name, *_ in AVSS_SCORES[1:]],
        "avvp": [key for key in result.metrics if "/" not in key][1:],
    }
    assert list(result.further_metrics) == further.get(name, [])


@pytest.mark.parametrize("name", TASKS.names)
def test_a_missing_or_damaged_field_is_named(name):
    whole = json.loads(strict_json(result_of(name).to_json()))
    for field in whole.keys() - {"metrics", *DERIVED[name]}:
        content = {key: value for key, value in whole.items() if key != field}
        if field in LATER:
            EvaluationResult.from_json(content, where="file")
        else:
            with pytest.raises(InputError, match=f"^file: {field} is missing; it is damaged"):
                EvaluationResult.from_json(content, where="file")
        with pytest.raises(InputError, match=f"^file: {field}.*got|^file: task is|^file: score_name"):
            EvaluationResult.from_json(content | {field: [[object]]}, where="file")


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("ave", {"by_class": {}}, "by_class has no class"),
        ("ave", {"by_class": {"Bell": "high"}}, r"by_class\.Bell: .*got 'high'"),
        ("ave", {"confusion": [[1, 0, 0], [0, 1], [0, 0, 1]]}, "confusion is not 3 × 3"),
        ("ave", {"confusion": [[1, 0, 0], [0, -1, 0], [0, 0, 1]]}, "confusion has a number below 0"),
        ("avs", {"frames": None}, "frames: .*got None"),
        ("avqa", {"by_type": {"smell": {}}}, "by_modality has Audio, Visual, Audio-Visual, expected nothing"),
        ("avqa", {"by_type": {"smell": {}}, "by_modality": {}}, "accuracy is missing"),
        ("avvp", {"by_class": {}}, "classes is empty"),
        ("avvp", {"counts": {}}, "counts has no above, clips, confusions, empty, f_sums"),
        ("avqa", {"baselines": {"most": None}}, r"baselines\.most: .*got None"),
        ("ave", {"task": "smell"}, f"task is 'smell', expected one of {', '.join(TASKS)}"),
    ],
)
def test_a_damaged_part_of_a_field_is_named(name, damage, message):
    with pytest.raises(InputError, match=message):
        EvaluationResult.from_json(result_of(name).to_json() | damage, where="file")


@pytest.mark.parametrize("name", TASKS.names)
def test_the_score_of_a_clip_is_the_meter_s(name):
    task = TASKS[name](Info)
    outputs, targets, by_hand = batches()[name]
    scores = [task.clip_score(*task.clip_of(outputs, targets, index)) for index in range(2)]
    assert scores == pytest.approx(by_hand)


def test_a_clip_of_which_nothing_counts_scores_0():
    outputs, targets, _ = batches()["avs"]
    targets = targets | {"annotated": torch.zeros(2, 2, dtype=torch.bool)}
    task = AvsTask(Info)
    assert math.isnan(task.meter().score())
    assert task.clip_score(*task.clip_of(outputs, targets, 0)) == 0


def test_all_scores_have_names():
    def scores(task):
        meter = task.meter()
        meter.update(*batches()[task.name][:2])
        return meter.scores()

    by_class = scores(AveTask(Info))
    assert by_class == {
        "accuracy": 0.75,
        "accuracy/Bell": 1.0,
        "accuracy/Flute, Shofar": 1.0,
        "accuracy/Background": 0.5,
    }
    masks = scores(AvsTask(Info))
    assert list(masks) == ["miou", *AVS_SCORES]
    assert masks["miou"] == pytest.approx((1 + 1 + 0.5) / 3)
    answers = scores(AvqaTask(Info))
    assert answers["accuracy/Visual"] == answers["accuracy/Visual Counting"] == 0.5
    assert answers["accuracy/Audio Counting"] == 1.0
    assert math.isnan(answers["accuracy/Audio-Visual Temporal"])
    assert len(answers) == 1 + 3 + 9


def test_a_result_counts_for_the_checkpoint_that_was_scored(tmp_path):
    run = RunFolder(tmp_path)
    assert read_evaluation(run, "evaluation-test.json") is None
    run.best.mkdir(parents=True)
    (run.best / "adapters.safetensors").write_bytes(b"weights")
    result = replace(result_of("ave"), checkpoint_sha256=run.best_sha256())
    run.write_json("evaluation-test.json", result.to_json())
    assert read_evaluation(run, "evaluation-test.json") == result
    (run.best / "adapters.safetensors").write_bytes(b"other weights")
    assert read_evaluation(run, "evaluation-test.json") is None


def test_a_score_is_compared_with_the_stored_one():
    result = result_of("ave")
    higher = replace(result, score=result.score + 0.0011)
    assert result.compared_with(result).to_json()["stored"] == {
        "score": result.score,
        "machine": "x86_64",
        "met": True,
    }
    assert not result.compared_with(higher).to_json()["stored"]["met"]
    assert higher.compared_with(result).to_json()["stored"]["met"]
    assert result.compared_with(replace(higher, score=math.nan)).to_json()["stored"]["met"]  # of nothing


def test_the_rows_for_a_person_end_with_the_score():
    names = [row.name for row in result_of("avs").rows()]
    assert names == [
        "F-score",
        "F-score by batches of 4, AVSBench's script for S4",
        "F-score by batches of 1, AVSBench's default for MS3",
        "mIoU of frames with an object",
        "frames without an object",
        "baseline: most frequent",
        "bound: one object a frame",
        "miou",
    ]
    assert "all Audio-Visual" in [row.name for row in result_of("avqa").rows()]
    assert "Event@AV by event" in [row.name for row in result_of("avvp").rows()]


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({}, False),
        ({"bounds": None}, True),
        ({"miou_with_object": None}, True),
        ({"bounds": None, "score": 0.1}, False),
        ({"bounds": None, "clips": 3}, True),
    ],
)
def test_an_evaluation_of_an_earlier_version_gets_the_scores_that_it_lacks(monkeypatch, change, replaced):
    """Unless its score is another one, which is compared."""
    result = result_of("avs")
    content = json.loads(strict_json(result.to_json()))
    for name, value in change.items():
        if value is None:
            del content[name]
        else:
            content[name] = value
    written = []
    run = SimpleNamespace(read_json=lambda _: content, write_json=lambda name, _: written.append(name))
    stored = EvaluationResult.from_json(content, where="file")
    monkeypatch.setattr(evaluation, "read_evaluation", lambda *_: stored)
    evaluation._compare_or_write(run, "evaluation-test.json", result, write=True)
    assert written == ["evaluation-test.json"] * replaced
