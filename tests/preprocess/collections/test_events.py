"""Tables of events and label tracks: variants of both formats, and faults by file and line."""

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections.event_rows import EventRow

from .event_recordings import HEADER, labels_of, read, sources, write

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
def test_tables_of_events_are_read_as_they_are_written(recordings, name):
    write(recordings, name, TABLES[name])
    check_expected(read(recordings))


@pytest.mark.parametrize("kind", TRACKS)
def test_label_tracks_are_read_as_they_are_written(recordings, kind):
    for name, text in zip("abc", TRACKS[kind], strict=True):
        write(recordings, f"{name}.txt", text)
    check_expected(read(recordings))


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
def test_a_row_at_fault_is_named_by_file_and_line(recordings, row):
    write(recordings, "events.csv", f"{HEADER}b.mp4,1,2,rain,,\n{row}\n")
    with pytest.raises(InputError, match=rf"events\.csv:3: {ROWS_AT_FAULT[row]}"):
        read(recordings)


def test_all_rows_at_fault_are_named_at_once(recordings):
    write(
        recordings,
        "events.csv",
        f"{HEADER}a.mp4,-1,2,rain,,\na.mp4,1,2,rain,,\na.mp4,4,2,rain,,\na.mp4,4,99,x,,\n",
    )
    said = r"events\.csv:2: onset is '-1'.*; 2 more rows are at fault: .*events\.csv:4, .*events\.csv:5$"
    with pytest.raises(InputError, match=said):
        read(recordings)


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
def test_a_line_at_fault_of_a_track_is_named(recordings, line):
    write(recordings, "a.txt", f"1\t2\tdog\n{line}\n")
    with pytest.raises(InputError, match=rf"a\.txt:2: {LINES_AT_FAULT[line]}"):
        read(recordings)


def test_other_encodings_are_named(recordings):
    write(recordings, "a.txt", "1\t2\tVögel\n", "latin-1")
    with pytest.raises(InputError, match=r"a\.txt:1: label 'Vögel' is not encoded in UTF-8"):
        read(recordings)
    write(recordings, "a.txt", "1\t2\tVögel\n", "utf-16")
    with pytest.raises(InputError, match=r"a\.txt is encoded in UTF-16; save it as UTF-8"):
        read(recordings)


def test_nothing_annotated_is_refused(recordings, tmp_path):
    with pytest.raises(InputError, match=r"holds 3 videos and no events of them; write RAW/events\.csv"):
        read(recordings)
    write(recordings, "a.txt", "")
    with pytest.raises(InputError, match=r"no recording has an event"):
        read(recordings)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no videos"):
        read(tmp_path / "empty")


def test_events_of_equal_rows_are_equal():
    assert EventRow("f:1", 1, 2, "dog") == EventRow("f:1", 1, 2, "dog", "both")


def test_rows_of_another_width_are_told_with_the_other_faults(recordings):
    write(recordings, "events.csv", f"{HEADER}a.mp4,-1,2,rain,,\na.mp4,1\na.mp4,4,2,rain,,\n")
    said = r"csv:2: onset is '-1'.*; 2 more rows are at fault: .*events\.csv:3, .*events\.csv:4$"
    with pytest.raises(InputError, match=said):
        read(recordings)


LONE = {
    "header": "filename,onset,offset,event_label\na.mp4,1,2,dog\nb.mp4\n",
    "no-header": "a.mp4,1,2,dog\nb.mp4\n",
    "first": "b.mp4\na.mp4,1,2,dog\n",
    "tabs": "b.mp4\na.mp4\t1,0\t2,0\tdog\n",
    "nan": "b.mp4,nan,nan,nan\na.mp4,1,2,dog\n",
}


@pytest.mark.parametrize("kind", LONE)
def test_a_row_with_a_file_name_alone_is_a_recording_without_events(recordings, kind):
    write(recordings, "events.csv", LONE[kind])
    collection = read(recordings)
    assert sources(collection) == {"a.mp4", "b.mp4"}
    assert collection.classes == ("dog", "Background")


def test_labels_with_commas_are_read_from_a_table_of_tabs_without_header(recordings):
    write(recordings, "events.tsv", "a.mp4\t0,5\t1,5\tdog, big, brown\nb.mp4\t0,5\t1,5\tdog, big\n")
    assert read(recordings).classes == ("dog, big", "dog, big, brown", "Background")


def test_a_time_far_beyond_any_recording_is_named_as_that(recordings):
    write(recordings, "events.csv", f"{HEADER}a.mp4,1e10,2e10,dog,,\n")
    with pytest.raises(InputError, match=r"csv:2: onset is '1e10', it must be below 1,000,000,000 seconds"):
        read(recordings)
