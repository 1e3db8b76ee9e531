"""AVSS: targets, loss, scores and baselines; padding frames count where the name of a score says so."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from stgcma.errors import StgcmaError
from stgcma.train.metrics.audio_visual_term import AVSS_TERM
from stgcma.train.sections import LossConfig
from stgcma.train.tasks import avss
from stgcma.train.tasks.avs import with_rows
from stgcma.train.tasks.avss import AvssTask
from stgcma.train.tasks.avss_result import AvssResult

CLASSES = ("background", "cat", "dog")
FRAMES = 4
LOSS = LossConfig()


class Info:
    """The fields of dataset.json that the task reads."""

    classes = CLASSES
    features = {"sampling": {"frames": FRAMES}}  # noqa: RUF012


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mask(seed, side=224):
    return np.random.default_rng(seed).integers(0, len(CLASSES), (side, side), dtype=np.uint8)


def members(frames, masks):
    found = {f"frame_{number:02d}.jpg": b"" for number in range(frames)}
    return found | {f"mask_{number:02d}.png": png(pixels) for number, pixels in masks.items()}


def test_targets_are_padded_and_say_what_counts():
    first, third = mask(1), mask(2)
    targets = AvssTask(Info).targets(members(3, {0: first, 2: third}), 0)
    assert targets["frames"].tolist() == [True, True, True, False]
    assert targets["annotated"].tolist() == [True, False, True, False]
    assert np.array_equal(targets["labels"][0].numpy(), first)
    assert np.array_equal(targets["labels"][2].numpy(), third)
    assert not targets["labels"][[1, 3]].any()


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (mask(1) + 1, r"mask_00\.png has the class 3, expected 0 to 2"),
        (mask(1, side=16), r"mask_00\.png is L 16×16, expected L 224×224"),
    ],
)
def test_hostile_masks_are_refused(pixels, said):
    with pytest.raises(StgcmaError, match=said):
        AvssTask(Info).targets(members(1, {0: pixels}), 0)


def case():
    """Two clips of 8×8 pixels: one of 4 frames, all annotated; one of 2 frames, the first annotated."""
    torch.manual_seed(0)
    targets = {
        "labels": torch.randint(0, 3, (2, FRAMES, 8, 8), dtype=torch.uint8),
        "annotated": torch.tensor([[True] * 4, [True, False, False, False]]),
        "frames": torch.tensor([[True] * 4, [True, True, False, False]]),
    }
    return {"mask_logits": torch.randn(2, FRAMES, 3, 8, 8)}, with_rows(targets)


def by_hand(logits, labels):
    """The cross-entropy of one frame, pixel by pixel."""
    values = logits.double().numpy()
    exponents = np.exp(values)
    shares = exponents / exponents.sum(0)
    chosen = np.take_along_axis(shares, labels.numpy()[None].astype(int), 0)[0]
    return -np.log(chosen).mean()


def test_loss_is_the_mean_over_annotated_frames_of_pixel_means():
    outputs, targets = case()
    task = AvssTask(Info)
    terms, counts = task.terms(outputs, targets, torch.ones(2), LOSS), task.counts(targets, torch.ones(2))
    frames = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
    expected = [by_hand(outputs["mask_logits"][at], targets["labels"][at]) for at in frames]
    assert counts == dict.fromkeys(("class", "iou", "objects", "audio_visual", "score"), 5.0)
    assert float(terms.losses["class"]) / 5 == pytest.approx(np.mean(expected), abs=1e-6)


def jaccard_by_hand(logits, labels):
    """The soft Jaccard loss of one frame: pixels and objects summed, smoothed by one pixel."""
    shares = np.exp(logits.double().numpy())
    shares = shares / shares.sum(0)
    both = either = 0.0
    for index in range(1, len(shares)):
        true = labels.numpy() == index
        both += shares[index][true].sum()
        either += shares[index][~true].sum() + true.sum()
    return 1 - (both + 1) / (either + 1)


def test_jaccard_loss_is_the_mean_over_annotated_frames_of_that_of_all_objects():
    outputs, targets = case()
    targets["labels"][0, 1][targets["labels"][0, 1] == 1] = 2  # one object
    targets["labels"][0, 2] = 0  # none
    loss, task = LossConfig(semantic="ce+iou"), AvssTask(Info)
    assert task.weights(loss) == {"class": 1.0, "iou": 1.0}
    assert task.weights(LOSS) == {"class": 1.0}
    terms, counts = task.terms(outputs, targets, torch.ones(2), loss), task.counts(targets, torch.ones(2))
    frames = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
    expected = [jaccard_by_hand(outputs["mask_logits"][at], targets["labels"][at]) for at in frames]
    assert counts["iou"] == 5
    assert expected[2] > 0.9  # every share of an object is wrong
    assert float(terms.losses["iou"]) / 5 == pytest.approx(np.mean(expected), abs=1e-6)
    alone = task.terms(outputs, targets, torch.ones(2), LOSS)
    assert set(alone.losses) == {"class"}
    assert float(terms.losses["class"]) == float(alone.losses["class"])


def objects_by_hand(logits, labels):
    """The cross-entropy of the objects' pixels of one frame, the background left out."""
    shares = np.exp(logits.double().numpy()[1:])
    shares = shares / shares.sum(0)
    losses = [-np.log(shares[labels[at] - 1][at]) for at in zip(*np.nonzero(labels.numpy()), strict=True)]
    return np.mean(losses) if losses else 0.0


