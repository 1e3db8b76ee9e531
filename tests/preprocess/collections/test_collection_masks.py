"""Masks in one's own videos: names of files, layouts, splits, and clips of five seconds."""

from collections import Counter

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import masks
from stgcma.preprocess.collections.mask_names import MaskName, read_names


@pytest.fixture
def raw(tmp_path):
    """`raw({"Annotations/a": [names], …}, videos=…)` writes empty files."""

    def write(annotations, videos=("videos/a.mp4", "b.mov", "videos/c.mp4"), **texts):
        for folder, names in annotations.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for name in names:
                (tmp_path / folder / name).touch()
        for video in videos:
            (tmp_path / video).parent.mkdir(exist_ok=True)
            (tmp_path / video).touch()
        for name, content in texts.items():
            path = tmp_path / name.replace("__", "/").replace("_csv", ".csv").replace("_txt", ".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def numbered(*numbers):
    return [f"{number:05d}.png" for number in numbers]


THREE = {f"Annotations/{name}": numbered(0) for name in "abc"}


@pytest.mark.parametrize(
    ("names", "numbers", "seconds"),
    [
        (["00015.png", "00000.png"], [0, 15], [0, 1.5]),  # DAVIS
        (["0000000.png", "0000030.PNG"], [0, 30], [0, 3]),  # seven digits
        (["frame_000010.png", "frame_2.png", "Frame7.png"], [2, 7, 10], [0.2, 0.7, 1]),  # CVAT
        (["10.5.png", "3,25.png", "000000.9375.png"], [None] * 3, [0.9375, 3.25, 10.5]),
    ],
)
def test_names_are_frames_or_times(names, numbers, seconds):
    found, others = read_names(names, frame_rate=10, where="a")
    assert [mask.number for mask in found] == numbers
    assert [mask.seconds for mask in found] == seconds
    assert others == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["3.png"],
            r"^a/3\.png could be frame 3 or second 3: call it 00003\.png for the frame, 3\.0\.png for the",
        ),
        (["00003.png", "3.5.png"], r"^a: 00003\.png is called by its frame, 3\.5\.png by its time"),
        (["3.5.png", "3,50.png"], r"^a: 3,50\.png and 3\.5\.png are masks of the same frame"),
        (["00003.png", "frame3.png"], r"^a: 00003\.png and frame3\.png are masks of the same frame"),
        (["mask.png"], r"^a/mask\.png must be called by the number of its frame"),
        (["-1.5.png"], r"^a/-1\.5\.png must be called"),
        (["1e5.png"], r"^a/1e5\.png must be called"),
    ],
)
def test_a_name_that_is_not_clear_is_refused(names, message):
    with pytest.raises(InputError, match=message):
        read_names(names, frame_rate=30, where="a")


def test_a_clip_has_the_annotated_frame_of_every_second(raw):
    # At 10 frames a second: seconds 0, 0, 2 (nearest to 2.9375 is 29), 6, and 12.
    names = numbered(0, 9, 21, 29, 61, 120)
    collection = masks.read(raw({"Annotations/a": names}, videos_csv="video,frame_rate\na.mp4,10\n"))
    first, second, third = collection.clips
    assert [clip.start_seconds for clip in collection.clips] == [0, 5, 10]
    assert first.masks == ("Annotations/a/00009.png", "", "Annotations/a/00029.png", "", "")
    assert first.frame_numbers == (9, 19, 29, 39, 49)
    assert first.frame_seconds == (0.9, 1.9375, 2.9, 3.9375, 4.9375)
    assert first.fields == {"video": "a", "start": 0, "annotated": [0, 2]}
    assert second.masks[1] == "Annotations/a/00061.png"
    assert (third.fields["annotated"], third.end_seconds) == ([2], 15)
    assert len({clip.key for clip in collection.clips}) == 3
    assert (
        "2 masks were left out: another one of the same second is used (first: Annotations/a/00000.png)"
        in (collection.findings)
    )


