"""Recordings with events, read without decoding: helpers of tests."""

import io

import numpy as np
from stgcma.preprocess.collections.events import EventOptions, read_events


def read(raw, *, length=25.0, **options):
    lengths = length if isinstance(length, dict) else {}

    def find(_raw, paths, _links):
        return {path: lengths.get(path, 25.0 if lengths else length) for path in paths}

    return read_events(raw, EventOptions(**options), allow_links=False, lengths=find)


def write(raw, name, text, encoding="utf-8"):
    (raw / name).write_bytes(text.encode(encoding))


def labels_of(collection):
    """Recording and start to the names of the classes of the seconds."""
    return {
        (clip.source, clip.start_seconds): [collection.classes[label] for label in clip.labels]
        for clip in collection.clips
    }


def flags(clip, name):
    return np.load(io.BytesIO(dict(clip.members)[name]))


HEADER = "filename,onset,offset,event_label,modality,split\n"


def sources(collection):
    """The recordings that clips can be made of."""
    return {clip.source for clip in collection.clips if clip.problem is None}
