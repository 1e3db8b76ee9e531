"""AVC: targets, losses, scores and baselines, for one label a clip and for several."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stgcma.errors import InputError, StgcmaError
from stgcma.model import preset_config
from stgcma.shards.manifest import read_dataset
from stgcma.train.results import EvaluationResult
from stgcma.train.sections import LossConfig
from stgcma.train.tasks import task_of
from stgcma.train.tasks.avc import AvcTask
from stgcma.train.tasks.avc_result import AvcResult

from ..labelled_shards import npy
from .metrics.test_average_precision import by_definition

CLASSES = tuple("abcdefgh")
LOSS = LossConfig()


def task_for(labels_per_clip, classes=CLASSES):
    features = {"sampling": {"frames": 10}, "labels_per_clip": labels_per_clip}
    return AvcTask(SimpleNamespace(classes=classes, features=features))


ONE, SEVERAL = task_for("one"), task_for("several")


def one_hot(labels):
    return torch.nn.functional.one_hot(torch.as_tensor(labels), len(CLASSES)).float()


def mean_loss(task, logits, tags, weight):
    terms = task.terms({"logits": logits}, {"tags": tags}, weight, LOSS)
    counts = task.counts({"tags": tags}, weight)
    return float(terms.losses["class"]) / counts["class"], float(terms.score) / counts["score"]


def test_one_label_costs_its_cross_entropy():
    logits = torch.zeros(2, 8)
    logits[0, 3], logits[1, 0] = 2.0, 1.0
    loss, score = mean_loss(ONE, logits, one_hot([3, 5]), torch.ones(2))
    by_hand = -math.log(math.exp(2) / (math.exp(2) + 7)) - math.log(1 / (math.e + 7))
    assert loss == pytest.approx(by_hand / 2, abs=1e-6)
    assert score == 0.5


def test_several_labels_cost_the_binary_cross_entropy_of_every_class():
    torch.manual_seed(0)
    logits, tags = torch.randn(3, 8), torch.randint(0, 2, (3, 8)).float()
    share = 1 / (1 + np.exp(-logits.numpy().astype(float)))
    true = tags.numpy()
    by_hand = -(true * np.log(share) + (1 - true) * np.log(1 - share)).mean()
    loss, score = mean_loss(SEVERAL, logits, tags, torch.ones(3))
    assert loss == pytest.approx(by_hand, abs=1e-6)
    # While training: the mean over clips of the average precision of a clip's own ranking.
    ranked = [by_definition(row.tolist(), hits.tolist()) for row, hits in zip(logits, tags, strict=True)]
    assert score == pytest.approx(np.mean(ranked), abs=1e-6)


@pytest.mark.parametrize("task", [ONE, SEVERAL])
def test_a_clip_that_does_not_count_changes_nothing(task):
    torch.manual_seed(1)
    logits, tags = torch.randn(2, 8), one_hot([1, 2])
    alone = mean_loss(task, logits[:1], tags[:1], torch.ones(1))
    assert mean_loss(task, logits, tags, torch.tensor([1.0, 0.0])) == pytest.approx(alone, abs=1e-6)


def test_a_clip_without_labels_is_trained_on_but_not_scored():
    logits, tags = torch.zeros(2, 8), torch.zeros(2, 8)
    tags[0, :2] = 1
    counts = SEVERAL.counts({"tags": tags}, torch.ones(2))
    assert counts == {"class": 16, "score": 1}
    assert math.isfinite(mean_loss(SEVERAL, logits, tags, torch.ones(2))[0])


def measured(task, logits, tags):
    meter = task.meter()
    for start in range(0, len(logits), 7):  # unequal batches
        rows = slice(start, start + 7)
        meter.update({"logits": logits[rows]}, {"tags": tags[rows]})
    return meter.result()


def test_scores_of_one_label_equal_an_independent_count():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 6, 60).tolist()  # classes g and h never occur
    logits = torch.from_numpy(rng.standard_normal((60, 8)).astype(np.float32))
    logits[range(60), true] += 1
    result = measured(ONE, logits, one_hot(true))
    ranked = [sorted(range(8), key=lambda c, row=row: -row[c]) for row in logits.tolist()]
    right = [order[0] == label for order, label in zip(ranked, true, strict=True)]
    found = [label in order[:5] for order, label in zip(ranked, true, strict=True)]
    metrics = result.metrics()
    assert list(metrics)[:3] == ["accuracy", "accuracy_at_5", "map"]
    assert metrics["accuracy"] == result.score == sum(right) / 60
    assert metrics["accuracy_at_5"] == sum(found) / 60
    shares = logits.softmax(-1).tolist()
    precisions = [by_definition([row[c] for row in shares], [label == c for label in true]) for c in range(6)]
    assert metrics["map"] == pytest.approx(sum(precisions) / 6, abs=1e-9)
    assert metrics["accuracy/g"] is None
    for row, share, (c, label) in zip(result.rows(), shares, enumerate(CLASSES), strict=False):
        mine = [hit for hit, one in zip(right, true, strict=True) if one == c]
        assert (row.name, row.count) == (label, len(mine))
        assert row.share == (sum(mine) / len(mine) if mine else None), share
    confusion = result.confusion_matrix().counts
    assert confusion[2][3] == sum(a == 2 and order[0] == 3 for a, order in zip(true, ranked, strict=True))
    assert AvcResult.from_json(result.to_json()) == result


def test_scores_of_several_labels_equal_the_definition():
    rng = np.random.default_rng(1)
    tags = (rng.random((40, 8)) < 0.2).astype(np.float32)
    tags[:, 7] = 0
    logits = rng.standard_normal((40, 8)).astype(np.float32) * 40  # sigmoids of these are mostly 0 or 1
    result = measured(SEVERAL, torch.from_numpy(logits), torch.from_numpy(tags))
    expected = [by_definition(logits[:, c].tolist(), tags[:, c].tolist()) for c in range(7)]
    assert result.score == pytest.approx(np.mean(expected), abs=1e-9)
    assert result.metrics()["average_precision/c"] == pytest.approx(expected[2], abs=1e-9)
    assert [row.count for row in result.rows()] == tags.sum(0).astype(int).tolist()
    assert result.rows()[7].share is None
    assert result.confusion_matrix() is None
    assert next(iter(result.metrics())) == SEVERAL.score_name == "map"
    assert AvcResult.from_json(result.to_json()) == result


def test_an_empty_split_has_no_score():
    for task in (ONE, SEVERAL):
        result = task.meter().result()
        assert math.isnan(result.score)
        assert set(result.metrics().values()) == {None}


def test_logits_that_are_no_numbers_rank_last():
    logits = torch.tensor([[math.nan] * 8, [0.0] * 8])
    assert measured(SEVERAL, logits, one_hot([0, 1])).rows()[0].share == 0.5


def test_equal_logits_are_an_answer_for_the_lower_class():
    result = measured(ONE, torch.zeros(2, 8), one_hot([0, 5]))
    assert result.metrics()["accuracy"] == result.metrics()["accuracy_at_5"] == 0.5


def test_logits_of_other_classes_are_refused():
    with pytest.raises(ValueError, match=r"logits are \(1, 8\), labels \(1, 7\)"):
        ONE.meter().update({"logits": torch.zeros(1, 8)}, {"tags": torch.zeros(1, 7)})


@pytest.mark.parametrize(
    ("task", "logits", "tags", "score"),
    [
        (ONE, [3.0, 0, 0, 0, 0, 0, 0, 0], [0], 1.0),
        (ONE, [3.0, 0, 0, 0, 0, 0, 0, 0], [1], 0.0),
        (SEVERAL, [3.0, 3, -3, -3, -3, -3, -3, -3], [0, 1], 1.0),
        (SEVERAL, [3.0, 3, -3, -3, -3, -3, -3, -3], [0, 2], 1 / 3),
        (SEVERAL, [-3.0] * 8, [], 1.0),
    ],
)
def test_a_clips_score_is_the_share_of_labels_that_agree(task, logits, tags, score):
    true = torch.zeros(1, 8)
    true[0, tags] = 1
    assert task.clip_score({"logits": torch.tensor([logits])}, {"tags": true}) == pytest.approx(score)


def test_predicted_are_the_likeliest_or_all_from_one_half_on():
    shares = np.array([0.2, 0.5, 0.9, 0.49], np.float32)
    assert task_for("one", CLASSES[:4]).predicted(shares) == [2]
    assert task_for("several", CLASSES[:4]).predicted(shares) == [2, 1]
    assert task_for("several", CLASSES[:4]).predicted(shares / 10) == []


@pytest.mark.parametrize(
    ("task", "tags", "said"),
    [
        (ONE, np.eye(8, dtype=np.uint8)[0] * 0, "tags.npy has 0 classes, expected one per clip"),
        (ONE, np.ones(8, np.uint8), "tags.npy has 8 classes, expected one per clip"),
        (SEVERAL, np.ones(7, np.uint8), r"tags.npy is uint8 \[7\], expected uint8 \[8\]"),
        (SEVERAL, np.full(8, 2, np.uint8), "tags.npy has the value 2, expected 0 and 1 only"),
    ],
)
def test_tags_that_do_not_fit_are_named(task, tags, said):
    with pytest.raises(StgcmaError, match=said):
        task.targets({"tags.npy": npy(tags)}, 0)
    with pytest.raises(StgcmaError, match=r"tags.npy is missing"):
        task.targets({}, 0)


def test_an_unknown_number_of_labels_is_refused():
    with pytest.raises(InputError, match=r"features.labels_per_clip is 'two', expected one or several"):
        task_for("two")


def test_a_model_of_one_label_does_not_fit_several():
    model = preset_config("avc-demo", classes=8)
    ONE.check_model(model, where="shards")
    with pytest.raises(InputError, match="shards needs labels_per_clip several, the model has one"):
        SEVERAL.check_model(model, where="shards")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"by_class": {}}, "by_class has no class"),
        ({"labels_per_clip": "two"}, "labels_per_clip is 'two', expected one or several"),
        ({"labels_per_clip": "several"}, "found and right are for one label per clip, not for several"),
        ({"found": None}, "found and right are for one label per clip, not for one"),
        ({"confusion": [[1]]}, "confusion is not 8 × 8"),
        ({"score_name": "map"}, "score_name is 'map', expected 'accuracy'"),
    ],
)
def test_a_damaged_result_is_named(damage, said):
    detail = measured(ONE, torch.zeros(2, 8), one_hot([0, 5]))
    names = ("split", "shards", "data_fingerprint", "checkpoint_sha256", "modality", "machine", "selected_on")
    content = {"task": "avc", "score_name": "accuracy", "score": 0.5, "clips": 2, "baselines": {}}
    content |= dict.fromkeys(names, "x") | detail.to_json()
    EvaluationResult.from_json(content, where="file")
    with pytest.raises(InputError, match=f"^file: {said}"):
        EvaluationResult.from_json(content | damage, where="file")


def test_baselines_of_one_label(avc_shards):
    # Two training clips with the labels 0 and 1, a test clip with the label 0.
    found = task_of(read_dataset(avc_shards)).baselines(avc_shards, "test")
    assert found == {"most frequent class": 1.0, "label prior": 0.5}


def test_baselines_of_several_labels(several_labels_shards):
    # The labels of the only test clip are 0 and 1: constant scores have their share as average precision.
    task = task_of(read_dataset(several_labels_shards))
    assert task.baselines(several_labels_shards, "test") == {"label prior": 1.0}
    # Training: 0 and 1; 1. Class 0 occurs in one of two clips, class 1 in both.
    assert task.baselines(several_labels_shards, "train") == {"label prior": 0.75}
