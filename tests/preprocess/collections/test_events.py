"""Recordings with tables of events and label tracks: variants of both formats, faults, windows, splits."""

import io

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections.event_rows import EventRow
from stgcma.preprocess.collections.event_windows import marked_steps
from stgcma.preprocess.collections.events import EventOptions, read_events
from stgcma.preprocess.media.reasons import ClipError

SECONDS = tuple((float(k), k + 1.0) for k in range(10))


@pytest.fixture
def raw(tmp_path):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).touch()
    return tmp_path


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


# Ten ways to write the same events: a dog in [2, 4) of a.mp4, rain in [11, 12.5) of b.mp4, none in c.mp4.
TABLES = {
    "dcase.csv": "filename,onset,offset,event_label\na.mp4,2.0,4.0,dog\nb.mp4,11,12.5,rain\nc.mp4,,,\n",
    "dcase.tsv": "filename\tonset\toffset\tevent_label\na.mp4\t2.0\t4.0\tdog\nb.mp4\t11\t12.5\train\n"
    "c.mp4\t\t\t\n",
    "semicolons.csv": "filename;onset;offset;event_label\na.mp4;2,0;4,0;dog\nb.mp4;11;12,5;rain\nc.mp4;;;\n",
    "crlf.csv": "filename,onset,offset,event_label\r\na.mp4,2,4,dog\r\nb.mp4,11,12.5,rain\r\nc.mp4,,,\r\n",
    "bom.csv": "\ufefffilename,onset,offset,event_label\na.mp4,2,4,dog\nb.mp4,11,12.5,rain\nc.mp4,,,\n",
    "quotes.csv": '"filename","onset","offset","event_label"\n"a.mp4","2","4","dog"\n'
    '"b.mp4","11","12.5","rain"\n"c.mp4","","",""\n',
    "excel.csv": "sep=;\nFilename;Onset;Offset;Event Label\na.mp4;2;4;dog\nb.mp4;11;12,5;rain\nc.mp4;;;\n\n",
    "other-names.csv": "Offset,Label,Onset,File\n4,dog,2,a\n12.5,rain,11,b.wav\n,,,./c.mp4\n",
    "no-header.tsv": "a.mp4\t2.0\t4.0\tdog\nb.mp4\t11\t12.5\train\nc.mp4\t\t\t\n",
    "clock.txt": "filename\tstart\tend\tlabel\ta note\na.mp4\t0:02\t0:04\tdog\t\n"
    "b.mp4\t00:00:11\t0:12.5\train\tx\nc.mp4\tNaN\tNaN\tNaN\t\n",
}
# The same events, as the tracks a.txt, b.txt and c.txt.
TRACKS = {
    "audacity": ("2.000000\t4.000000\tdog\n", "11.000000\t12.500000\train\n", ""),
    "crlf": ("2.0\t4.0\tdog\r\n", "11\t12.5\train\r\n", "\r\n"),
    "bom": ("\ufeff2.0\t4.0\tdog\n", "\ufeff11\t12.5\train\n", "\ufeff"),
    "decimal-commas": ("2,000000\t4,000000\tdog\n", "11,0\t12,5\train\n", ""),
    "spectral": ("2\t4\tdog\n\\\t310.5\t4200.0\n", "11\t12.5\train\n\\\t-1.0\t-1.0\n", ""),
    "blanks": ("2   4   dog\n", "  11 12.5  rain  \n\n", "\n\n"),
    "header": ("start\tend\tlabel\n2\t4\tdog\n", "Start\tEnd\tLabel\n11\t12.5\train", "start\tend\tlabel\n"),
    "quotes": ('2\t4\t"dog"\n', '11\t12.5\t"rain"\n', ""),
    "clock": ("0:02\t0:04\tdog\n", "0:11.0\t0:00:12.5\train\n", ""),
    "split-events": ("3\t4\tdog\n2\t3\tdog\n", "11\t12.5\train\n11.2\t11.4\train\n", ""),
}
EXPECTED = {
    ("a.mp4", 0.0): [None, None, "dog", "dog", *[None] * 6],
    ("a.mp4", 10.0): [None] * 10,
    ("a.mp4", 15.0): [None] * 10,
    ("b.mp4", 0.0): [None] * 10,
    ("b.mp4", 10.0): [None, "rain", "rain", *[None] * 7],
    ("b.mp4", 15.0): [None] * 10,
    ("c.mp4", 0.0): [None] * 10,
    ("c.mp4", 10.0): [None] * 10,
    ("c.mp4", 15.0): [None] * 10,
}


