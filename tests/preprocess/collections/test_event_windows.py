"""Windows of recordings: the seconds that an event marks, and the task that follows from them."""

import itertools

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections.event_windows import marked_ranges, marked_steps
from stgcma.preprocess.collections.events import EventOptions

from .event_recordings import HEADER, flags, labels_of, read, write

SECONDS = tuple((float(k), k + 1.0) for k in range(10))


# The rule of a second: at least half of it, and at least the second that is covered most.
@pytest.mark.parametrize(
    ("onset", "offset", "marked"),
    [
        (2.0, 4.0, [2, 3]),
        (2.4, 3.6, [2, 3]),
        (2.5, 3.5, [2, 3]),
        (2.6, 4.4, [3]),
        (2.9, 3.2, [3]),
        (2.7, 3.3, [2]),
        (2.0, 2.1, [2]),
        (2.3, 2.3, [2]),
        (9.9, 10.0, [9]),
        (10.0, 10.0, [9]),
        (0.1, 0.6, [0]),
        (7.1, 7.6, [7]),
    ],
)
def test_an_event_marks_the_seconds_that_it_covers_half(onset, offset, marked):
    assert list(marked_steps(onset, offset, SECONDS)) == marked


def test_labels_of_a_window_border_are_those_of_the_recording(recordings):
    """An event of which 0.3 s are in one window and 0.1 s in the next marks one second, not two."""
    write(recordings, "a.txt", "9.7\t10.1\tdog\n")
    found = labels_of(read(recordings))
    assert found["a.mp4", 0.0][9] == "dog"
    assert found["a.mp4", 10.0] == ["Background"] * 10


@pytest.mark.parametrize(
    ("length", "options", "starts"),
    [
        (25.0, {}, [0, 10, 15]),
        (30.2, {}, [0, 10, 20]),
        (25.0, {"hop_seconds": 5}, [0, 5, 10, 15]),
        (25.0, {"window_seconds": 5}, [0, 5, 10, 15, 20]),
        (6.2, {}, [0]),
    ],
)
def test_windows_follow_each_other(recordings, length, options, starts):
    write(recordings, "a.txt", "1\t2\tdog\n")
    collection = read(recordings, length=length, **options)
    window = options.get("window_seconds", 10)
    assert [clip.start_seconds for clip in collection.clips] == starts
    assert collection.clips[-1].end_seconds == length
    assert {len(clip.labels) for clip in collection.clips} == {window}
    assert (collection.sampling.frames, collection.sampling.windows) == (window, window)


def test_hop_must_not_lose_seconds():
    with pytest.raises(InputError, match=r"hop_seconds is 12, must be at most window_seconds, 10"):
        EventOptions(hop_seconds=12)
    with pytest.raises(InputError, match=r"window_seconds is 1, must be a whole number from 2 to 60"):
        EventOptions(window_seconds=1)


def test_classes_in_one_second_make_the_task_parsing(recordings):
    write(recordings, "a.txt", "1\t4\tdog\n3\t6\train [visible]\n")
    write(recordings, "b.txt", "1\t2\tcat (tabby)\n")
    collection = read(recordings)
    assert (collection.task, collection.classes) == ("avvp", ("cat (tabby)", "dog", "rain"))
    assert collection.sampling.frame_times == "middle"
    first = next(clip for clip in collection.clips if (clip.source, clip.start_seconds) == ("a.mp4", 0))
    expected = np.zeros((2, 10, 3), dtype=np.uint8)
    expected[:, 1:4, 1] = 1
    expected[1, 3:6, 2] = 1
    assert np.array_equal(flags(first, "events.npy"), expected)
    assert flags(first, "events.npy").dtype == np.uint8
    assert flags(first, "tags.npy").tolist() == [0, 1, 1]
    assert first.fields["categories"] == ["dog", "rain"]
    assert not first.labels


def test_the_task_follows_from_the_seconds(recordings):
    write(recordings, "a.txt", "1\t4.2\tdog\n4\t6\train\n")
    assert read(recordings).task == "ave", "0.2 s of overlap are in no second of both"
    assert read(recordings, task="avvp").task == "avvp"
    write(recordings, "a.txt", "1\t4.6\tdog\n4\t6\train\n")
    collection = read(recordings)
    said = f"{recordings}/a.txt:1 (dog) and {recordings}/a.txt:2 (rain) are in the same second, from 4 s"
    assert f"task avvp: {said}" in collection.findings
    with pytest.raises(InputError, match=r"a\.txt:1 \(dog\) and .*; task ave has one class a second"):
        read(recordings, task="ave")
    write(recordings, "a.txt", "1\t4\tdog [audible]\n")
    assert read(recordings).task == "avvp"


def test_a_point_marks_its_second(recordings):
    write(recordings, "a.txt", "3.2\t3.2\tdog\n25\t25\tdog\n")
    collection = read(recordings)
    assert labels_of(collection)["a.mp4", 0.0].index("dog") == 3
    assert labels_of(collection)["a.mp4", 15.0][9] == "dog"
    assert "labels that are points in time: 2; each marks the second that it is in" in collection.findings


def test_a_point_at_the_end_is_in_the_last_step_that_has_a_length(recordings):
    """A recording of 4.2 s in a window of 10: seconds 5 to 9 are padding, as in `plan_windows`."""
    write(recordings, "events.csv", f"{HEADER}a.mp4,4.2,4.2,dog,audible,\n")
    (clip,) = read(recordings, length=4.2).clips
    assert np.argwhere(flags(clip, "events.npy")[0]).tolist() == [[4, 0]]


def covered_by_search(onset, offset, steps):
    """The rule of `event_windows`, over all steps."""
    covered = [max(min(offset, end) - max(onset, start), 0.0) for start, end in steps]
    marked = [
        k for k, (start, end) in enumerate(steps) if end > start and covered[k] >= (end - start) / 2 - 1e-6
    ]
    return marked or ([covered.index(max(covered))] if max(covered) else [])


def test_marked_steps_are_those_of_a_search_over_all():
    rng = np.random.default_rng(5)
    for _ in range(300):
        edges = np.cumsum(rng.integers(1, 9, size=8)) / 4 - 0.25
        steps = [(float(a), float(b)) for a, b in zip([0, *edges], [*edges, edges[-1]], strict=False)]
        onset = int(rng.integers(0, int(edges[-1] * 8) + 1)) / 8
        offset = onset + int(rng.integers(1, 60)) / 8
        assert list(marked_steps(onset, offset, steps)) == covered_by_search(onset, offset, steps)


def test_many_events_mark_the_steps_that_each_marks_alone():
    rng = np.random.default_rng(6)
    for _ in range(60):
        edges = np.cumsum(rng.choice([0.25, 0.5, 1.0, 1.0], size=8))
        edges = np.append(edges, [edges[-1]] * int(rng.integers(0, 3)))  # padding
        steps = list(itertools.pairwise([0.0, *edges.tolist()]))
        onsets = rng.integers(0, 48, size=30) / 8
        times = np.stack([onsets, onsets + rng.choice([0, 0, 1 / 8, 1 / 4, 1 / 3, 1, 2.7], size=30)], axis=1)
        begin, end = marked_ranges(times, np.array(steps))
        for (onset, offset), first, until in zip(times.tolist(), begin, end, strict=True):
            assert list(marked_steps(onset, offset, steps)) == list(range(first, until))