def test_class_loss_of_objects_is_the_mean_over_their_pixels():
    outputs, targets = case()
    targets["labels"][0, 2] = 0
    loss, task = LossConfig(semantic="ce+iou+objects"), AvssTask(Info)
    assert task.weights(loss) == {"class": 1.0, "iou": 1.0, "objects": 0.25}
    terms = task.terms(outputs, targets, torch.ones(2), loss)
    frames = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
    expected = [objects_by_hand(outputs["mask_logits"][at], targets["labels"][at]) for at in frames]
    assert expected[2] == 0
    assert float(terms.losses["objects"]) / 5 == pytest.approx(np.mean(expected), abs=1e-6)


def test_padding_changes_neither_loss_nor_gradient_nor_training_score():
    outputs, targets = case()
    logits = outputs["mask_logits"].requires_grad_()
    first = AvssTask(Info).terms({"mask_logits": logits}, targets, torch.ones(2), LOSS)
    first.losses["class"].backward()
    assert not logits.grad[1, 1:].any()
    assert logits.grad[1, 0].any()
    changed = logits.detach().clone()
    changed[1, 2:] = 1e6
    second = AvssTask(Info).terms({"mask_logits": changed}, targets, torch.ones(2), LOSS)
    assert float(second.losses["class"]) == float(first.losses["class"].detach())
    assert float(second.score) == float(first.score)


def test_a_clip_that_does_not_count_changes_nothing():
    outputs, targets = case()
    task, weight = AvssTask(Info), torch.tensor([1.0, 0.0])
    first, its = ({n: t[:1] for n, t in one.items()} for one in (outputs, targets))
    alone = task.terms(first, with_rows(its), torch.ones(1), LOSS)
    beside = task.terms(outputs, targets, weight, LOSS)
    assert float(beside.losses["class"]) == pytest.approx(float(alone.losses["class"]), abs=1e-5)
    assert set(task.counts(targets, weight).values()) == {4.0}


def test_audio_visual_term_is_the_mean_over_annotated_frames():
    outputs, targets = case()
    for stage, size in enumerate((4, 2, 2, 1)):
        outputs[f"visual_{stage}"] = torch.randn(2 * FRAMES, 5, size, size)
        outputs[f"audio_{stage}"] = torch.randn(2 * FRAMES, 5)
    loss = LossConfig(audio_visual=0.5)
    task = AvssTask(Info)
    assert task.needs_features(loss)
    assert not task.needs_features(LOSS)
    assert task.weights(loss) == {"class": 1.0, "audio_visual": 0.5}
    found = task.terms(outputs, targets, torch.ones(2), loss).losses["audio_visual"] / 5
    kept = targets["annotated"].flatten()
    expected = AVSS_TERM(
        outputs["mask_logits"].flatten(0, 1),
        [outputs[f"audio_{stage}"] for stage in range(4)],
        [outputs[f"visual_{stage}"] for stage in range(4)],
        counted=kept,
    )
    assert float(found) == pytest.approx(float(expected), abs=1e-6)


