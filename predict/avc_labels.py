"""Predicted labels as a table that the collection `labels` reads, to be corrected and trained on."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from ..preprocess.collections.labels import SEPARATORS
from .avc_result import Ranked

LABELS_FILE = "predicted-labels.csv"


def labels_table(files: Sequence[str], labels: Sequence[Ranked], *, several: bool) -> str:
    """Return a CSV with the columns `file`, `label` or `labels`, and `confidence`, the least of their shares.

    Args:
        files: path of each video.
        labels: of each video, with their shares.
        several: a video may have several labels, or none.
    """
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(("file", "labels" if several else "label", "confidence"))
    separator = SEPARATORS[0]
    # Without a separator in any cell, the reader would take another sign within a name for one.
    ending = separator if several and all(len(ranked) < 2 for ranked in labels) else ""
    for file, ranked in zip(files, labels, strict=True):
        cell = separator.join(name for name, _ in ranked)
        least = f"{min(share for _, share in ranked):.3f}" if ranked else ""
        table.writerow((file, cell + ending if cell else "", least))
    return stream.getvalue()
