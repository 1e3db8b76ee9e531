"""Recordings by name and split: rows and label tracks find theirs, or say why not."""

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.media.reasons import ClipError

from .event_recordings import HEADER, labels_of, read, sources, write


def test_a_path_is_not_taken_for_a_file_of_another_folder(recordings):
    (recordings / "day2").mkdir()
    (recordings / "day2" / "rec.mp4").touch()
    write(recordings, "events.csv", f"{HEADER}a.mp4,1,2,dog,,\nday1/rec.mp4,1,2,dog,,\n")
    collection = read(recordings)
    assert sources(collection) == {"a.mp4"}
    assert any("names 'day1/rec.mp4', and there is no such video" in said for said in collection.findings)


def test_only_the_suffix_of_a_medium_is_left_out_of_a_name(recordings):
    for name in ("rec.mp4", "take.02.mp4"):
        (recordings / name).touch()
    write(recordings, "events.csv", f"{HEADER}rec.02,1,2,dog,,\ntake.02,1,2,dog,,\na.WAV,1,2,dog,,\n")
    assert sources(read(recordings)) == {"take.02.mp4", "a.mp4"}


def test_a_path_wins_over_the_same_name_in_a_folder(recordings):
    (recordings / "x").mkdir()
    (recordings / "x" / "a.mp4").touch()
    for row in ("a.mp4", "./a.mp4"):
        write(recordings, "events.csv", f"{HEADER}{row},1,2,dog,,\n")
        assert sources(read(recordings)) == {"a.mp4"}
    write(recordings, "events.csv", f"{HEADER}a,1,2,dog,,\n")
    with pytest.raises(InputError, match=r"filename 'a' may be a\.mp4 or x/a\.mp4; write the path"):
        read(recordings)


def test_names_that_are_no_paths_are_told(recordings):
    (recordings / "x").mkdir()
    (recordings / "x" / "d.mp4").touch()
    write(recordings, "events.csv", f"{HEADER}a,1,2,dog,,\nb.wav,1,2,dog,,\nd.mp4,1,2,dog,,\nx/d,3,4,dog,,\n")
    (said,) = (one for one in read(recordings).findings if one.startswith("names without"))
    assert said.endswith("suffix than the video: 2 (b.wav for b.mp4, d.mp4 for x/d.mp4)")


@pytest.mark.parametrize("name", [".", "./", "/", "..", "x/.."])
def test_a_filename_that_no_file_has_is_a_fault_of_its_row(recordings, name):
    write(recordings, "events.csv", f"{HEADER}a.mp4,1,2,dog,,\n{name},1,2,dog,,\n")
    with pytest.raises(InputError, match=r"events\.csv:3: filename is .* must be the name of a recording"):
        read(recordings)


def test_names_that_match_no_video_are_told_with_the_nearest(recordings):
    write(recordings, "events.csv", f"{HEADER}day1/aa.mp4,1,2,dog,,\nx.mp4,1,2,dog,,\n")
    with pytest.raises(InputError, match=r"csv:2 names 'day1/aa\.mp4', and .*; did you mean 'a\.mp4'\?"):
        read(recordings)
    write(recordings, "events.csv", f"{HEADER}something,1,2,dog,,\n")
    with pytest.raises(InputError, match=r"csv:2 names 'something', and .*; one video is 'a\.mp4'"):
        read(recordings)


def test_accents_written_in_two_ways_are_one_name(recordings):
    (recordings / "caf\u00e9.mp4").touch()
    write(recordings, "cafe\u0301.txt", "1\t2\tVo\u0308gel\n3\t4\tV\u00f6gel\n")
    collection = read(recordings)
    assert collection.classes == ("V\u00f6gel", "Background")
    assert {clip.source for clip in collection.clips} == {"caf\u00e9.mp4"}


def test_a_video_that_is_not_there_is_quarantined_and_named(recordings):
    write(recordings, "events.csv", f"{HEADER}gone.mp4,1,2,dog,,\na.mp4,1,2,dog,,\n")
    collection = read(recordings)
    problems = [clip.problem for clip in collection.clips if clip.problem]
    assert problems == [
        ("missing", f"{recordings}/events.csv:2 names gone.mp4, and there is no such video"),
    ]
    assert any("events.csv:2 names 'gone.mp4'" in finding for finding in collection.findings)
    assert "videos without annotation, left out: 2 (b.mp4, c.mp4)" in collection.findings