def test_times_need_no_frame_rate(raw):
    (clip,) = masks.read(raw({"Annotations/a": ["7.5.png", "9.9.png"]})).clips
    assert (clip.start_seconds, clip.end_seconds, clip.frame_numbers) == (5, 10, ())
    assert clip.frame_seconds == (5.9375, 6.9375, 7.5, 8.9375, 9.9)


LAYOUTS = {
    "a folder deeper": {f"Annotations/480p/{name}": numbered(0) for name in "abc"},
    "both depths": {
        "Annotations/a": numbered(0), "Annotations/480p/b": numbered(0), "Annotations/480p/c": numbered(0)
    },
    "hidden files and folders": {
        **THREE, "Annotations/.cache": numbered(0), "Annotations/a": ["00000.png", ".DS_Store"]
    },
}  # fmt: skip


@pytest.mark.parametrize("annotations", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(raw, annotations):
    collection = masks.read(raw(annotations))
    assert {clip.source for clip in collection.clips} == {"videos/a.mp4", "b.mov", "videos/c.mp4"}
    assert not any(clip.problem for clip in collection.clips)


SETS = {"ImageSets__2017__train_txt": "a\nc\n", "ImageSets__2017__val_txt": "b\n"}
TABLES = {
    "comma": "video,split\na,train\nb,val\nc,train\n",
    "semicolon, Windows": "\ufeffVideo;Split\r\na.mp4;Train\r\nb.mov;valid\r\nvideos\\c.mp4;training\r\n",
    "tabs and a rate": "name\tfps\tset\na\t25\ttrain\nb\t29,97\tval\nc\t\ttrain\n",
}


@pytest.mark.parametrize(
    "texts", [SETS, *({"videos_csv": table} for table in TABLES.values())], ids=["sets", *TABLES]
)
def test_splits_are_those_of_image_sets_or_the_table(raw, texts):
    collection = masks.read(raw(THREE, **texts))
    splits = {clip.fields["video"]: clip.split for clip in collection.clips}
    assert splits == {"a": "train", "b": "val", "c": "train"}
    assert "no video is in test" in collection.findings


def test_without_splits_videos_are_divided_by_their_names(raw):
    names = [f"v{number}" for number in range(20)]
    folder = raw(
        {f"Annotations/{n}": ["0.5.png", "7.5.png"] for n in names}, [f"videos/{n}.mp4" for n in names]
    )
    clips = masks.read(folder).clips
    by_video = {}
    for clip in clips:
        by_video.setdefault(clip.fields["video"], set()).add(clip.split)
    assert all(len(splits) == 1 for splits in by_video.values())
    assert sorted(split for splits in by_video.values() for split in splits).count("test") == 2


REFUSED = {
    "no masks": ({}, {}, "holds no masks as Annotations/NAME/00000.png"),
    "two folders of one video": (
        {"Annotations/480p/a": numbered(0), "Annotations/a": numbered(0)}, {}, "are masks of one video"
    ),
    "two splits": (THREE, {**SETS, "ImageSets__2017__test_txt": "x\nb\n"}, r"val\.txt:1: 'b' is in test too"),
    "an unknown split": (THREE, {"videos_csv": "video,split\na,dev\n"}, r"videos\.csv:2: split is 'dev'"),
    "one split left out": (
        THREE, {"videos_csv": "video,split\na,train\nb,\nc,val\n"}, r"videos\.csv:3: no split of 'b'"
    ),
    "a video twice": (
        THREE, {"videos_csv": "video,split\na,train\na.mp4,val\n"}, r"videos\.csv:3: 'a' is also named in"
    ),
    "a rate of 0": (THREE, {"videos_csv": "video,fps\na,0\n"}, r"videos\.csv:2: frame_rate is 0, must"),
    "a rate in words": (THREE, {"videos_csv": "video,fps\na,fast\n"}, r"videos\.csv:2: frame_rate is 'fast'"),
    "Latin-1": (THREE, {"videos_csv": b"video,split\n\xe9,train\n"}, r"videos\.csv:2: video .é. is"),
    "no column": (THREE, {"videos_csv": "clip,split\na,train\n"}, r"videos\.csv:1: the columns are clip,"),
}  # fmt: skip


@pytest.mark.parametrize(("annotations", "texts", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_named(raw, annotations, texts, message):
    with pytest.raises(InputError, match=message):
        masks.read(raw(annotations, **texts))


def test_nothing_is_left_out_silently(raw):
    annotations = {
        **THREE,
        "Annotations/a": ["00000.png", "00030.jpg", "notes.txt"],
        "Annotations/d": numbered(0),
        "Annotations/e": numbered(0),
        "Annotations/f": [".keep"],
        "JPEGImages/e": ["00000.jpg"],
    }
    collection = masks.read(raw(annotations, ImageSets__train_txt="a\nb\nd\ne\n", ImageSets__test_txt="g\n"))
    lost = {clip.fields["video"]: clip.problem[1] for clip in collection.clips if clip.problem}
    assert lost == {
        "d": "Annotations/d is of 'd', of which RAW has no video",
        "e": "Annotations/e is of 'e', of which RAW has no video: make one of JPEGImages/e and its sound",
    }
    assert set(collection.findings) == {
        "2 files in folders of masks are no PNG pictures and were left out (first: Annotations/a/00030.jpg)",
        "2 folders of masks have no video of their name (first: Annotations/d)",
        "1 folders of masks are in no list of ImageSets and were left out (first: Annotations/c)",
        "1 videos have a split, but no masks (first: g)",
        "no video is in val",
    }


@pytest.mark.parametrize("file", ["videos_csv", "ImageSets__train_txt", "classes_txt"])
def test_a_file_that_a_link_puts_outside_raw_is_not_read(raw, tmp_path_factory, file):
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_bytes(b"password: \xe9\n")
    folder = raw(THREE, **{file: ""})
    path = folder / file.replace("__", "/").replace("_csv", ".csv").replace("_txt", ".txt")
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises(InputError, match=rf"{path.name} is a link that leads out of .*; see the option"):
        masks.read(folder)
    with pytest.raises(InputError, match="password"):
        masks.read(folder, allow_links=True)


def test_folders_masks_and_names_are_not_compared_with_all_others(raw, monkeypatch):
    counts = Counter()

    def counted(name, function):
        def call(*values, **options):
            counts[name, *map(str, values[1:]), *options.items()] += 1
            return function(*values, **options)

        return call

    names = [f"v{number}" for number in range(20)]
    folder = raw({f"Annotations/{name}": numbered(*range(0, 900, 30)) for name in names}, videos=["b.mov"])
    monkeypatch.setattr(masks, "folder_names", counted("listed", masks.folder_names))
    monkeypatch.setattr(masks.OwnVideos, "suggestion", counted("suggested", masks.OwnVideos.suggestion))
    monkeypatch.setattr(MaskName, "__eq__", counted("compared", object.__eq__))
    collection = masks.read(folder)
    assert len(collection.clips) == 20 * 6
    assert "20 folders of masks have no video of their name (first: Annotations/v0)" in collection.findings
    total = Counter()
    for (name, *_), count in counts.items():
        total[name] += count
    assert max(count for (name, *_), count in counts.items() if name == "listed") == 1
    assert total["suggested"] <= 3
    assert total["compared"] <= len(names) * 30


def test_two_folders_of_one_video_are_refused(raw):
    folder = raw({"Annotations/a": numbered(0), "Annotations/a.mp4": numbered(30)})
    message = "Annotations/a and Annotations/a.mp4 are masks of one video, videos/a.mp4; put them into one"
    with pytest.raises(InputError, match=message):
        masks.read(folder)


def test_the_split_is_that_of_the_video_whatever_its_folder_is_called(raw):
    videos = [f"videos/v{number}.mp4" for number in range(20)]
    plain = masks.read(raw({f"Annotations/v{number}": numbered(0) for number in range(20)}, videos))
    for number in range(20):
        (plain_folder := raw({}, videos) / "Annotations" / f"v{number}").rename(f"{plain_folder}.mp4")
    suffixed = masks.read(raw({}, videos))
    assert {clip.source: clip.split for clip in suffixed.clips} == {
        clip.source: clip.split for clip in plain.clips
    }
