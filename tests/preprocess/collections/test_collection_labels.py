"""One's own clips with a table of labels: dialects, labels, splits, files, rows at fault by their line."""

import io
import unicodedata

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import labels
from stgcma.preprocess.collections.preflight import inspect

VIDEOS = ("a.mp4", "b.MOV", "clips/c.mp4", "clips/d.webm")


@pytest.fixture
def read(tmp_path):
    """Writes `labels.csv` beside empty videos, and reads the collection."""

    def made(content, *, name="labels.csv", videos=VIDEOS):
        for video in videos:
            (tmp_path / video).parent.mkdir(exist_ok=True)
            (tmp_path / video).touch()
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return labels.read(tmp_path)

    made.raw = tmp_path
    return made


def tagged(collection):
    """Source to the names of its tags."""
    found = {}
    for clip in collection.clips:
        ((name, content),) = clip.members
        tags = np.load(io.BytesIO(content))
        assert (name, tags.dtype, tags.shape) == ("tags.npy", np.uint8, (len(collection.classes),))
        found[clip.source] = [one for one, tag in zip(collection.classes, tags, strict=True) if tag]
    return found


ONE = {"a.mp4": ["dog, barking"], "b.MOV": ["rain"], "clips/c.mp4": ["café"]}
ONE_TABLE = 'file,label,split\na.mp4,"dog, barking",train\nb.MOV,rain,val\nclips/c.mp4,café,test\n'


@pytest.mark.parametrize(
    "content",
    [
        ONE_TABLE,
        b"\xef\xbb\xbf" + ONE_TABLE.replace("\n", "\r\n").encode(),
        'file;label;split\r\na.mp4;"dog, barking";train\r\nb.MOV;rain;val\r\nclips/c.mp4;café;test',
        "file\tlabel\tsplit\na.mp4\tdog, barking\ttrain\nb.MOV\train\tval\nclips/c.mp4\tcafé\ttest\n",
        'sep=;\nfile;label;split\na.mp4;"dog, barking";train\nb.MOV;rain;val\nclips/c.mp4;café;test\n',
        '"Filename","Class","Split"\n"a.mp4","dog, barking","Training"\n"b.MOV","rain","VALID"\n'
        '"clips/c.mp4","café","testing"\n\n',
        ',split,label,file\n0,train,"dog, barking",./a.mp4\n1,val,rain,b.MOV\n2,test,café,clips\\c.mp4\n',
        'path,category,split,notes\na,"dog,  barking ",train,good\nb,rain,val,\nclips/c,cafe\u0301,test,x\n',
        '# file, label, split\r a.mp4,"dog, barking",train\r b.MOV,rain,val\r clips/c.mp4,café,test\r',
        'file,label,split,,\na.mp4,"dog, barking",train,,\nb.MOV,rain,val,,\nclips/c.mp4,café,test,,\n,,,,\n',
    ],
    ids=["comma", "bom", "semicolon", "tab", "excel", "quotes", "pandas", "stems", "mac", "padded"],
)
def test_one_label_a_clip_in_ten_dialects(read, content):
    collection = read(content)
    assert tagged(collection) == ONE
    assert [clip.split for clip in collection.clips] == ["train", "val", "test"]
    assert collection.classes == ("café", "dog, barking", "rain")
    assert collection.features == {"labels_per_clip": "one"}
    assert collection.clips[0].fields == {"category": "dog, barking"}


SEVERAL = {"a.mp4": ["dog", "rain"], "b.MOV": [], "clips/c.mp4": ["rain"]}


@pytest.mark.parametrize(
    "content",
    [
        "file,labels\na.mp4,dog|rain\nb.MOV,\nclips/c.mp4,rain\n",
        "file,labels\na.mp4,dog;rain;\nb.MOV,\nclips/c.mp4,rain;\n",
        'file,tags\na.mp4,"dog, rain"\nb.MOV,\nclips/c.mp4,rain\n',
        "file;labels\na.mp4;dog,rain\nb.MOV;\nclips/c.mp4;rain\n",
        'file;labels\na.mp4;"dog;rain"\nb.MOV;\nclips/c.mp4;rain\n',
        "file,labels\na.mp4,rain\nb.MOV,\nclips/c.mp4,rain\na.mp4,dog\n",
        "file\tlabels\r\na.mp4\tdog|rain\r\nb.MOV\t\r\nclips/c.mp4\train\r\n",
        'fname,labels,split\na,"rain,dog",train\nb,,val\nclips/c,rain,test\n',
    ],
)
def test_several_labels_a_clip(read, content):
    collection = read(content)
    assert tagged(collection) == SEVERAL
    assert collection.features == {"labels_per_clip": "several"}
    assert {clip.source: sorted(clip.fields["categories"]) for clip in collection.clips} == SEVERAL
    (said,) = [line for line in collection.findings if "separated" in line]
    assert said.endswith("clips by their number of labels: 1 with 0, 1 with 1, 1 with 2")