def test_a_recording_that_does_not_open_is_quarantined(recordings):
    write(recordings, "events.csv", f"{HEADER}a.mp4,1,2,dog,,\nb.mp4,1,2,dog,,\n")
    collection = read(recordings, length={"b.mp4": ClipError("unreadable", "the header is damaged")})
    assert [(clip.source, clip.problem) for clip in collection.clips if clip.problem] == [
        ("b.mp4", ("unreadable", "the header is damaged"))
    ]


TWO_SPLITS = "a.mp4,1,2,dog,,train\nb.mp4,1,2,dog,,val\n"


def test_one_recording_is_in_one_split(recordings):
    write(
        recordings,
        "events.csv",
        f"{HEADER}{TWO_SPLITS}a.mp4,3,4,dog,,Testing\n",
    )
    with pytest.raises(InputError, match=r"events\.csv:4: a\.mp4 is in split test, and in train by .*csv:2"):
        read(recordings)
    write(
        recordings,
        "events.csv",
        f"{HEADER}{TWO_SPLITS}a.mp4,3,4,dog,,\nc.mp4,,,,,\n",
    )
    with pytest.raises(InputError, match=r"c\.mp4 has no split, and a\.mp4 is in train; .*1 of 3 have none"):
        read(recordings)
    write(recordings, "events.csv", f"{HEADER}a.mp4,1,2,dog,,train\nb.mp4,1,2,dog,,val\nc.mp4,,,,,test\n")
    splits = {clip.source: clip.split for clip in read(recordings).clips}
    assert splits == {"a.mp4": "train", "b.mp4": "val", "c.mp4": "test"}


def test_folders_give_splits_to_recordings_with_tracks(recordings):
    for split in ("training", "val", "test"):
        (recordings / split).mkdir()
        (recordings / split / f"{split}.mp4").touch()
        write(recordings, f"{split}/{split}.txt", "1\t2\tdog\n")
    collection = read(recordings)
    assert {clip.source: clip.split for clip in collection.clips} == {
        "training/training.mp4": "train",
        "val/val.mp4": "val",
        "test/test.mp4": "test",
    }
    assert set(collection.annotation_files) == {
        f"{split}/{split}.txt" for split in ("training", "val", "test")
    }


def test_a_folder_of_another_split_is_told_with_the_recording(recordings):
    (recordings / "train").mkdir()
    (recordings / "train" / "d.mp4").touch()
    write(recordings, "events.csv", f"{HEADER}d.mp4,1,2,dog,,test\n")
    said = r"^train/d\.mp4 is in split train by its folder 'train', and in test by .*csv:2; choose one"
    with pytest.raises(InputError, match=said):
        read(recordings)


def test_a_name_of_two_recordings_is_refused(recordings):
    for folder in ("x", "y"):
        (recordings / folder).mkdir()
        (recordings / folder / "d.mp4").touch()
    write(recordings, "events.csv", f"{HEADER}d.mp4,1,2,dog,,\n")
    with pytest.raises(InputError, match=r"events\.csv:2: filename 'd\.mp4' may be x/d\.mp4 or y/d\.mp4"):
        read(recordings)
    write(recordings, "events.csv", f"{HEADER}y/d.mp4,1,2,dog,,\n")
    assert {clip.source for clip in read(recordings).clips} == {"y/d.mp4"}


def test_a_recording_with_two_kinds_of_annotation_is_refused(recordings):
    write(recordings, "events.csv", f"{HEADER}a.mp4,1,2,dog,,\n")
    write(recordings, "a.txt", "5\t6\tdog\n")
    with pytest.raises(InputError, match=r"a\.txt: a\.mp4 has events in .*events\.csv:2 as well"):
        read(recordings)


def test_several_tracks_of_a_recording_are_joined(recordings):
    write(recordings, "a.txt", "1\t2\tdog\n")
    write(recordings, "a.labels.txt", "3\t4\tdog\n")
    write(recordings, "notes.txt", "nothing to see\n")
    collection = read(recordings)
    assert labels_of(collection)["a.mp4", 0.0][:5] == ["Background", "dog", "Background", "dog", "Background"]
    assert "recordings with several label tracks, which are joined: 1 (a.mp4)" in collection.findings
    assert "text files left out: 1 (notes.txt)" in collection.findings
