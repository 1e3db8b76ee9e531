"""Losses by hand, and sums of parts that make up the whole."""

import math

import numpy as np
import pytest
import torch
from stgcma.train.augmentation import mix_powers
from stgcma.train.metrics.audio_visual_term import MS3_TERM, S4_COSINE_TERM
from stgcma.train.sections import LossConfig
from stgcma.train.tasks.ave import AveTask
from stgcma.train.tasks.avqa import AvqaTask
from stgcma.train.tasks.avs import AvsTask, with_rows

LOSS = LossConfig()


class Info:
    """The fields of dataset.json that a task reads."""

    classes = ("a", "b", "Background")
    features = {"sampling": {"frames": 2}}  # noqa: RUF012
    vocabulary = {"words": ["<pad>", "how", "many"], "answers": ["one", "two", "three"]}  # noqa: RUF012


def mean(task, outputs, targets, weight, loss=LOSS):
    terms, counts = task.terms(outputs, targets, weight, loss), task.counts(targets, weight)
    return {name: float(total) / counts[name] for name, total in terms.losses.items()}


def test_ave_is_the_cross_entropy_of_every_second():
    logits = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    labels = torch.tensor([[0, 2]])
    by_hand = (-math.log(math.exp(2) / (math.exp(2) + 2)) - math.log(1 / (2 + math.e))) / 2
    found = mean(AveTask(Info), {"logits": logits}, {"labels": labels}, torch.ones(1))
    assert found == {"class": pytest.approx(by_hand, abs=1e-6)}


def test_a_clip_that_does_not_count_changes_nothing():
    task = AveTask(Info)
    logits, labels = torch.randn(2, 2, 3), torch.tensor([[0, 1], [2, 2]])
    alone = mean(task, {"logits": logits[:1]}, {"labels": labels[:1]}, torch.ones(1))
    beside = mean(task, {"logits": logits}, {"labels": labels}, torch.tensor([1.0, 0.0]))
    assert beside == pytest.approx(alone, abs=1e-6)


def avs_case():
    torch.manual_seed(0)
    masks = torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    masks[:, 0, 2:5, 1:7] = True
    annotated = torch.tensor([[True, False], [True, True]])
    return {"mask_logits": torch.randn(2, 2, 1, 8, 8)}, with_rows({"masks": masks, "annotated": annotated})


MASK_LOSSES = [
    ("iou", ["iou"]),
    ("bce", ["bce"]),
    ("iou+bce", ["iou", "bce"]),
    ("bounded-bce", ["bounded-bce"]),
]


@pytest.mark.parametrize(("kind", "names"), MASK_LOSSES)
def test_avs_equals_plain_formulas_on_the_annotated_frames(kind, names):
    outputs, targets = avs_case()
    found = mean(AvsTask(Info), outputs, targets, torch.ones(2), LossConfig(mask=kind))
    expected = {"iou": [], "bce": [], "bounded-bce": []}
    for clip, frame in ((0, 0), (1, 0), (1, 1)):
        share = torch.sigmoid(outputs["mask_logits"][clip, frame, 0]).numpy().astype(float)
        mask = targets["masks"][clip, frame].numpy().astype(float)
        both = (share * mask).sum()
        expected["iou"].append(1 - (both + 1) / (share.sum() + mask.sum() - both + 1))
        expected["bce"].append(-(mask * np.log(share) + (1 - mask) * np.log(1 - share)).mean())
        expected["bounded-bce"].append(expected["bce"][-1])
    assert list(found) == names
    for name in names:
        assert found[name] == pytest.approx(np.mean(expected[name]), abs=1e-6)


