"""Checks of sections c and d: events of LLP, and MMIL."""

from __future__ import annotations

import numpy as np
import torch
from stgcma.train.metrics.event_parsing import (
    ParsingCounts,
    decide,
    event_confusion,
    mark_rows,
    segment_confusion,
)
from stgcma.train.metrics.mmil import mmil_losses, pool
from torch.nn import functional

from . import drawing
from .agreement import EXACT, MMIL_DOUBLE, NETWORK, PERCENT, SHARE, SINGLE, ZERO, agree, check_inputs

# --- c: events of LLP


def check_levels(counts, case):
    scores, printed = counts.scores(), []
    for level in ("segment", "event"):
        found = getattr(scores, level)
        named = {
            "A": found.a, "V": found.v, "AV": found.av, "Type@AV": found.type_av, "Event@AV": found.event_av,
        }  # fmt: skip
        percent = {name: 100 * value for name, value in named.items()}
        agree(percent, case["official_percent"][level], PERCENT, level)
        printed += [float(f"{value:.1f}") for value in percent.values()]
    name = "official_printed_one_decimal[segment A,V,AV,Type,Event; event A,V,AV,Type,Event]"
    assert printed == case[name]


def by_clip(predicted, truth, confusion):
    """F of every clip, `[N, 4]` in the order A, V, Event, AV."""
    a, v = (confusion(predicted[:, :, at], truth[:, :, at]) for at in (0, 1))
    av = confusion(predicted.all(2), truth.all(2))
    return np.stack([part.clip_f() for part in (a, v, a + v, av)], 1)


def check_events(case):
    clips, counts = case["clips"], ParsingCounts()
    assert len(clips) == case["n_clips"] > 0
    predicted, truth = (
        np.stack([[mark_rows(clip[f"{kind}_{modality}"]) for modality in "av"] for clip in clips])
        for kind in ("pred", "truth")
    )
    predicted, truth = predicted.swapaxes(1, 2), truth.swapaxes(1, 2)
    for level, confusion in (("segment", segment_confusion), ("event", event_confusion)):
        for clip, found in zip(clips, by_clip(predicted, truth, confusion), strict=True):
            agree(found, clip[f"{level}[A,V,Event,AV]"], SHARE, f"{clip['name']} {level}")
    counts.add(predicted, truth)
    check_levels(counts, case)


def check_decisions(case):
    drawn = drawing.decisions(case["config"])
    check_inputs(drawn, case["inputs_check"])
    predicted, truth = decide(drawn["frame_prob"], drawn["global_prob"]).numpy(), drawn["truth"]
    agree(predicted.sum((0, 1, 3)), case["positive_decisions_[a,v]"], EXACT, "decisions")
    for name in ("frame_prob", "global_prob"):
        agree((drawn[name] == 0.5).sum(), case[f"count_{name}_equal_.5"], EXACT, name)
    for level, confusion in (("segment", segment_confusion), ("event", event_confusion)):
        found = by_clip(predicted, truth, confusion)
        agree(found, case[f"per_clip_{level}[A,V,Event,AV]"], SHARE, level)
    counts = ParsingCounts()
    counts.add(predicted, truth)
    check_levels(counts, case)


# --- d: MMIL


def check_mmil(case):
    drawn = drawing.mmil_head(case["config"])
    check_inputs(drawn, case["inputs_check"])
    agree([np.flatnonzero(row) for row in drawn["y"]], case["y"], EXACT, "y")
    for name, tolerance in (("float32", SINGLE), ("float64", MMIL_DOUBLE)):
        values = {key: value.to(getattr(torch, name)) for key, value in drawn.items() if key != "y"}
        x = values.pop("x")
        leaves = values | {"x_a": x[:, :, 0], "x_v": x[:, :, 1]}
        leaves = {key: value.clone().requires_grad_() for key, value in leaves.items()}
        features = torch.stack([leaves.pop("x_a"), leaves.pop("x_v")], 2)
        check_head(case[name], features, leaves, drawn["y"], tolerance)