def frame_scores(predicted, labels):
    """IoU and F of each class in one frame, None where it is in neither, from sets of pixels."""
    found = []
    for index in range(len(CLASSES)):
        ours = {(x, y) for x, y in zip(*np.nonzero(predicted == index), strict=True)}
        true = {(x, y) for x, y in zip(*np.nonzero(labels == index), strict=True)}
        if not ours | true:
            found.append(None)
            continue
        both = len(ours & true)
        precision, recall = both / max(len(ours), 1), both / max(len(true), 1)
        f = 1.3 * precision * recall / (0.3 * precision + recall) if both else 0.0
        found.append((both / len(ours | true), f))
    return found


def test_official_scores_count_padding_and_corrected_ones_do_not():
    outputs, targets = case()
    targets["labels"][targets["labels"] == 2] = 0  # class 2 is predicted only
    targets["annotated"][1, 1] = True
    task = AvssTask(Info)
    meter = task.meter()
    meter.update(task.scored(outputs), targets)
    predicted = outputs["mask_logits"].argmax(2).numpy()
    frames = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    scores = [frame_scores(predicted[at], targets["labels"][at].numpy()) for at in frames]

    def mean(index, part, padded=0):
        values = [score[index][part] for score in scores if score[index]]
        return (sum(values) + padded) / (len(values) + padded)

    found = meter.result().metrics()
    for name, part in (("miou", 0), ("f_score", 1)):
        real = [mean(index, part) for index in range(3)]
        padded = [mean(0, part, padded=2), *real[1:]]  # of the clip of 2 frames, as class 0
        assert found[name] == pytest.approx(np.mean(padded))
        assert found[f"{name}_no_bg"] == pytest.approx(np.mean(padded[:-1]))
        assert found[f"{name}_no_padding"] == pytest.approx(np.mean(real))
        assert found[f"{name}_foreground"] == pytest.approx(np.mean(real[1:]))
        assert found[f"{name}_seen"] == pytest.approx(np.mean(real))
    result = meter.result()
    assert (result.frames, result.padded_frames) == (6, 2)
    chosen = np.concatenate([predicted[0], predicted[1, :2]])
    true = np.concatenate([targets["labels"][0], targets["labels"][1, :2]])
    pooled = [((chosen == c) & (true == c)).sum() / ((chosen == c) | (true == c)).sum() for c in range(3)]
    assert found["miou_pooled"] == pytest.approx(np.mean(pooled))


def test_counts_of_parts_add_up_and_results_survive_json():
    outputs, targets = case()
    task = AvssTask(Info)
    whole, first, second = task.meter(), task.meter(), task.meter()
    whole.update(task.scored(outputs), targets)
    for index, part in enumerate((first, second)):
        part.update(*task.clip_of(task.scored(outputs), targets, index))
    for name in whole.counts:
        assert np.allclose(whole.counts[name], first.counts[name] + second.counts[name])
    result = whole.result()
    assert AvssResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    rows = {row.name: row for row in result.rows()}
    assert rows["mIoU, official"].kind == "score"
    assert {"background", "cat", "dog"} <= rows.keys()


def test_result_of_nothing_survives_json():
    result = AvssTask(Info).meter().result()
    assert np.isnan(result.score)
    assert set(result.metrics().values()) == {None}
    assert AvssResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_baselines_know_training_masks_and_count_padding(monkeypatch):
    half = np.zeros((224, 224), np.uint8)
    half[:112] = 2
    content = {
        "train": [("mask_00.png", png(half)), ("mask_01.png", png(half))],
        "test": [("json", b'{"frames": 2}'), ("mask_00.png", png(half)), ("mask_01.png", png(half * 0))],
    }
    monkeypatch.setattr(avss, "split_members", lambda _, split, __: iter(content[split]))
    found = AvssTask(Info).baselines("shards", "test")
    assert found == {
        # Class 0: frames 0.5 and 1, and two padded ones of 1; class 2: 0, in one frame; class 1 never occurs.
        "background everywhere": pytest.approx((3.5 / 4) / 3),
        # Class 0: 1 and 0.5, and 1 twice; class 2: 1 and 0.
        "usual class of each pixel": pytest.approx((3.5 / 4 + 0.5) / 3),
        # Class 0: 0 twice, and 1 twice; class 2: 0.5 and 0.
        "most frequent object everywhere": pytest.approx((2 / 4 + 0.5 / 2) / 3),
    }