@pytest.mark.parametrize(("kind", "term"), [("kl", MS3_TERM), ("cosine", S4_COSINE_TERM)])
def test_the_audio_visual_term_is_that_of_the_annotated_frames_that_count(kind, term):
    outputs, targets = avs_case()
    for stage, side in enumerate((4, 2, 1, 1)):
        outputs |= {f"visual_{stage}": torch.randn(4, 6, side, side), f"audio_{stage}": torch.randn(4, 6)}
    audio, visual = ([outputs[f"{kind}_{stage}"] for stage in range(4)] for kind in ("audio", "visual"))
    by_frame = term.by_frame(outputs["mask_logits"].flatten(0, 1), audio, visual)
    loss = LossConfig(mask="bce", audio_visual=0.5, audio_visual_term=kind)
    task = AvsTask(Info)
    assert task.weights(loss) == {"bce": 1.0, "audio_visual": 0.5}
    for weight, frames in (([1.0, 1.0], [0, 2, 3]), ([0.0, 1.0], [2, 3]), ([1.0, 0.0], [0])):
        found = task.terms(outputs, targets, torch.tensor(weight), loss).losses["audio_visual"]
        assert float(found) == pytest.approx(float(by_frame[frames].sum()), abs=1e-5)
        assert task.counts(targets, torch.tensor(weight))["audio_visual"] == len(frames)
    assert task.summed_losses(loss) == ({"audio_visual"} if kind == "kl" else set())
    assert task.needs_features(loss)
    assert not task.needs_features(LossConfig())


@pytest.mark.parametrize(("kind", "cost", "has_gradient"), [("bce", 200, True), ("bounded-bce", 100, False)])
def test_a_saturated_wrong_pixel_of_the_two_cross_entropies(kind, cost, has_gradient):
    _, targets = avs_case()
    logits = torch.where(targets["masks"], -200.0, 200.0)[:, :, None].requires_grad_()
    losses = (
        AvsTask(Info).terms({"mask_logits": logits}, targets, torch.ones(2), LossConfig(mask=kind)).losses
    )
    assert float(losses[kind].detach()) == pytest.approx(3 * cost)
    losses[kind].backward()
    assert bool(logits.grad.any()) == has_gradient


def test_avs_of_a_perfect_prediction_costs_nothing():
    _, targets = avs_case()
    logits = (targets["masks"].float() * 2 - 1)[:, :, None] * 50
    found = mean(AvsTask(Info), {"mask_logits": logits}, targets, torch.ones(2), LossConfig(mask="iou+bce"))
    assert found == {"iou": pytest.approx(0, abs=1e-6), "bce": pytest.approx(0, abs=1e-6)}


def avqa_case():
    torch.manual_seed(1)
    outputs = {
        "answer_logits": torch.randn(3, 3),
        "match_positive": torch.randn(4, 2),
        "match_negative": torch.randn(4, 2),
    }
    return outputs, {"answer": torch.tensor([2, -1, 0]), "owner": torch.tensor([0, 0, 1])}


def test_avqa_is_the_answer_and_half_the_match():
    outputs, targets = avqa_case()
    task = AvqaTask(Info)
    found = mean(task, outputs, targets, torch.ones(2))
    logs = outputs["answer_logits"].log_softmax(-1)
    assert found["answer"] == pytest.approx(float(-(logs[0, 2] + logs[2, 0]) / 2), abs=1e-6)
    positive, negative = (outputs[f"match_{sign}"].log_softmax(-1) for sign in ("positive", "negative"))
    assert found["match"] == pytest.approx(
        float(-(positive[:, 1].mean() + negative[:, 0].mean()) / 2), abs=1e-6
    )
    assert task.weights(LOSS) == {"answer": 1.0, "match": 0.5}


def test_avqa_without_negatives_has_no_match():
    outputs, targets = avqa_case()
    assert list(
        mean(AvqaTask(Info), {"answer_logits": outputs["answer_logits"]}, targets, torch.ones(2))
    ) == ["answer"]


def test_words_unseen_in_training_are_padding():
    task = AvqaTask(Info)
    assert task.word_ids(["how", "loud", "many"]) == [1, 0, 2] + [0] * 11
    assert len(task.word_ids(["how"] * 20)) == 14


def test_mixed_powers_are_those_of_independent_sounds():
    a, b = np.log(np.float32([[[4.0, 1.0]]])), np.log(np.float32([[[9.0, 1e-6]]]))
    np.testing.assert_allclose(
        np.exp(mix_powers(a, b, 0.25)), [[[0.0625 * 4 + 0.5625 * 9, 0.0625]]], rtol=1e-5
    )


def test_a_shorter_sound_is_silent_after_its_end():
    a, b = np.zeros((1, 3, 2), np.float32), np.zeros((1, 2, 2), np.float32)
    mixed = np.exp(mix_powers(a, b, 0.5))
    np.testing.assert_allclose(mixed[0, :, 0], [0.5, 0.5, 0.25], rtol=1e-6)
    assert mix_powers(b, a, 0.5).shape == (1, 2, 2)