def test_one_separator_holds_for_the_whole_table(read):
    collection = read('file,labels\na.mp4,"dog, barking|rain"\nb.MOV,"dog, barking"\n')
    assert tagged(collection) == {"a.mp4": ["dog, barking", "rain"], "b.MOV": ["dog, barking"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "file,label\nx.mp4,dog\na.mp4,dog\ny.mp4,dog\n",
            r"csv:2: 'x.mp4' is not a file in .*; .* 1 more rows: 4$",
        ),
        ("file,label\nd.webm,dog\n", r"csv:2: 'd.webm' is not a file in .*; there is 'clips/d.webm'$"),
        ("file,label\n../a.mp4,dog\n", r"csv:2: file '../a.mp4' must be a path below"),
        ("file,label\n/etc/a.mp4,dog\n", r"csv:2: file '/etc/a.mp4' must be a path below"),
        ("file,label\nC:\\a.mp4,dog\n", r"csv:2: file 'C:\\\\a.mp4' must be a path below"),
        ("file,label\n,dog\n", r"csv:2: file is '', must be the path of a video"),
        ("file,label\nlabels.csv,dog\n", r"csv:2: file 'labels.csv' is not a video, by its suffix"),
        (
            "file,label\na.mp4,dog\n./a.mp4,rain\n",
            r"csv:3: a.mp4 is in line 2 already; call the column labels",
        ),
        ("file,label\na.mp4,\n", r"csv:2: the label is empty"),
        ("file,label\na.mp4,dog|rain\n", r"csv:2: label 'dog\|rain' holds '\|'; call the column labels"),
        ("file,label\na.mp4,dog;rain\n", r"csv:2: label 'dog;rain' holds ';'"),
        ("file,label\na.mp4,Dog\nb.MOV,dog\n", r"csv:3: the classes 'Dog' and 'dog' differ only in case"),
        (
            b"file,label\na.mp4,caf\xe9\n",
            r"csv:2: label 'café' is not encoded in UTF-8 but perhaps in Latin-1",
        ),
        (b"file,label\n\xe9.mp4,dog\n", r"csv:2: file 'é.mp4' is not encoded in UTF-8"),
        ("file,label,split\na.mp4,dog,dev\n", r"csv:2: split is 'dev', must be one of train, val, test"),
        (
            "file,label,split\na.mp4,dog,train\nb.MOV,dog,\n",
            r"csv:3: split is empty, but other rows have one",
        ),
        ("file,label,labels\na.mp4,dog,rain\n", r"csv: the header has both the columns label and labels"),
        ("file,split\na.mp4,train\n", r"csv: the header has neither a column label nor a column labels"),
        ("a.mp4,dog\n", r"csv:1: the columns are a.mp4, dog; there must be 'file'"),
        ("file,label\n", r"csv holds no rows below its header"),
        ("file,labels\na.mp4,\n", r"csv: no row has a label"),
        ("file,label\na.mp4,dog,barking\n", r"csv:2: 3 cells in 'a.mp4,dog,barking', expected 2"),
        ("file,labels\na.mp4,dog;;rain\n", r"csv:2: labels 'dog;;rain' hold an empty one"),
        ("file,labels\na.mp4,dog;rain\nb.MOV,dog|rain\n", r"csv:2: .* by ';', but by '\|' in .*csv:3"),
        ("file,labels\na.mp4,dog|dog\n", r"csv:2: the label 'dog' is given twice for a.mp4"),
        ("file,labels\na.mp4,dog\na.mp4,dog\n", r"csv:3: the label 'dog' is given twice for a.mp4"),
        ("file,labels\na.mp4,dog\na.mp4,\n", r"csv:3: a.mp4 is in line 2 already, and one has no label"),
        (
            "file,labels,split\na.mp4,dog,train\na.mp4,rain,val\n",
            r"csv:3: a.mp4 is in another split in line 2",
        ),
    ],
)
def test_a_row_at_fault_is_named_by_its_line(read, content, said):
    with pytest.raises(InputError, match=said):
        read(content)


def test_a_name_without_suffix_must_be_that_of_one_video(read):
    with pytest.raises(InputError, match=r"csv:2: file 'a' may be a.mp4 or a.webm; add the suffix"):
        read("file,label\na,dog\n", videos=("a.mp4", "a.webm"))


