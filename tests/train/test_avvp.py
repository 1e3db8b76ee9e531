"""AVVP: targets, losses by hand, official scores and counts, and answers that ignore the clips."""

import io
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from stgcma.errors import StgcmaError
from stgcma.train.sections import LossConfig
from stgcma.train.tasks import avvp
from stgcma.train.tasks.avvp import AvvpTask
from stgcma.train.tasks.avvp_result import AvvpResult, empty_arrays

LOSS = LossConfig()
SECONDS, CLASSES = 4, 3


class Info:
    """The fields of dataset.json that the task reads."""

    classes = ("Car", "Dog", "Cat")
    features = {"sampling": {"frames": SECONDS}}  # noqa: RUF012


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array, dtype=np.uint8))
    return buffer.getvalue()


def bce(p, y):
    return -(y * math.log(p) + (1 - y) * math.log(1 - p))


def test_targets_are_tags_and_events_by_second_and_modality():
    events = np.zeros((2, SECONDS, CLASSES))
    events[0, 1:3, 2] = events[1, 0, 0] = 1
    task = AvvpTask(Info)
    dense = task.targets({"tags.npy": npy([1, 0, 1]), "events.npy": npy(events)}, 0)
    assert dense["tags"].tolist() == [True, False, True]
    assert dense["events"].shape == (SECONDS, 2, CLASSES)
    assert dense["events"].nonzero().tolist() == [[0, 1, 0], [1, 0, 2], [2, 0, 2]]
    weak = task.targets({"tags.npy": npy([1, 0, 1])}, 0)
    assert (bool(dense["dense"]), bool(weak["dense"])) == (True, False)
    assert not weak["events"].any()
    inputs, batch = task.collate([dense, weak])
    assert inputs == {}
    assert batch["events"].shape == (2, SECONDS, 2, CLASSES)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, r"tags\.npy is missing"),
        ({"tags.npy": npy([1, 0])}, r"tags\.npy is uint8 \[2\], expected uint8 \[3\]"),
        (
            {"tags.npy": npy([1, 0, 0]), "events.npy": npy(np.zeros((2, 5, 3)))},
            r"events\.npy is uint8 \[2, 5, 3\], expected uint8 \[2, 4, 3\]",
        ),
    ],
)
def test_a_clip_without_tags_or_with_other_events_is_refused(members, message):
    with pytest.raises(StgcmaError, match=message):
        AvvpTask(Info).targets(members, 0)


def batch(dense):
    """Two clips with drawn probabilities; the events of those in `dense` are known."""
    torch.manual_seed(0)
    outputs = {name: torch.rand(2, CLASSES) for name in ("audio", "visual", "clip")}
    outputs["logits"] = torch.randn(2, SECONDS, 2, CLASSES)
    events = torch.rand(2, SECONDS, 2, CLASSES) < 0.4
    targets = {
        "tags": torch.tensor([[True, False, True], [False, True, False]]),
        "events": events,
        "dense": torch.tensor(dense),
    }
    return outputs, targets


def means(outputs, targets, weight, loss=LOSS):
    task = AvvpTask(Info)
    terms, counts = task.terms(outputs, targets, weight, loss), task.counts(targets, weight)
    return {name: float(total) / max(counts[name], 1) for name, total in terms.losses.items()}


def weak_loss(outputs, targets, name, clips, *, smoothing=0.0):
    values = outputs[name]
    costs = [
        bce(float(values[b, c]), (1 - smoothing) * float(targets["tags"][b, c]) + smoothing / 2)
        for b in clips
        for c in range(CLASSES)
    ]
    return sum(costs) / len(costs)


@pytest.mark.parametrize("smoothing", [0.1, 0.0])
def test_the_loss_of_clips_with_tags_alone_is_that_of_mmil(smoothing):
    outputs, targets = batch([False, False])
    loss = LossConfig(visual_smoothing=smoothing)
    assert means(outputs, targets, torch.ones(2), loss) == pytest.approx(
        {
            "audio": weak_loss(outputs, targets, "audio", [0, 1]),
            "visual": weak_loss(outputs, targets, "visual", [0, 1], smoothing=smoothing),
            "clip": weak_loss(outputs, targets, "clip", [0, 1]),
            "seconds": 0,
        },
        abs=1e-6,
    )


