"""Checks of section e: losses of S4, MS3 and AVSS."""

from __future__ import annotations

from dataclasses import replace

import torch
from stgcma.train.metrics.audio_visual_term import AVSS_TERM, MS3_TERM, S4_COSINE_TERM
from stgcma.train.metrics.cross_entropy import frame_bce, frame_cross_entropy

from . import drawing
from .agreement import DOUBLE, SHARE, SINGLE, agree, check_inputs

TYPES = {"float32": (torch.float32, SINGLE), "float64": (torch.float64, DOUBLE)}

# Numbers that are 0 in exact arithmetic.
NEARLY_ZERO = {"float32": 1e-7, "float64": 1e-12}

TERMS = {
    "s4": {"as_train_sh": None, "with_cosine_term_all_stages": S4_COSINE_TERM},
    "ms3": {
        "as_train_sh": MS3_TERM,
        "normalised": replace(MS3_TERM, normalised=True),
        "max_pooling": replace(MS3_TERM, pooling="maximum"),
        "thresholded": replace(MS3_TERM, thresholded=True),
        "stages_1_3_only": replace(MS3_TERM, stages=(1, 3)),
        "euclidean": replace(MS3_TERM, distance="euclidean", normalised=True, reduction="mean"),
    },
    "avss": {
        "as_train_sh": AVSS_TERM,
        "normalised": replace(AVSS_TERM, normalised=True),
        "as_train_sh_before_2024_09_06": replace(AVSS_TERM, background=70),
        "cross_entropy_only": None,
    },
}


def check_losses(kind, case):
    config = case["config"]
    drawn = drawing.losses(kind, config)
    annotated = None
    if kind == "avss":
        annotated = torch.from_numpy(drawing.flags(config["kinds"], drawing.ANNOTATED_FRAMES)).flatten()
    check_loss_inputs(kind, case, drawn, annotated)
    variants = sorted(set(case) - {"config", "inputs_check"})
    assert variants, "no variants"
    for variant in variants:
        term = TERMS[kind][variant]
        for name, (dtype, tolerance) in TYPES.items():
            leaves = [drawn["logits"], *drawn["audio"], *drawn["visual"]]
            leaves = [leaf.to(dtype).clone().requires_grad_() for leaf in leaves]
            stages = len(drawn["audio"])
            logits, audio, visual = leaves[0], leaves[1 : 1 + stages], leaves[1 + stages :]
            mask_loss = MASK_LOSSES[kind](logits, drawn["truth"], annotated)
            av_term = torch.zeros(())
            if term is not None:
                av_term = term(logits, [one.flatten(0, 1) for one in audio], visual, counted=annotated)
            total = mask_loss + config["lambda"] * av_term
            total.backward()
            norms = [None if leaf.grad is None else leaf.grad.norm() for leaf in leaves]
            gradients = {
                "logits": norms[0],
                "audio": norms[1 : 1 + stages],
                "visual": norms[1 + stages :],
            }
            found = {"total": total, "mask_loss": mask_loss, "av_term": av_term, "grad_l2": gradients}
            agree(found, case[variant][name], tolerance, f"{variant} {name}")


MASK_LOSSES = {
    "s4": lambda logits, truth, _: frame_bce(logits[::5, 0], truth[::5, 0]).mean(),
    "ms3": lambda logits, truth, _: frame_bce(logits[:, 0], truth[:, 0]).mean(),
    "avss": lambda logits, truth, annotated: frame_cross_entropy(logits, truth)[annotated].mean(),
}


def check_loss_inputs(kind, case, drawn, annotated):
    named = {"logits": drawn["logits"], "audio": drawn["audio"], "visual": drawn["visual"]}
    facts = dict(case["inputs_check"])
    if kind == "s4":
        named |= {"audio_0": drawn["audio"][0], "visual_0": drawn["visual"][0]}
        named["gt_first_frames"] = drawn["truth"].unflatten(0, (-1, 5))[:, :1]
    elif kind == "ms3":
        named["gt"] = drawn["truth"]
    else:
        named |= {"label": drawn["truth"], "gt_flag": annotated}
        chosen = drawn["logits"].argmax(1)
        for label in (0, 70):
            expected = facts.pop(f"share_of_pixels_with_argmax_not_{label}")
            agree((chosen != label).float().mean(), expected, SHARE, f"argmax not {label}")
    check_inputs(named, facts)


def check_large_features(case):
    """The term from log_softmax has the exact value; the released formula, written here, has not."""
    for name, (dtype, tolerance) in TYPES.items():
        audio, visual = (torch.tensor([case[key]], dtype=dtype) for key in ("audio", "visual"))
        near = replace(tolerance, absolute=NEARLY_ZERO[name])
        agree(large_features(audio, visual, stable=True), case["float64"], near, f"stable in {name}")
        agree(large_features(audio, visual, stable=False), case[name], near, f"released in {name}")


def large_features(audio, visual, *, stable):
    audio.grad = visual.grad = None
    audio.requires_grad_()
    visual.requires_grad_()
    if stable:
        term = replace(MS3_TERM, stages=(0,))
        value = term(audio.new_full((1, 1, 1, 1), 40.0), [audio], [visual[:, :, None, None]])
    else:
        p_audio, p_visual = audio.softmax(1), visual.softmax(1)
        value = (p_audio * (p_audio.log() - p_visual.log())).sum()
    (0.5 * value).backward()
    return {"av_term": value, "grad_audio": audio.grad[0], "grad_visual": visual.grad[0]}