def test_a_link_that_leads_out_is_no_file(read, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.mp4"
    outside.touch()
    (read.raw / "x.mp4").symlink_to(outside)
    with pytest.raises(InputError, match=r"'x.mp4' is not a file"):
        read("file,label\nx.mp4,dog\n")
    assert labels.read(read.raw, allow_links=True).clips[0].source == "x.mp4"


def test_two_tables_are_refused(read):
    read(ONE_TABLE)
    with pytest.raises(InputError, match=r"holds labels.csv and labels.tsv; keep one of them"):
        read(ONE_TABLE, name="labels.tsv")


def test_a_missing_table_says_what_to_write(tmp_path):
    with pytest.raises(
        InputError, match=r"labels.csv is missing; write a table with the columns file and label"
    ):
        labels.read(tmp_path)


def test_many_labels_are_refused(read, monkeypatch):
    monkeypatch.setattr(labels, "_MOST_CLASSES", 1)
    with pytest.raises(InputError, match=r"csv:3: over 1 different labels; is this the column of classes\?"):
        read("file,label\na.mp4,dog\nb.MOV,rain\n")


MANY = tuple(f"{number:03d}.mp4" for number in range(60))


@pytest.mark.parametrize("column", ["label", "labels"])
def test_without_splits_clips_are_divided_by_their_paths(read, column):
    rows = [f"{video},{'dog' if number % 2 else 'rain'}\n" for number, video in enumerate(MANY)]
    collection = read(f"file,{column}\n" + "".join(rows), videos=MANY)
    of_split = {
        split: [c for c in collection.clips if c.split == split] for split in ("train", "val", "test")
    }
    assert {split: len(clips) for split, clips in of_split.items()} == {"train": 48, "val": 6, "test": 6}
    if column == "label":  # each class is divided
        assert [clip.fields["category"] for clip in of_split["test"]].count("dog") == 3
    splits = {clip.source: clip.split for clip in collection.clips}
    again = read(f"file,{column}\n" + "".join(reversed(rows)), videos=MANY)
    assert {clip.source: clip.split for clip in again.clips} == splits


def test_without_val_some_training_clips_are_used(read):
    rows = [f"{video},dog,{'test' if number < 20 else 'train'}\n" for number, video in enumerate(MANY)]
    collection = read("file,label,split\n" + "".join(rows), videos=MANY)
    counts = {split: sum(c.split == split for c in collection.clips) for split in ("train", "val", "test")}
    assert counts["test"] == 20
    assert 1 <= counts["val"] <= 10
    assert collection.findings == (
        f"no row has the split val: {counts['val']} training clips are used as val",
    )


def test_what_is_left_out_is_said_before_decoding(read):
    collection = read(
        'file,label,split,notes\na.mp4,dog,train,x\nb.MOV,rain,val,y\nclips/c.mp4,rain,test,"z"\n'
    )
    lines = list(inspect(collection, read.raw).lines())
    assert "  columns that are not used: notes" in lines
    assert "  videos that no clip uses: 1; videos in two splits: none" in lines
    assert "  classes without a training clip: 1: 'rain' (val and test)" in lines


def test_several_labels_are_counted_before_decoding(read):
    collection = read("file,labels,split\na.mp4,dog|rain,train\nb.MOV,rain,val\nclips/c.mp4,bell,test\n")
    found = inspect(collection, read.raw)
    assert found.split_classes == {"train": 2, "val": 1, "test": 1}
    assert found.untrained == {"bell": "test"}


@pytest.mark.parametrize("column", ["label", "labels"])
def test_a_tenth_of_the_training_clips_becomes_val_and_no_class_loses_its_only_one(read, column):
    """Of any 12 names: with a hash below 0.1 alone, none of these is taken (checked for each set)."""
    for letter in "abcdef":
        videos = [f"{letter}{number}.mp4" for number in range(12)]
        rows = [f"{video},{'cat' if video[1:] == '0.mp4' else 'dog'},train\n" for video in videos]
        collection = read(f"file,{column},split\n{''.join(rows)}t.mp4,cat,test\n", videos=(*videos, "t.mp4"))
        val = [clip.source for clip in collection.clips if clip.split == "val"]
        assert len(val) == 1
        assert column == "labels" or val != [f"{letter}0.mp4"]


def test_two_training_clips_of_a_class_give_one_to_val(read):
    rows = "a.mp4,dog,train\nb.MOV,dog,train\nclips/c.mp4,cat,train\nclips/d.webm,dog,test\n"
    collection = read(f"file,label,split\n{rows}")
    counts = {split: [c.source for c in collection.clips if c.split == split] for split in ("train", "val")}
    assert len(counts["val"]) == 1
    assert "clips/c.mp4" in counts["train"]


def test_a_split_without_clips_is_told(read):
    assert "no clip is in val or test" in read("file,label\na.mp4,dog\nb.MOV,dog\n").findings
    assert "no clip is in test" in read("file,label,split\na.mp4,dog,train\nb.MOV,dog,val\n").findings


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("named", ["vidéos/café.mp4", "vidéos/café"])
def test_a_name_that_macos_decomposed_is_found(read, form, named):
    video = read.raw / unicodedata.normalize("NFD", "vidéos/café.mp4")
    video.parent.mkdir()
    video.touch()
    collection = read(f"file,label\n{unicodedata.normalize(form, named)},dog\n")
    assert collection.clips[0].source == video.relative_to(read.raw).as_posix()
