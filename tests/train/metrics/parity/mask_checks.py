"""Checks of sections a, b and f: binary masks, semantic masks, pictures and frame times."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stgcma.preprocess.collections.avss_colours import (
    PALETTE,
    classes_of_colours,
    colours_of_classes,
)
from stgcma.preprocess.collections.frame_times import last_sixteenth_frames
from stgcma.preprocess.samples.class_masks import class_mask_members
from stgcma.shards.members import read_class_map
from stgcma.train.metrics.binary_masks import MaskCounts
from stgcma.train.metrics.semantic import ClassOverlap, SemanticCounts, predicted_classes

from . import drawing
from .agreement import EXACT, SHARE, agree, check_inputs

# --- a: binary masks


def check_binary_masks(case):
    drawn, official = drawing.binary_masks(case["config"]), case["official"]
    check_inputs(drawn, case["inputs_check"])
    gt, logits = torch.from_numpy(drawn["gt"]), drawn["logits"]
    counts = MaskCounts(len(gt))
    for clip in range(len(gt)):
        counts.add(clip, logits[clip], gt[clip])
    assert set(official) == {f"batch_{size}" for size in case["config"]["batch_sizes"]}
    for size in case["config"]["batch_sizes"]:
        scores = counts.batchwise(size)
        found = {
            "miou": scores.miou,
            "f": scores.f,
            "per_batch_miou": [call.miou for call in scores.calls],
            "per_batch_f": [call.f for call in scores.calls],
        }
        agree(found, official[f"batch_{size}"], SHARE, f"batch_{size}")
    split = counts.split()
    # One call with all frames: without any object its F is 0, as that of such a batch.
    split_level_f = 0.0 if split.split_level_f is None else split.split_level_f
    beside = {"frame_mean_iou": split.frame_mean_iou, "split_level_f": split_level_f}
    agree(beside, case["beside"], SHARE, "beside")
    agree(split.frames, case["n_frames"], EXACT, "n_frames")
    agree(split.frames - counts.frames_with_object.sum(), case["n_empty_frames"], EXACT, "n_empty_frames")


def check_binary_edge(case):
    logits, gt = torch.tensor(case["logits"]), torch.tensor(case["gt"])
    counts = MaskCounts(1)
    counts.add(0, logits, gt)
    scores = counts.batchwise(1)
    agree([scores.miou, scores.f], [case["miou"], case["f"]], SHARE, case["name"])


# --- b: semantic masks


def check_semantic(case):
    drawn, official, beside = drawing.semantic(case["config"]), case["official"], case["beside"]
    prediction = predicted_classes(drawn["logits"].flatten(0, 1)).view_as(drawn["label"])
    check_inputs(drawn | {"prediction": prediction}, case["inputs_check"])
    label, real = drawn["label"], drawn["real"]
    for size in (official["batch_size"], *official["same_for_batch_sizes"]):
        padded, counts, running = ClassOverlap(), SemanticCounts(), []
        for start in range(0, len(label), size):
            batch = slice(start, start + size)
            padded.add(prediction[batch].flatten(0, 1), label[batch].flatten(0, 1))
            mask = real[batch]
            real_frames = (prediction[batch][mask], label[batch][mask])
            counts.add(*real_frames, padded_frames=int((~mask).sum()))
            scores = padded.scores()
            running.append([scores.miou_seen_classes, scores.f_seen_classes, scores.classes_seen])
        if size == official["batch_size"]:
            agree(running, official["running_after_each_batch[iou,f,classes]"], SHARE, "running")
        # Padding as frames of class 0, and padding as a count.
        for overlap in (padded, counts.official):
            check_official(overlap, official)
            check_beside(overlap.scores(), beside, "beside")
        check_without_padding(counts.no_padding.scores(), beside)


def check_official(overlap, official):
    scores, (iou, f) = overlap.scores(), overlap.by_class()
    found = {
        "miou": scores.miou,
        "miou_noBg": scores.miou_no_bg,
        "f": scores.f,
        "f_noBg": scores.f_no_bg,
        "per_class_iou": iou,
        "per_class_f": f,
    }
    agree(found, {name: official[name] for name in found}, SHARE, "official")
    counts = {"classes_seen": scores.classes_seen, "per_class_frame_count": overlap.frame_count}
    agree(counts, {name: official[name] for name in counts}, EXACT, "official")


def check_beside(scores, beside, where):
    names = ("miou_without_class_0", "f_without_class_0", "miou_seen_classes", "f_seen_classes")
    found = {name: getattr(scores, name) for name in names}
    agree(found, {name: beside[name] for name in names}, SHARE, where)
    agree(scores.iou_background, beside["iou_background_with_padding"], SHARE, where)


def check_without_padding(scores, beside):
    agree({name: getattr(scores, name) for name in beside["no_padding"]}, beside["no_padding"], SHARE)
    pooled = beside["dataset_level_miou_seen_classes_no_padding"]
    agree(scores.dataset_level_miou_seen_classes, pooled, SHARE, "dataset level")


def check_semantic_edge(case):
    label, prediction = torch.tensor(case["label"]), case["prediction"]
    if prediction is None:
        chosen = predicted_classes(torch.zeros(len(label), drawing.CLASSES, *label.shape[1:]))
    else:
        chosen = torch.tensor(prediction)
    overlap = ClassOverlap()
    overlap.add(chosen, label)
    for name in ("iou_sum", "f_sum", "frame_count"):
        sums = getattr(overlap, name)
        agree(sums[case["classes"]], case[name], EXACT if name == "frame_count" else SHARE, name)
        assert sums.sum() == sums[case["classes"]].sum()


def check_palette(palette):
    agree(PALETTE, palette, EXACT, "palette")
    classes = np.arange(len(palette))
    np.testing.assert_array_equal(classes_of_colours(np.array(palette, dtype=np.uint8)), classes)
    np.testing.assert_array_equal(colours_of_classes(classes), palette)


# --- f: pictures and times


def check_geometry(case):
    width, height = case["width"], case["height"]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    picture = Image.fromarray(colours_of_classes((3 * x + 5 * y) % drawing.CLASSES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.png"
        picture.save(path)
        shape = (1, height, width, 3)
        members, _ = class_mask_members([path], shape, kind="colours", classes=drawing.CLASSES)
    labels = read_class_map(members["mask_00.png"], "mask_00.png", drawing.CLASSES).astype(np.int64)
    found = {
        "size": labels.shape[::-1],
        "label_sum": labels.sum(),
        "label_weighted_sum": (labels.ravel() * (np.arange(labels.size) % 97)).sum(),
        "corner_labels": labels[[0, 0, -1, -1], [0, -1, 0, -1]],
    }
    # The release cuts training pictures out of larger ones; here masks of all splits are squashed.
    agree(found, case["eval"], EXACT, "eval")


def check_colours(case):
    agree(classes_of_colours(np.array(case["rgb"], dtype=np.uint8)), case["label"], EXACT, "labels")


def check_frame_index(case):
    picked = last_sixteenth_frames(
        len(case["picked"]), rounded_fps=case["fps_rounded"], frames_in_file=case["frames_in_file"]
    )
    agree(picked, case["picked"], EXACT, "frames")