def check_expected(collection):
    assert collection.task == "ave"
    assert collection.classes == ("dog", "rain", "Background")
    found = {
        place: [None if name == "Background" else name for name in names]
        for place, names in labels_of(collection).items()
    }
    assert found == EXPECTED
    assert sorted(clip.split for clip in collection.clips) == ["test"] * 3 + ["train"] * 3 + ["val"] * 3
    assert all(clip.problem is None for clip in collection.clips)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_events_are_read_as_they_are_written(raw, name):
    write(raw, name, TABLES[name])
    check_expected(read(raw))


@pytest.mark.parametrize("kind", TRACKS)
def test_label_tracks_are_read_as_they_are_written(raw, kind):
    for name, text in zip("abc", TRACKS[kind], strict=True):
        write(raw, f"{name}.txt", text)
    check_expected(read(raw))


HEADER = "filename,onset,offset,event_label,modality,split\n"
ROWS_AT_FAULT = {
    "a.mp4,-1,4,dog,,": r"onset is '-1', it must be 0 or later",
    "a.mp4,5,4,dog,,": r"offset 4 is before onset 5",
    "a.mp4,5,26,dog,,": r"the event from 5 to 26 s is beyond the end of a\.mp4, which lasts 25\.00 s",
    "a.mp4,two,4,dog,,": r"onset is 'two', expected seconds such as 83\.5, or 1:23\.5",
    "a.mp4,2,,dog,,": r"offset is '', expected seconds",
    "a.mp4,2,4,,,": r"the label is empty; name the class, or delete the row",
    ",2,4,dog,,": r"filename is empty",
    "a.mp4,2,4,dog,smell,": r"modality is 'smell', must be one of audible, visible, both",
    "a.mp4,2,4,dog,,dev": r"split is 'dev', must be one of train, val, test",
    "a.mp4,2,4": r"3 cells in 'a\.mp4,2,4', expected 6",
    "a.mp4,2,4,background,,": r"the label 'background' is the name for seconds without an event",
    "c.mp4,2,4,Rain,,": r"the label 'Rain' and 'rain' \(.*events\.csv:2\) differ only in case",
    "a.mp4,nan,4,dog,,": r"onset is 'nan'",
    "a.mp4,1e400,4,dog,,": r"onset is '1e400'",
}


@pytest.mark.parametrize("row", ROWS_AT_FAULT)
def test_a_row_at_fault_is_named_by_file_and_line(raw, row):
    write(raw, "events.csv", f"{HEADER}b.mp4,1,2,rain,,\n{row}\n")
    with pytest.raises(InputError, match=rf"events\.csv:3: {ROWS_AT_FAULT[row]}"):
        read(raw)


def test_all_rows_at_fault_are_named_at_once(raw):
    write(
        raw, "events.csv", f"{HEADER}a.mp4,-1,2,rain,,\na.mp4,1,2,rain,,\na.mp4,4,2,rain,,\na.mp4,4,99,x,,\n"
    )
    said = r"events\.csv:2: onset is '-1'.*; 2 more rows are at fault: .*events\.csv:4, .*events\.csv:5$"
    with pytest.raises(InputError, match=said):
        read(raw)


LINES_AT_FAULT = {
    "-2.0\t4.0\tdog": r"start is '-2\.0', it must be 0 or later",
    "5\t4\tdog": r"offset 4 is before onset 5",
    "2\t99\tdog": r"the event from 2 to 99 s is beyond the end of a\.mp4",
    "2.0\t4.0\t": r"the label is empty",
    "2.0\t4.0": r"the label is empty",
    "dog": r"'dog' is not a label; expected start, end and label, separated by tabs",
    "2;4;dog": r"'2;4;dog' is not a label",
    "x\t4\tdog": r"start is 'x', expected seconds",
}


@pytest.mark.parametrize("line", LINES_AT_FAULT)
def test_a_line_at_fault_of_a_track_is_named(raw, line):
    write(raw, "a.txt", f"1\t2\tdog\n{line}\n")
    with pytest.raises(InputError, match=rf"a\.txt:2: {LINES_AT_FAULT[line]}"):
        read(raw)


def test_other_encodings_are_named(raw):
    write(raw, "a.txt", "1\t2\tVögel\n", "latin-1")
    with pytest.raises(InputError, match=r"a\.txt:1: label 'Vögel' is not encoded in UTF-8"):
        read(raw)
    write(raw, "a.txt", "1\t2\tVögel\n", "utf-16")
    with pytest.raises(InputError, match=r"a\.txt is encoded in UTF-16; save it as UTF-8"):
        read(raw)