def test_a_clip_with_events_is_trained_on_its_seconds():
    outputs, targets = batch([False, True])
    places = itertools.product(range(SECONDS), range(2), range(CLASSES))
    by_second = [
        bce(1 / (1 + math.exp(-float(outputs["logits"][1][place]))), float(targets["events"][1][place]))
        for place in places
    ]
    assert means(outputs, targets, torch.ones(2)) == pytest.approx(
        {
            "audio": weak_loss(outputs, targets, "audio", [0]),
            "visual": weak_loss(outputs, targets, "visual", [0], smoothing=0.1),
            "clip": weak_loss(outputs, targets, "clip", [0, 1]),
            "seconds": sum(by_second) / len(by_second),
        },
        abs=1e-6,
    )
    assert AvvpTask(Info).weights(LossConfig(seconds=2.5))["seconds"] == 2.5


def test_a_clip_that_does_not_count_changes_nothing():
    outputs, targets = batch([False, False])
    whole = means(outputs, targets, torch.tensor([1.0, 0.0]))
    first = {name: value[:1] for name, value in outputs.items()}
    assert whole == pytest.approx(
        means(first, {name: value[:1] for name, value in targets.items()}, torch.ones(1)), abs=1e-6
    )


def test_the_score_of_training_is_f_of_the_classes_of_clips():
    outputs, targets = batch([False, False])
    outputs["clip"] = torch.tensor([[0.5, 0.9, 0.1], [0.1, 0.2, 0.3]])
    terms = AvvpTask(Info).terms(outputs, targets, torch.ones(2), LOSS)
    assert float(terms.score) == pytest.approx(2 * 1 / (2 + 2) + 0)


def scored(outputs, targets):
    meter = AvvpTask(Info).meter()
    for index in range(2):  # in two parts, which add up
        meter.update(*AvvpTask(Info).clip_of(outputs, targets, index))
    return meter


def test_a_clip_s_probability_gates_both_modalities_at_one_half():
    outputs, targets = batch([True, True])
    outputs["logits"] = torch.full((2, SECONDS, 2, CLASSES), 0.0)  # probability 0.5, which counts
    outputs["clip"] = torch.tensor([[0.5, 0.49, 1.3], [0.0, 0.0, 0.0]])
    targets["events"] = torch.zeros(2, SECONDS, 2, CLASSES, dtype=torch.bool)
    targets["events"][0, :, :, 0] = targets["events"][0, :, :, 2] = True
    result = scored(outputs, targets).result()
    assert result.score == 1.0  # all of the first clip, and nothing of the second
    assert result.metrics()["share_above_1"] == 1 / 6
    assert result.metrics()["empty_av"] == 0.5


def test_scores_beside_the_official_ones_count_over_the_split():
    outputs, targets = batch([True, True])
    outputs["clip"] = torch.ones(2, CLASSES)
    targets["events"][:] = False
    targets["events"][0, 0, 0, 0] = targets["events"][1, :, 1, 1] = True
    predicted = torch.zeros_like(targets["events"])
    predicted[0, :2, 0, 0] = True  # one second right, one too many; the Dog of clip 1 is missed
    outputs["logits"] = torch.where(predicted, 3.0, -3.0)
    metrics = scored(outputs, targets).result().metrics()
    assert metrics["micro_segment_a"] == pytest.approx(2 / 3)
    assert metrics["micro_segment_v"] == 0.0
    assert metrics["micro_segment_av"] is None
    assert metrics["micro_video_any"] == pytest.approx(2 / 3)  # Car found, Dog not
    assert metrics["micro/Car"] == pytest.approx(2 / 3)
    assert metrics["micro/Cat"] is None
    # A: 2/3 and 1 (empty), V: 1 (empty) and 0, AV: 1 and 1.
    assert metrics["segment_type_av"] == pytest.approx(((2 / 3 + 1) / 2 + 1 / 2 + 1) / 3)
    assert metrics["event_a"] == 1.0  # half of the union is enough


def test_clips_without_events_are_counted_but_not_scored():
    outputs, targets = batch([True, False])
    result = scored(outputs, targets).result()
    assert (result.clips, result.to_json()["clips_without_events"]) == (1, 1)
    nothing = scored(outputs, targets | {"dense": torch.tensor([False, False])})
    assert math.isnan(nothing.score())
    assert nothing.result().to_json()["segment"] is None
    assert nothing.result().rows()[-1].share is None


