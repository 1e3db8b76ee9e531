"""Shard directories: the files between preprocessing and training, their reader, and their verification.

>>> from stgcma.shards import iterate_clips, open_frames, read_dataset, read_labels, verify
>>> info = read_dataset("shards")
>>> info.task, info.features["sampling"]["frames"]
('ave', 10)
>>> for key, members in iterate_clips("shards", split="train"):
...     frames, labels = open_frames(members), read_labels(members["label.npy"])
>>> frames[0].size, len(labels)
((224, 224), 10)
>>> verify("shards").faults
()

Locations are paths or fsspec URLs. Members of a clip are bytes by suffix (`frame_00.jpg`, `fbank_128.npy`,
…). The functions that decode them check sizes and types first, because a shard can come from anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_exports import lazy_exports

if TYPE_CHECKING:
    from .manifest import read_dataset, read_manifest, read_quarantine
    from .members import (
        open_frames,
        read_array,
        read_description,
        read_energies,
        read_labels,
        read_mask,
        read_questions,
    )
    from .published import Published
    from .reader import iterate_clips
    from .schema import ClipRecord, DatasetInfo, QuarantineRecord
    from .statistics import Statistics, gather_statistics
    from .table_checks import Fault
    from .verification import Verification, verify

# Loaded on first use, so that a command loads no more than it needs.
_MODULES = {
    "ClipRecord": ".schema",
    "DatasetInfo": ".schema",
    "Fault": ".table_checks",
    "Published": ".published",
    "QuarantineRecord": ".schema",
    "Statistics": ".statistics",
    "Verification": ".verification",
    "gather_statistics": ".statistics",
    "iterate_clips": ".reader",
    "open_frames": ".members",
    "read_array": ".members",
    "read_dataset": ".manifest",
    "read_description": ".members",
    "read_energies": ".members",
    "read_labels": ".members",
    "read_manifest": ".manifest",
    "read_mask": ".members",
    "read_quarantine": ".manifest",
    "read_questions": ".members",
    "verify": ".verification",
}
__all__ = [
    "ClipRecord",
    "DatasetInfo",
    "Fault",
    "Published",
    "QuarantineRecord",
    "Statistics",
    "Verification",
    "gather_statistics",
    "iterate_clips",
    "open_frames",
    "read_array",
    "read_dataset",
    "read_description",
    "read_energies",
    "read_labels",
    "read_manifest",
    "read_mask",
    "read_quarantine",
    "read_questions",
    "verify",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULES)