def test_accents_written_in_two_ways_are_one_name(raw):
    (raw / "caf\u00e9.mp4").touch()
    write(raw, "cafe\u0301.txt", "1\t2\tVo\u0308gel\n3\t4\tV\u00f6gel\n")
    collection = read(raw)
    assert collection.classes == ("V\u00f6gel", "Background")
    assert {clip.source for clip in collection.clips} == {"caf\u00e9.mp4"}


def test_a_video_that_is_not_there_is_quarantined_and_named(raw):
    write(raw, "events.csv", f"{HEADER}gone.mp4,1,2,dog,,\na.mp4,1,2,dog,,\n")
    collection = read(raw)
    problems = [clip.problem for clip in collection.clips if clip.problem]
    assert problems == [
        ("missing", f"{raw}/events.csv:2 names gone.mp4, and there is no such video"),
    ]
    assert any("events.csv:2 names 'gone.mp4'" in finding for finding in collection.findings)
    assert "videos without annotation, left out: 2 (b.mp4, c.mp4)" in collection.findings


def test_a_recording_that_does_not_open_is_quarantined(raw):
    write(raw, "events.csv", f"{HEADER}a.mp4,1,2,dog,,\nb.mp4,1,2,dog,,\n")
    collection = read(raw, length={"b.mp4": ClipError("unreadable", "the header is damaged")})
    assert [(clip.source, clip.problem) for clip in collection.clips if clip.problem] == [
        ("b.mp4", ("unreadable", "the header is damaged"))
    ]


def test_one_recording_is_in_one_split(raw):
    write(raw, "events.csv", f"{HEADER}a.mp4,1,2,dog,,train\nb.mp4,1,2,dog,,val\na.mp4,3,4,dog,,Testing\n")
    with pytest.raises(InputError, match=r"events\.csv:4: a\.mp4 is in split test, and in train by .*csv:2"):
        read(raw)
    write(
        raw, "events.csv", f"{HEADER}a.mp4,1,2,dog,,train\nb.mp4,1,2,dog,,val\na.mp4,3,4,dog,,\nc.mp4,,,,,\n"
    )
    with pytest.raises(InputError, match=r"c\.mp4 has no split, and a\.mp4 is in train; .*1 of 3 have none"):
        read(raw)
    write(raw, "events.csv", f"{HEADER}a.mp4,1,2,dog,,train\nb.mp4,1,2,dog,,val\nc.mp4,,,,,test\n")
    splits = {clip.source: clip.split for clip in read(raw).clips}
    assert splits == {"a.mp4": "train", "b.mp4": "val", "c.mp4": "test"}


def test_folders_give_splits_to_recordings_with_tracks(raw):
    for split in ("training", "val", "test"):
        (raw / split).mkdir()
        (raw / split / f"{split}.mp4").touch()
        write(raw, f"{split}/{split}.txt", "1\t2\tdog\n")
    collection = read(raw)
    assert {clip.source: clip.split for clip in collection.clips} == {
        "training/training.mp4": "train",
        "val/val.mp4": "val",
        "test/test.mp4": "test",
    }
    assert set(collection.annotation_files) == {
        f"{split}/{split}.txt" for split in ("training", "val", "test")
    }


def test_a_name_of_two_recordings_is_refused(raw):
    for folder in ("x", "y"):
        (raw / folder).mkdir()
        (raw / folder / "d.mp4").touch()
    write(raw, "events.csv", f"{HEADER}d.mp4,1,2,dog,,\n")
    with pytest.raises(InputError, match=r"events\.csv:2: filename 'd\.mp4' may be x/d\.mp4 or y/d\.mp4"):
        read(raw)
    write(raw, "events.csv", f"{HEADER}y/d.mp4,1,2,dog,,\n")
    assert {clip.source for clip in read(raw).clips} == {"y/d.mp4"}


def test_a_recording_with_two_kinds_of_annotation_is_refused(raw):
    write(raw, "events.csv", f"{HEADER}a.mp4,1,2,dog,,\n")
    write(raw, "a.txt", "5\t6\tdog\n")
    with pytest.raises(InputError, match=r"a\.txt: a\.mp4 has events in .*events\.csv:2 as well"):
        read(raw)


