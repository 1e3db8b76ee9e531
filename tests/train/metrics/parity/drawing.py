"""The inputs of the parity numbers, drawn as the `rules` of the file say."""

from __future__ import annotations

import math

import numpy as np
import torch

CLASSES = 71
REAL_FRAMES = {"v1s": 5, "v1m": 5, "v2": 10}
ANNOTATED_FRAMES = {"v1s": 1, "v1m": 5, "v2": 10}
PADDED_TO = 10


class Draw:
    """A generator of float64 arrays in the order of the calls."""

    def __init__(self, seed):
        self.generator = np.random.Generator(np.random.PCG64(seed))

    def __call__(self, *shape):
        return self.generator.random(shape)

    def signed(self, *shape):
        return 2 * self(*shape) - 1

    def integers(self, below, *shape):
        return np.floor(below * self(*shape)).astype(np.int64)


def single(array):
    return torch.from_numpy(np.asarray(array).astype(np.float32))


def flags(kinds, frames):
    """The first frames of every clip of `kinds`: bool `[clips, 10]`."""
    return np.arange(PADDED_TO) < np.array([[frames[kind]] for kind in kinds])


def binary_masks(config):
    draw, frames = Draw(config["seed"]), (config["N"], 5)
    shape = (*frames, config["H"], config["W"])
    p, v = draw(*frames, 1, 1), draw(*shape)
    gain, bias = draw(*frames, 1, 1), draw(*frames, 1, 1)
    u = draw(*shape)
    gt = v < 0.05 + 0.8 * p
    gt[config["empty_clips"]] = False
    for clip, frame in config["empty_frames"]:
        gt[clip, frame] = False
    for clip, frame in config["full_frames"]:
        gt[clip, frame] = True
    s = 3 * gain * (2.0 * gt - 1) + 8 * bias - 4 + 6 * (u - 0.5)
    q = np.clip(np.floor(254 / (1 + np.exp(-s))), 0, 253)
    prob = (q + 0.2 + 0.6 * gt) / 254
    return {"gt": gt, "q": q, "logits": single(np.log(prob / (1 - prob)))}


def semantic(config):
    clips, draw = len(config["kinds"]), Draw(config["seed"])
    shape = (clips, PADDED_TO, config["H"], config["W"])
    cls = draw.integers(CLASSES, clips, 4)
    cls[:, 0] = 0
    for clip, slot, value in config["forced"]:
        cls[clip, slot] = value
    at = np.arange(clips)[:, None, None, None]
    label = cls[at, draw.integers(4, *shape)]
    w, alt = draw(*shape), draw.integers(4, *shape)
    z, rr = draw(*shape), draw.integers(CLASSES, *shape)
    chosen = np.where(w < config["p_right"], label, cls[at, alt])
    chosen = np.where(z < config["p_noise"], rr, chosen)
    logits = draw(clips, PADDED_TO, CLASSES, config["H"], config["W"])
    logits += 2 * (chosen[:, :, None] == np.arange(CLASSES)[:, None, None])
    real = flags(config["kinds"], REAL_FRAMES)
    logits[~real], label[~real] = 0, 0
    return {"logits": single(logits), "label": torch.from_numpy(label), "real": torch.from_numpy(real)}


def decisions(config):
    draw, clips = Draw(config["seed"]), config["N"]
    base, w1 = draw(clips, 1, 2, 25), draw(clips, 10, 2, 25)
    gu, w2 = draw(clips, 25), draw(clips, 10, 2, 25)
    return {
        "frame_prob": single(np.floor(21 * (0.55 * base + 0.45 * w1)) / 20),
        "global_prob": single(np.floor(21 * (0.5 * gu + 0.5 * base[:, 0].mean(1))) / 20),
        "truth": (0.55 * base + 0.45 * w2) >= config["truth_at"],
    }


def mmil_head(config):
    draw, width = Draw(config["seed"]), config["D"]
    arrays = {"x": draw.signed(config["B"], 10, 2, width) * config["x_scale"]}
    for name in ("prob", "time_att", "modality_att"):
        scale = config["w_prob" if name == "prob" else "w_att"]
        arrays[f"W_{name}"] = draw.signed(25, width) * scale / np.sqrt(width)
        arrays[f"b_{name}"] = draw.signed(25)
    y = (draw(config["B"], 25) < 0.15).astype(np.float64)
    for index, value in config["bias_prob"]:
        arrays["b_prob"][index] = value
    for clip, label, value in config["set_y"]:
        y[clip, label] = value
    return {name: single(array) for name, array in (arrays | {"y": y}).items()}


def network(case):
    """The parameters of the network, and its inputs beside them."""
    draw, clips = Draw(case["config"]["seed"]), case["config"]["B"]
    kinds = {
        "matrix": lambda shape: draw.signed(*shape) * 1.5 / math.sqrt(shape[-1]),
        "vector": lambda shape: 0.1 * draw.signed(*shape),
        "norm_weight": lambda shape: 1 + 0.2 * draw.signed(*shape),
        "norm_bias": lambda shape: 0.2 * draw.signed(*shape),
    }
    named = case["parameters_in_drawing_order[name,shape,kind]"]
    parameters = {name: single(kinds[kind](shape)) for name, shape, kind in named}
    inputs = {
        "audio": single(draw.signed(clips, 10, 128)),
        "video_2d": single(draw.signed(clips, 80, 2048)),
        "video_3d": single(draw.signed(clips, 10, 512)),
        "y": single(draw(clips, 25) < 0.15),
    }
    return parameters, inputs


def losses(kind, config):
    """Inputs of `e_losses`: logits, truth, and audio and visual by stage."""
    draw, height, width, channels = Draw(config["seed"]), config["H"], config["W"], config["C"]
    semantic_masks = kind == "avss"
    frames = PADDED_TO * len(config["kinds"]) if semantic_masks else 5 * config["B"]
    logits = 8 * (draw(frames, CLASSES if semantic_masks else 1, height, width) - 0.5)
    if semantic_masks:
        logits[:, :1] += config["bg_boost"] * draw(frames, 1, height, width)
        truth = draw.integers(CLASSES, frames, height, width)
        padded = ~flags(config["kinds"], REAL_FRAMES).ravel()
        logits[padded], truth[padded] = 0, 0
    else:
        truth = draw(frames, 1, height, width) < 0.35
    audio, visual = [], []
    for rows, columns in config["stages"]:
        audio.append(single(4 * (draw(frames // 5, 5, channels) - 0.5)))
        visual.append(single(6 * (draw(frames, channels, rows, columns) - 0.5)))
    for clip, frame, value in config.get("saturate", ()):
        logits[5 * clip + frame] = value
    return {"logits": single(logits), "truth": torch.from_numpy(truth), "audio": audio, "visual": visual}
