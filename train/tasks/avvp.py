"""AVVP: audible and visible events of every second, several at once (LLP).

Training clips have tags, the classes that occur in them; losses are those of multiple-instance learning. A
training clip that has events by second is trained on these. Score: Type@AV by segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ...model.heads.avvp import Pooled
from ...shards.members import member, read_events, read_tags
from ...shards.storage import Location
from ..metrics.event_parsing import Bools, ParsingCounts, decide, segment_confusion
from ..metrics.mmil import mmil_losses
from ..sections import LossConfig
from .avvp_result import AvvpResult, add_counts, empty_arrays
from .base import Task, Terms, stack
from .members import split_members
from .meter import Meter, Tensors

# Constant answers that are tried hold the most frequent classes, at most so many.
_MOST_CONSTANT = 30


class AvvpTask(Task):
    """Audible and visible events by second."""

    name = "avvp"
    score_name = "segment_type_av"
    result_type = AvvpResult
    collection = "llp"
    training_score_name = "tag_f"

    @property
    def _frames(self) -> int:
        return int(self.info.features["sampling"]["frames"])

    def model_options(self) -> dict[str, Any]:
        return {"classes": len(self.info.classes), "frames": self._frames}

    def targets(self, members: dict[str, bytes], question: int) -> Tensors:  # noqa: ARG002
        """Return `tags` `[C]`, `events` `[T, 2, C]`, and `dense`: the clip has events. All are bool."""
        classes = len(self.info.classes)
        tags = read_tags(member(members, "tags.npy"), classes=classes)
        dense = "events.npy" in members
        events = np.zeros((self._frames, 2, classes), bool)
        if dense:
            found = read_events(members["events.npy"], seconds=self._frames, classes=classes)
            events = found.astype(bool).swapaxes(0, 1)
        return {
            "tags": torch.from_numpy(tags.astype(bool)),
            "events": torch.from_numpy(events.copy()),
            "dense": torch.tensor(dense),
        }

    def collate(self, targets: list[Tensors]) -> tuple[Tensors, Tensors]:
        return {}, stack(targets)

    def weights(self, loss: LossConfig) -> dict[str, float]:
        return {"audio": 1.0, "visual": 1.0, "clip": 1.0, "seconds": loss.seconds}

    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        clips, dense = float(weight.sum()), float((weight * targets["dense"]).sum())
        weak = clips - dense
        return {"audio": weak, "visual": weak, "clip": clips, "seconds": dense, "score": clips}

    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:
        """Return the losses of MMIL over clips; those of modalities are by second where events are known.

        The score is F of the classes of a clip, since training clips have no events to score by.
        """
        pooled = Pooled(outputs["audio"], outputs["visual"], outputs["clip"])
        weak = mmil_losses(pooled, targets["tags"].float(), visual_smoothing=loss.visual_smoothing)
        seconds = functional.binary_cross_entropy_with_logits(
            outputs["logits"], targets["events"].to(outputs["logits"].dtype), reduction="none"
        ).mean((1, 2, 3))
        dense = targets["dense"].to(weight.dtype)
        costs = {
            "audio": weak.audio * (1 - dense),
            "visual": weak.visual * (1 - dense),
            "clip": weak.clip,
            "seconds": seconds * dense,
        }
        score = _tag_f(outputs["clip"].detach() >= 0.5, targets["tags"])
        return Terms(
            losses={name: (cost * weight).sum() for name, cost in costs.items()},
            score=(score * weight).sum(),
        )

    def meter(self) -> ParsingMeter:
        return ParsingMeter(self.info.classes)

    def baselines(self, shards: Location, split: str) -> dict[str, float]:
        """Return Type@AV by segment of no events, and of the best constant answer.

        Constant answers name the most frequent classes of the training tags in every second; the numbers of
        classes, audible and visible, are those that are best on val, or on `split` where val has no events.
        """
        truth, _ = self._scored(shards, split)
        if not len(truth):
            return {}
        val = truth if split == "val" else self._scored(shards, "val")[0]
        trained = [tags for tags, _ in _labels(shards, "train", self._frames, len(self.info.classes))]
        classes = np.arange(len(self.info.classes))
        order = np.argsort(-np.sum(trained, axis=0), kind="stable") if trained else classes
        chosen_on, chooser = ("val", val) if len(val) else (split, truth)
        constant = _best_constant(chooser, order)
        return {
            "nothing": _type_av(np.zeros_like(truth), truth),
            f"best constant answer, chosen on {chosen_on}": _type_av(
                np.broadcast_to(constant, truth.shape), truth
            ),
        }

    def bounds(self, shards: Location, split: str) -> dict[str, float]:
        """Return Type@AV by segment of three references, named by the true labels that they know."""
        truth, tags = self._scored(shards, split)
        if not len(truth):
            return {}
        everywhere = tags[:, None, None].repeat(self._frames, 1).repeat(2, 2)
        return {
            "true tags in every second": _type_av(everywhere, truth),
            "true audible events, copied to visible": _type_av(truth[:, :, [0, 0]], truth),
            "true visible events, copied to audible": _type_av(truth[:, :, [1, 1]], truth),
        }

    def _scored(self, shards: Location, split: str) -> tuple[Bools, Bools]:
        """Return events `[N, T, 2, C]` and tags `[N, C]` of the clips of a split that have events."""
        classes = len(self.info.classes)
        labels = _labels(shards, split, self._frames, classes)
        known = [(events, tags) for tags, events in labels if events is not None]
        if not known:
            return np.zeros((0, self._frames, 2, classes), bool), np.zeros((0, classes), bool)
        return np.stack([events for events, _ in known]), np.stack([tags for _, tags in known])


def _tag_f(predicted: Tensor, true: Tensor) -> Tensor:
    """Return F of the classes of each clip: bool `[B, C]` twice → `[B]`; 1 without any."""
    right = (predicted & true).sum(1)
    named = predicted.sum(1) + true.sum(1)
    return torch.where(named > 0, 2 * right / named.clamp(min=1), torch.ones_like(right, dtype=torch.float32))


def _labels(shards: Location, split: str, seconds: int, classes: int) -> Iterator[tuple[Bools, Bools | None]]:
    """Yield tags `[C]` and events `[T, 2, C]` of every clip of a split; None for a clip without events."""
    events: Bools | None = None
    for name, content in split_members(shards, split, ("events.npy", "tags.npy")):
        # Members of a clip are in alphabetical order, and every clip has tags.
        if name == "events.npy":
            events = read_events(content, seconds=seconds, classes=classes).astype(bool).swapaxes(0, 1)
        else:
            yield read_tags(content, classes=classes).astype(bool), events
            events = None


def _clip_f(predicted: Bools, truth: Bools) -> float:
    """Return the mean over clips of F by segment: `[N, T, C]` twice."""
    return float(segment_confusion(predicted, truth).clip_f().mean())


def _type_av(predicted: Bools, truth: Bools) -> float:
    """Return Type@AV by segment of decisions `[N, T, 2, C]`."""
    counts = ParsingCounts(truth.shape[-1])
    counts.add(predicted, truth)
    return counts.scores().segment.type_av


def _best_constant(truth: Bools, order: npt.NDArray[np.intp]) -> Bools:
    """Return the answer `[2, C]` of every second with the best Type@AV on `truth` `[N, T, 2, C]`.

    A modality has the first classes of `order`, any number of them.
    """
    streams = (truth[:, :, 0], truth[:, :, 1], np.asarray(truth.all(2)))
    lists = np.zeros((min(len(order), _MOST_CONSTANT) + 1, truth.shape[-1]), bool)
    for count in range(len(lists)):
        lists[count, order[:count]] = True
    scores = [[_clip_f(np.broadcast_to(one, stream.shape), stream) for stream in streams] for one in lists]
    a, v, av = np.array(scores).T
    # Audio-visual are the classes that both modalities name: the shorter list.
    shorter = np.minimum.outer(np.arange(len(a)), np.arange(len(v)))
    total = a[:, None] + v[None] + av[shorter]
    audible, visible = np.unravel_index(total.argmax(), total.shape)
    return lists[[audible, visible]]


class ParsingMeter(Meter):
    """Counts seconds and events of clips that have events; other clips are counted apart."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.counts = empty_arrays(len(classes))

    def update(self, outputs: Tensors, targets: Tensors) -> None:
        dense = targets["dense"]
        self.counts["clips"][1] += int((~dense).sum())
        clip = outputs["clip"]
        self.counts["above"] += [int((clip > 1).sum()), clip.numel()]
        if dense.any():
            decisions = decide(outputs["logits"].sigmoid(), clip)
            part = ParsingCounts(len(self.classes))
            part.add(decisions[dense].numpy(), targets["events"][dense].numpy())
            add_counts(self.counts, part)

    def result(self) -> AvvpResult:
        return AvvpResult(self.classes, {name: values.copy() for name, values in self.counts.items()})


TASK = AvvpTask