def test_several_tracks_of_a_recording_are_joined(raw):
    write(raw, "a.txt", "1\t2\tdog\n")
    write(raw, "a.labels.txt", "3\t4\tdog\n")
    write(raw, "notes.txt", "nothing to see\n")
    collection = read(raw)
    assert labels_of(collection)["a.mp4", 0.0][:5] == ["Background", "dog", "Background", "dog", "Background"]
    assert "recordings with several label tracks, which are joined: 1 (a.mp4)" in collection.findings
    assert "text files left out: 1 (notes.txt)" in collection.findings


def test_nothing_annotated_is_refused(raw, tmp_path):
    with pytest.raises(InputError, match=r"holds 3 videos and no events of them; write RAW/events\.csv"):
        read(raw)
    write(raw, "a.txt", "")
    with pytest.raises(InputError, match=r"no recording has an event"):
        read(raw)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no videos"):
        read(tmp_path / "empty")


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
    assert marked_steps(onset, offset, SECONDS) == marked


def test_labels_of_a_window_border_are_those_of_the_recording(raw):
    """An event of which 0.3 s are in one window and 0.1 s in the next marks one second, not two."""
    write(raw, "a.txt", "9.7\t10.1\tdog\n")
    found = labels_of(read(raw))
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
def test_windows_follow_each_other(raw, length, options, starts):
    write(raw, "a.txt", "1\t2\tdog\n")
    collection = read(raw, length=length, **options)
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


def flags(clip, name):
    return np.load(io.BytesIO(dict(clip.members)[name]))


def test_classes_in_one_second_make_the_task_parsing(raw):
    write(raw, "a.txt", "1\t4\tdog\n3\t6\train [visible]\n")
    write(raw, "b.txt", "1\t2\tcat (tabby)\n")
    collection = read(raw)
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


def test_the_task_follows_from_the_seconds(raw):
    write(raw, "a.txt", "1\t4.2\tdog\n4\t6\train\n")
    assert read(raw).task == "ave", "0.2 s of overlap are in no second of both"
    assert read(raw, task="avvp").task == "avvp"
    write(raw, "a.txt", "1\t4.6\tdog\n4\t6\train\n")
    collection = read(raw)
    said = f"{raw}/a.txt:1 (dog) and {raw}/a.txt:2 (rain) are in the same second, from 4 s"
    assert f"task avvp: {said}" in collection.findings
    with pytest.raises(InputError, match=r"a\.txt:1 \(dog\) and .*; task ave has one class a second"):
        read(raw, task="ave")
    write(raw, "a.txt", "1\t4\tdog [audible]\n")
    assert read(raw).task == "avvp"


def test_a_point_marks_its_second(raw):
    write(raw, "a.txt", "3.2\t3.2\tdog\n25\t25\tdog\n")
    collection = read(raw)
    assert labels_of(collection)["a.mp4", 0.0].index("dog") == 3
    assert labels_of(collection)["a.mp4", 15.0][9] == "dog"
    assert "labels that are points in time: 2; each marks the second that it is in" in collection.findings


def test_events_of_equal_rows_are_equal():
    assert EventRow("f:1", 1, 2, "dog") == EventRow("f:1", 1, 2, "dog", "both")


def sources(collection):
    return {clip.source for clip in collection.clips if clip.problem is None}


def test_a_path_is_not_taken_for_a_file_of_another_folder(raw):
    (raw / "day2").mkdir()
    (raw / "day2" / "rec.mp4").touch()
    write(raw, "events.csv", f"{HEADER}a.mp4,1,2,dog,,\nday1/rec.mp4,1,2,dog,,\n")
    collection = read(raw)
    assert sources(collection) == {"a.mp4"}
    assert any("names 'day1/rec.mp4', and there is no such video" in said for said in collection.findings)


def test_only_the_suffix_of_a_medium_is_left_out_of_a_name(raw):
    for name in ("rec.mp4", "take.02.mp4"):
        (raw / name).touch()
    write(raw, "events.csv", f"{HEADER}rec.02,1,2,dog,,\ntake.02,1,2,dog,,\na.WAV,1,2,dog,,\n")
    assert sources(read(raw)) == {"take.02.mp4", "a.mp4"}


def test_a_path_wins_over_the_same_name_in_a_folder(raw):
    (raw / "x").mkdir()
    (raw / "x" / "a.mp4").touch()
    for row in ("a.mp4", "./a.mp4"):
        write(raw, "events.csv", f"{HEADER}{row},1,2,dog,,\n")
        assert sources(read(raw)) == {"a.mp4"}
    write(raw, "events.csv", f"{HEADER}a,1,2,dog,,\n")
    with pytest.raises(InputError, match=r"filename 'a' may be a\.mp4 or x/a\.mp4; write the path"):
        read(raw)


