"""Predicted events in files that the collection `events` reads: the same events come back."""

import pytest
from stgcma.predict.event_export import ExportedEvent, join_modalities, write_events
from stgcma.preprocess.collections.events import EventOptions, read_events

HERE = (
    ExportedEvent(0.0, 3.0, "Violin, fiddle", 0.91),
    ExportedEvent(3.0, 4.0, 'the "big" bell', 0.5),
    ExportedEvent(12.0, 23.4, "Vögel; nachts", 0.25),
)
PARSED = (
    ExportedEvent(0.0, 3.0, "dog", 0.9, "audible"),
    ExportedEvent(0.0, 3.0, "dog", 0.7, "visible"),
    ExportedEvent(1.0, 5.0, "rain", 0.6, "audible"),
    ExportedEvent(20.0, 23.4, "cat", 0.6, "visible"),
)


def read_back(raw, keep):
    """Read the collection with the exported file of this suffix alone."""
    for path in raw.glob("yard.*"):
        if path.suffix not in (".mp4", keep):
            path.unlink()
    return read_events(
        raw, EventOptions(), allow_links=False, lengths=lambda _, paths, __: dict.fromkeys(paths, 23.4)
    )


@pytest.mark.parametrize("keep", [".csv", ".txt"])
@pytest.mark.parametrize(("events", "task"), [(HERE, "ave"), (PARSED, "avvp")])
def test_exported_events_are_read_as_they_were(tmp_path, keep, events, task):
    (tmp_path / "yard.mp4").touch()
    write_events(events, tmp_path, name="yard", filename="yard.mp4")
    collection = read_back(tmp_path, keep)
    assert collection.task == task
    assert collection.rows["train"] == len(join_modalities(events))
    seconds = {}
    for clip in collection.clips:
        start = int(clip.start_seconds)
        if task == "ave":
            names = [{collection.classes[label]} - {"Background"} for label in clip.labels]
            found = {(start + second, name, "both") for second, one in enumerate(names) for name in one}
        else:
            found = set(flagged(clip, start, collection.classes))
        seconds.update(dict.fromkeys(found))
    expected = {
        (second, event.name, event.modality)
        for event in events
        for second in range(int(event.start), 23 if event.end > 23 else int(event.end))
    }
    assert set(seconds) == expected


def flagged(clip, start, classes):
    import io

    import numpy as np

    array = np.load(io.BytesIO(dict(clip.members)["events.npy"]))
    for modality, second, index in np.argwhere(array).tolist():
        yield start + second, classes[index], ("audible", "visible")[modality]


@pytest.mark.parametrize("keep", [".csv", ".txt"])
def test_a_video_without_events_stays_one(tmp_path, keep):
    (tmp_path / "yard.mp4").touch()
    write_events([], tmp_path, name="yard", filename="yard.mp4")
    (tmp_path / "other.mp4").touch()
    (tmp_path / "other.txt").write_text("1\t2\tdog\n")
    collection = read_back(tmp_path, keep)
    labels = {clip.source: set(clip.labels) for clip in collection.clips}
    assert labels["yard.mp4"] == {1}, "background"


def test_an_event_that_is_seen_and_heard_is_one_row(tmp_path):
    joined = join_modalities(PARSED)
    assert [(one.name, one.modality, one.confidence) for one in joined] == [
        ("dog", "both", 0.8),
        ("rain", "audible", 0.6),
        ("cat", "visible", 0.6),
    ]
    write_events(PARSED, tmp_path, name="yard", filename="yard.mp4")
    assert (tmp_path / "yard.labels.txt").read_text() == (
        "0.000000\t3.000000\tdog\n1.000000\t5.000000\train [audible]\n20.000000\t23.400000\tcat [visible]\n"
    )
    assert (tmp_path / "yard.events.csv").read_text().splitlines()[:2] == [
        "filename,onset,offset,event_label,confidence,modality",
        "yard.mp4,0.000,3.000,dog,0.800,both",
    ]
