"""Masks of classes in one's own videos: the names of the classes, and the task that follows from them."""

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import masks
from stgcma.preprocess.collections.mask_classes import class_lines, read_mask_classes


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "Annotations/tram").mkdir(parents=True)
    (tmp_path / "Annotations/tram/00012.png").touch()
    (tmp_path / "tram.mp4").touch()
    return tmp_path


FILES = {
    "text": ("classes.txt", "tram\nbell\nstreet dog\n"),
    "Windows, BOM, no last line end": ("classes.txt", "\ufefftram\r\nbell\r\nstreet dog"),
    "blanks": ("classes.txt", " tram\nbell\t\nstreet  dog\n\n\n"),
    "table": ("classes.csv", "index,name\n1,tram\n2,bell\n3,street dog\n"),
    "table in another order, with background": (
        "classes.csv",
        "Name;ID\r\nstreet dog;3\r\nBackground;0\r\ntram;1\r\nbell;2\r\n",
    ),
}


@pytest.mark.parametrize("way", FILES)
def test_classes_make_the_task_avss(raw, way):
    name, text = FILES[way]
    (raw / name).write_bytes(text.encode())
    collection = masks.read(raw)
    assert collection.classes == ("background", "tram", "bell", "street dog")
    assert collection.task == "avss"
    (clip,) = collection.clips
    assert (clip.mask_kind, clip.mask_classes) == ("indices-or-void", 4)
    assert clip.fields["annotated"] == [0]


def test_without_classes_masks_are_binary(raw):
    collection = masks.read(raw)
    assert (collection.task, collection.classes) == ("avs", ())
    assert {(clip.mask_kind, clip.mask_classes) for clip in collection.clips} == {("objects", 0)}
    with pytest.raises(InputError, match=r"holds no classes\.txt, which task avss needs: one name a line"):
        masks.read(raw, options=masks.MaskOptions(task="avss"))


def test_masks_of_classes_can_be_read_as_binary(raw):
    (raw / "classes.txt").write_text("tram\n")
    collection = masks.read(raw, options=masks.MaskOptions(task="avs"))
    assert (collection.task, collection.classes, collection.clips[0].mask_kind) == ("avs", (), "objects")
    assert masks.MaskOptions(task="avs").to_json() == {}  # so that earlier shards have the same settings


REFUSED = {
    "an empty line": ("classes.txt", "tram\n\nbell\n", r"classes\.txt:2: the line is empty; line 2 names"),
    "nothing": ("classes.txt", "\n", r"classes\.txt names no class; write one name a line"),
    "the background": ("classes.txt", "Background\ntram\n", r"classes\.txt:1: 'Background' is the class 0"),
    "twins": ("classes.txt", "tram\nbell\nTram\n", r"classes\.txt: the classes 'tram' and 'Tram' differ"),
    "Latin-1": ("classes.txt", b"caf\xe9\n", r"classes\.txt:1: class 'caf.' is not encoded in UTF-8"),
    "control characters": ("classes.txt", "a\x07b\n", r"classes\.txt:1: the name of a class is"),
    "too many": ("classes.txt", "".join(f"c{n}\n" for n in range(255)), r"classes\.txt:255: index is 255"),
    "a gap": ("classes.csv", "index,name\n1,a\n3,c\n", r"classes\.csv: index 2 has no name; name all"),
    "an index twice": ("classes.csv", "index,name\n1,a\n1,b\n", r"classes\.csv:3: index 1 is also that of"),
    "void": ("classes.csv", "index,name\n255,a\n", r"classes\.csv:2: index is 255, must be a"),
    "0 as an object": ("classes.csv", "index,name\n0,a\n", r"classes\.csv:2: index is 0, must be a whole"),
    "a negative index": ("classes.csv", "index,name\n-1,a\n", r"classes\.csv:2: index is '-1', must be"),
    "no column": ("classes.csv", "number,name\n1,a\n", r"classes\.csv:1: the columns are number, name"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), REFUSED.values(), ids=REFUSED)
def test_a_line_at_fault_is_named(raw, name, text, message):
    (raw / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        masks.read(raw)


def test_two_files_are_refused(raw):
    for name, text in (FILES["text"], FILES["table"]):
        (raw / name).write_text(text)
    with pytest.raises(InputError, match=r"holds both classes\.txt and classes\.csv; one file"):
        masks.read(raw)


def test_written_classes_are_read_back(tmp_path):
    classes = ("background", "tram", "Glocke, groß", "街の犬", '"quoted"')
    (tmp_path / "classes.txt").write_text(class_lines(classes), encoding="utf-8")
    assert read_mask_classes(tmp_path, allow_links=False) == classes