def check_head(expected, features, leaves, tags, tolerance):
    """Pool `features` `[B, 10, 2, D]` with the three layers `W_*`, `b_*`; compare losses and gradients."""
    features.retain_grad()
    logits = [
        functional.linear(features, leaves[f"W_{name}"], leaves[f"b_{name}"])
        for name in ("prob", "time_att", "modality_att")
    ]
    pooled = pool(logits[0].sigmoid(), logits[1], logits[2])
    losses = mmil_losses(pooled, tags)
    losses.total.mean().backward()
    found = {
        **pooled_and_losses(pooled, losses),
        "frame_prob": logits[0].sigmoid(),
    }
    above = {"global_prob_values_above_1", "grad_l2"}
    assert {"bce_a", "bce_v", "bce_global", "loss"} | above <= set(expected) <= set(found) | above
    agree({name: found[name] for name in set(expected) - above}, omit(expected, above), tolerance)
    share = expected["global_prob_values_above_1"] / pooled.clip.numel()
    agree(pooled.share_above_1(), share, SHARE, "share above 1")
    gradients = {name: leaf.grad.norm() for name, leaf in leaves.items()}
    gradients |= {f"x_{name}": features.grad[:, :, at].norm() for at, name in enumerate("av")}
    check_gradients(gradients, expected["grad_l2"], tolerance, zero={"b_time_att", "b_modality_att"})


def pooled_and_losses(pooled, losses):
    """Return the pooled probabilities and mean losses under the names of the number file."""
    return {
        "bce_a": losses.audio.mean(),
        "bce_v": losses.visual.mean(),
        "bce_global": losses.clip.mean(),
        "loss": losses.total.mean(),
        "a_prob": pooled.audio,
        "v_prob": pooled.visual,
        "global_prob": pooled.clip,
    }


def omit(mapping, names):
    return {name: value for name, value in mapping.items() if name not in names}


def check_gradients(found, expected, tolerance, *, zero):
    assert set(found) == set(expected)
    for name, value in expected.items():
        agree(found[name], value, ZERO if name in zero else tolerance, f"gradient of {name}")


def check_network(case):
    """The released network, written here from its formula, with the package's pooling and losses on top."""
    parameters, inputs = drawing.network(case)
    check_inputs(inputs | parameters, case["inputs_check"])
    leaves = {name: value.requires_grad_() for name, value in parameters.items()}
    agree(sum(leaf.numel() for leaf in leaves.values()), case["parameters_with_gradient"], EXACT)

    def linear(name, x):
        return functional.linear(x, leaves[f"{name}.weight"], leaves[f"{name}.bias"])

    def attention(name, query, other):
        weight, bias = leaves[f"{name}.qkv_weight"].chunk(3), leaves[f"{name}.qkv_bias"].chunk(3)
        layers = zip((query, other, other), weight, bias, strict=True)
        q, k, v = (functional.linear(*layer) for layer in layers)
        mixed = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v
        return functional.linear(mixed, leaves[f"{name}.out_weight"], leaves[f"{name}.out_bias"])

    def norm(name, x):
        return functional.layer_norm(x, x.shape[-1:], leaves[f"{name}.weight"], leaves[f"{name}.bias"], 1e-5)

    def layer(query, other):
        x = query + attention("cross_att", query, other) + attention("self_att", query, query)
        x = norm("norm1", x)
        return norm("norm2", x + linear("feed2", linear("feed1", x).relu()))

    audio = linear("audio_in", inputs["audio"])
    frames = linear("video2d_in", inputs["video_2d"]).unflatten(1, (10, 8)).mean(2)
    video = linear("video_fuse", torch.cat([frames, linear("video3d_in", inputs["video_3d"])], -1))
    features = torch.stack([layer(audio, video), layer(video, audio)], 2)
    logits = [linear(f"head_{name}", features) for name in ("prob", "time_att", "modality_att")]
    pooled = pool(logits[0].sigmoid(), logits[1], logits[2])
    losses = mmil_losses(pooled, inputs["y"])
    losses.total.mean().backward()
    found = {
        **pooled_and_losses(pooled, losses),
        "frame_prob_sum_[t,m]_of_clip_0": logits[0].sigmoid()[0].sum(-1),
    }
    agree(found, {name: case[name] for name in found}, NETWORK, "network")
    gradients = {name: leaf.grad.norm() for name, leaf in leaves.items()}
    check_gradients(
        gradients, case["grad_l2"], NETWORK, zero={"head_time_att.bias", "head_modality_att.bias"}
    )
