"""The members and the vocabulary that the contract requires for each task that it names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskMembers:
    """The content that a task adds to a clip and to `dataset.json`.

    Attributes:
        required: members of every clip.
        scored: members of every clip of val and test, which scores need; training clips may have them.
        masks: clips have masks: in val and test one for every frame, in training at least one.
        class_masks: the pixels of masks are indices of classes, not 0 and 255.
        lengths: a clip may have fewer frames and windows than the features say; `KEY.json` then has their
            numbers as `frames` and `windows`.
        vocabulary: lists that `dataset.json` must have.
    """

    required: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()
    masks: bool = False
    class_masks: bool = False
    lengths: bool = False
    vocabulary: tuple[str, ...] = ()


TASK_MEMBERS = {
    "avc": TaskMembers(required=("tags.npy",)),
    "ave": TaskMembers(required=("label.npy",)),
    "avs": TaskMembers(masks=True),
    "avss": TaskMembers(masks=True, class_masks=True, lengths=True),
    "avqa": TaskMembers(required=("qa.json",), vocabulary=("words", "answers")),
    "avvp": TaskMembers(required=("tags.npy",), scored=("events.npy",)),
}
"""By task. Clips of a task that is not named here may have any members."""
