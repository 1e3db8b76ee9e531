"""Baselines against counts of their own, over the members of small kept shards."""

import io
import json
import tarfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from stgcma.shards.manifest import read_dataset
from stgcma.train.tasks import task_of


def members(shards, split, part):
    """Contents of the members of `split` that contain `part` in their names."""
    found = []
    for path in sorted((shards / "shards").glob(f"{split}-*.tar")):
        with tarfile.open(path) as archive:
            found += [archive.extractfile(one).read() for one in archive if part in one.name]
    return found


def baselines(shards, split="test"):
    return task_of(read_dataset(shards)).baselines(shards, split)


def test_ave_is_the_most_frequent_class_of_training(kept_shards):
    shards = kept_shards("ave")

    def labels(split):
        files = members(shards, split, ".label.npy")
        return [label for content in files for label in np.load(io.BytesIO(content)).tolist()]

    counts = Counter(labels("train"))
    most = max(counts, key=lambda label: (counts[label], -label))
    true = labels("test")
    assert baselines(shards) == {"most frequent class": true.count(most) / len(true)}


def test_avs_is_all_and_no_pixels_and_the_mean_mask(kept_shards):
    shards = kept_shards("avs")

    def masks(split):
        files = members(shards, split, ".mask_")
        return np.stack([np.array(Image.open(io.BytesIO(content))) > 0 for content in files])

    true, train = masks("test"), masks("train")
    assert true.any((1, 2)).all(), "an empty mask needs another formula"

    def iou(guess, masks):
        return np.mean([(guess & mask).sum() / (guess | mask).sum() for mask in masks])

    cuts = [train.mean(0, dtype=np.float32) >= np.float32(cut) for cut in np.linspace(0.05, 0.95, 19)]
    best = max(cuts, key=lambda cut: iou(cut, train))
    assert baselines(shards) == pytest.approx(
        {"everything": true.mean((1, 2)).mean(), "nothing": 0, "mean training mask": iou(best, true)}
    )


def test_avqa_is_the_most_frequent_answer_to_all_and_to_a_template(kept_shards):
    shards = kept_shards("avqa")

    def questions(split):
        return [
            question for content in members(shards, split, ".qa.json") for question in json.loads(content)
        ]

    def most(asked):
        return Counter(one["answer"] for one in asked).most_common(1)[0][0]

    train, test = questions("train"), questions("test")
    guesses = []
    for one in test:
        same = [other for other in train if other["template"] == one["template"]]
        guesses.append(most(same or train))
    right = sum(guess == one["answer"] for guess, one in zip(guesses, test, strict=True))
    overall = sum(one["answer"] == most(train) for one in test)
    assert baselines(shards) == {
        "most frequent answer": overall / len(test),
        "most frequent answer to the template": right / len(test),
    }


@pytest.mark.parametrize("task", ["ave", "avqa"])
def test_nothing_to_learn_from_is_no_baseline(kept_shards, task, monkeypatch):
    from importlib import import_module

    module = import_module(f"stgcma.train.tasks.{task}")
    monkeypatch.setattr(module, "split_members", lambda *_: iter(()))
    assert baselines(kept_shards(task)) == {}