def test_a_result_of_other_shapes_is_refused():
    arrays = empty_arrays(3)
    assert AvvpResult(("a", "b", "c"), arrays).clips == 0
    for name, damaged in (("f_sums", np.full((2, 4), -1.0)), ("empty", np.zeros((3, 2)))):
        with pytest.raises(ValueError, match=f"counts.{name} is no array"):
            AvvpResult(("a", "b", "c"), arrays | {name: damaged})


def members_of(clips):
    """Members of clips, (tags, events or None), as a split holds them."""
    for tags, events in clips:
        if events is not None:
            yield "events.npy", npy(events)
        yield "tags.npy", npy(tags)


@pytest.fixture
def baselines(monkeypatch):
    def of(train, test, val=()):
        splits = {"train": train, "val": val, "test": test}
        monkeypatch.setattr(avvp, "split_members", lambda _, split, __: members_of(splits[split]))
        task = AvvpTask(Info)
        return task.baselines("shards", "test"), task.bounds("shards", "test")

    return of


def test_baselines_are_answers_without_looking_and_references_by_name(baselines):
    car, dog = np.zeros((2, SECONDS, CLASSES)), np.zeros((2, SECONDS, CLASSES))
    car[0, :, 0] = 1  # heard all the time, never seen
    dog[1, :2, 1] = 1  # seen for half the time, never heard
    train = [([1, 0, 0], None)] * 3 + [([0, 1, 0], None)]
    found, references = baselines(train, [([1, 0, 0], car), ([0, 1, 0], dog)])
    # A: 1 of 2 clips is empty; V: 1 of 2; AV: both.
    assert found["nothing"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    # "Car" audible in every second is right in the first clip and wrong in the second: as good as nothing.
    assert found["best constant answer, chosen on test"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    # Everything in every second: A 1 and 0; V 0 and 2·2/(2·2+2); AV 0.
    assert references["true tags in every second"] == pytest.approx((0.5 + (4 / 6) / 2 + 0) / 3)
    assert references["true audible events, copied to visible"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert references["true visible events, copied to audible"] == pytest.approx((0 + 1 + 0.5) / 3)


def test_the_best_constant_answer_is_the_best_of_all_pairs_of_lists(baselines):
    rng = np.random.default_rng(3)
    test = [((one := rng.random((2, SECONDS, CLASSES)) < 0.6).any((0, 1)), one) for _ in range(5)]
    train = [([1, 1, 1], None), ([0, 1, 1], None), ([0, 0, 1], None)]
    truth = np.stack([events.swapaxes(0, 1) for _, events in test])
    best = 0.0
    for heard, seen in itertools.product(range(CLASSES + 1), repeat=2):
        constant = np.zeros((SECONDS, 2, CLASSES), bool)
        constant[:, 0, [2, 1, 0][:heard]] = constant[:, 1, [2, 1, 0][:seen]] = True
        best = max(best, avvp._type_av(np.broadcast_to(constant, truth.shape), truth))
    assert baselines(train, test)[0]["best constant answer, chosen on test"] == pytest.approx(best)


def test_the_best_constant_answer_is_chosen_on_val(baselines):
    """On val everything has the first class; on test nothing has it, which the answer must not know."""
    first, last = np.zeros((2, SECONDS, CLASSES)), np.zeros((2, SECONDS, CLASSES))
    first[:, :, 0] = last[:, :, 2] = 1
    found, _ = baselines([([1, 0, 0], None)], [([0, 0, 1], last)], val=[([1, 0, 0], first)])
    assert found == {"nothing": 0, "best constant answer, chosen on val": 0}
    found, _ = baselines([([1, 0, 0], None)], [([0, 0, 1], last)])
    assert found["best constant answer, chosen on test"] > 0


def test_a_split_without_events_has_no_baselines(baselines):
    assert baselines([([1, 0, 0], None)], [([1, 0, 0], None)]) == ({}, {})


def test_results_of_other_counts_differ():
    one = AvvpResult(("a",), empty_arrays(1))
    other = replace(one, arrays=empty_arrays(1) | {"clips": np.array([1.0, 0.0])})
    assert one == AvvpResult(("a",), empty_arrays(1))
    assert one != other
