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
        vocabulary: lists that `dataset.json` must have.
    """

    required: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()
    masks: bool = False
    vocabulary: tuple[str, ...] = ()


TASK_MEMBERS = {
    "ave": TaskMembers(required=("label.npy",)),
    "avs": TaskMembers(masks=True),
    "avqa": TaskMembers(required=("qa.json",), vocabulary=("words", "answers")),
    "avvp": TaskMembers(required=("tags.npy",), scored=("events.npy",)),
}
"""By task. Clips of a task that is not named here may have any members."""