def test_names_that_are_no_paths_are_told(raw):
    (raw / "x").mkdir()
    (raw / "x" / "d.mp4").touch()
    write(raw, "events.csv", f"{HEADER}a,1,2,dog,,\nb.wav,1,2,dog,,\nd.mp4,1,2,dog,,\nx/d,3,4,dog,,\n")
    (said,) = (one for one in read(raw).findings if one.startswith("names without"))
    assert said.endswith("suffix than the video: 2 (b.wav for b.mp4, d.mp4 for x/d.mp4)")


@pytest.mark.parametrize("name", [".", "./", "/", "..", "x/.."])
def test_a_filename_that_no_file_has_is_a_fault_of_its_row(raw, name):
    write(raw, "events.csv", f"{HEADER}a.mp4,1,2,dog,,\n{name},1,2,dog,,\n")
    with pytest.raises(InputError, match=r"events\.csv:3: filename is .* must be the name of a recording"):
        read(raw)


def test_names_that_match_no_video_are_told_with_the_nearest(raw):
    write(raw, "events.csv", f"{HEADER}day1/aa.mp4,1,2,dog,,\nx.mp4,1,2,dog,,\n")
    with pytest.raises(InputError, match=r"csv:2 names 'day1/aa\.mp4', and .*; did you mean 'a\.mp4'\?"):
        read(raw)
    write(raw, "events.csv", f"{HEADER}something,1,2,dog,,\n")
    with pytest.raises(InputError, match=r"csv:2 names 'something', and .*; one video is 'a\.mp4'"):
        read(raw)


def test_rows_of_another_width_are_told_with_the_other_faults(raw):
    write(raw, "events.csv", f"{HEADER}a.mp4,-1,2,rain,,\na.mp4,1\na.mp4,4,2,rain,,\n")
    said = r"csv:2: onset is '-1'.*; 2 more rows are at fault: .*events\.csv:3, .*events\.csv:4$"
    with pytest.raises(InputError, match=said):
        read(raw)


LONE = {
    "header": "filename,onset,offset,event_label\na.mp4,1,2,dog\nb.mp4\n",
    "no-header": "a.mp4,1,2,dog\nb.mp4\n",
    "first": "b.mp4\na.mp4,1,2,dog\n",
    "tabs": "b.mp4\na.mp4\t1,0\t2,0\tdog\n",
    "nan": "b.mp4,nan,nan,nan\na.mp4,1,2,dog\n",
}


@pytest.mark.parametrize("kind", LONE)
def test_a_row_with_a_file_name_alone_is_a_recording_without_events(raw, kind):
    write(raw, "events.csv", LONE[kind])
    collection = read(raw)
    assert sources(collection) == {"a.mp4", "b.mp4"}
    assert collection.classes == ("dog", "Background")


def test_labels_with_commas_are_read_from_a_table_of_tabs_without_header(raw):
    write(raw, "events.tsv", "a.mp4\t0,5\t1,5\tdog, big, brown\nb.mp4\t0,5\t1,5\tdog, big\n")
    assert read(raw).classes == ("dog, big", "dog, big, brown", "Background")


def test_a_point_at_the_end_is_in_the_last_step_that_has_a_length(raw):
    """A recording of 4.2 s in a window of 10: seconds 5 to 9 are padding, as in `plan_windows`."""
    write(raw, "events.csv", f"{HEADER}a.mp4,4.2,4.2,dog,audible,\n")
    (clip,) = read(raw, length=4.2).clips
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
        assert marked_steps(onset, offset, steps) == covered_by_search(onset, offset, steps)


def test_a_time_far_beyond_any_recording_is_named_as_that(raw):
    write(raw, "events.csv", f"{HEADER}a.mp4,1e10,2e10,dog,,\n")
    with pytest.raises(InputError, match=r"csv:2: onset is '1e10', it must be below 1,000,000,000 seconds"):
        read(raw)


def test_a_folder_of_another_split_is_told_with_the_recording(raw):
    (raw / "train").mkdir()
    (raw / "train" / "d.mp4").touch()
    write(raw, "events.csv", f"{HEADER}d.mp4,1,2,dog,,test\n")
    said = r"^train/d\.mp4 is in split train by its folder 'train', and in test by .*csv:2; choose one"
    with pytest.raises(InputError, match=said):
        read(raw)
