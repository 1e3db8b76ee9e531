"""Annotation files as other programs save them: read, or refused in a line that names the encoding."""

import json
import os

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import ave as ave_reader
from stgcma.preprocess.collections import avs_s4, music_avqa
from stgcma.preprocess.collections.text_files import check_encoding

AVE_TEXT = "Category&VideoID&Quality&StartTime&EndTime\nDog&aaa&good&0&2\nBird&bbb&good&0&2\n"
AVS_TEXT = "name,category,split\naaa,dog,train\n"


@pytest.fixture
def read(tmp_path, ask):
    """`read(kind, encode)` reads a small collection whose annotation files went through `encode`."""

    def run(kind, encode, change=lambda text: text):
        (tmp_path / "AVE").mkdir(exist_ok=True)
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos/00000001.mp4").touch()
        if kind == "text":
            for name in ("Annotations", "trainSet", "valSet", "testSet"):
                (tmp_path / f"{name}.txt").write_bytes(encode(change(AVE_TEXT)))
            return ave_reader.read(tmp_path)
        if kind == "csv":
            (tmp_path / "s4_meta_data.csv").write_bytes(encode(change(AVS_TEXT)))
            return avs_s4.read(tmp_path)
        for split in ("train", "val", "test"):
            text = change(json.dumps([ask()], indent=1, ensure_ascii=False))
            (tmp_path / f"avqa-{split}.json").write_bytes(encode(text))
        return music_avqa.read(tmp_path)

    return run


KINDS = pytest.mark.parametrize("kind", ["text", "csv", "json"])


@KINDS
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_named(read, kind, encoding):
    with pytest.raises(InputError) as caught:
        read(kind, lambda text: text.encode(encoding))
    said = str(caught.value)
    assert f"is encoded in {encoding[:6].upper()}; save it as UTF-8" in said
    assert "\0" not in said


def test_wide_text_is_told_by_its_marks_whatever_its_letters(read):
    text = AVE_TEXT.replace("Dog", "犬" * 4000)
    with pytest.raises(InputError, match="is encoded in UTF-16; save it as UTF-8"):
        read("text", lambda _: text.encode("utf-16"))


@KINDS
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    ],
    ids=["mark", "cr", "mark-and-crlf"],
)
def test_marks_and_line_ends_change_nothing(read, kind, encode):
    assert read(kind, encode).plan_sha256 == read(kind, str.encode).plan_sha256


def test_lines_are_counted_whatever_ends_them(read):
    def broken(text):
        return text.replace("\n", "\r").encode()

    with pytest.raises(InputError, match=r"Annotations\.txt:3: 4 fields in 'Bird&bbb&good&0'"):
        read("text", broken, lambda text: text.replace("Bird&bbb&good&0&2", "Bird&bbb&good&0"))
    with pytest.raises(InputError, match=r"avqa-train\.json:5: '7' after a record, must be , or \]"):
        read("json", broken, lambda _: '[\n{"question_deleted":\n1},\n{"question_deleted": 1}\n7]')


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("text", lambda text: text.replace("Bird", "Emeu salé"), r"txt:3: category 'Emeu salé' is not"),
        ("csv", lambda text: text.replace("dog", "chien mouillé"), r"csv:2: category 'chien mouillé' is not"),
        ("json", lambda text: text.replace('"two"', '"deux à deux"'), r"json:2: anser 'deux à deux' is not"),
        ("json", lambda text: text.replace("many", "très"), r"json:2: question_content 'How très .*' is not"),
        ("json", lambda text: text.replace('"[]"', '["é"]'), r"json:2: templ_values .* is not"),
    ],
)  # fmt: skip
def test_classes_and_answers_in_latin_1_are_named(read, kind, change, message):
    with pytest.raises(
        InputError, match=message + r" encoded in UTF-8 but perhaps in Latin-1 or Windows-1252"
    ):
        read(kind, lambda text: text.encode("latin-1"), change)
    read(kind, str.encode, change)  # in UTF-8 it is read


@KINDS
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\x14\0\x06\0", "is a ZIP archive, perhaps an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Office file"),
        (b"\x1f\x8b\x08\0", "is compressed by gzip"),
        (b"%PDF-1.4", "is a PDF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\xef\xbb\xbf\n<!DOCTYPE HTML>\n<html>", "is a web page, perhaps of a download that failed"),
    ],
)
def test_files_that_are_no_text_are_named(read, kind, content, message):
    with pytest.raises(InputError, match=message):
        read(kind, lambda _: content)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_may_be_separated_otherwise(read, separator):
    changed = read("csv", str.encode, lambda text: text.replace(",", separator))
    assert changed.plan_sha256 == read("csv", str.encode).plan_sha256


def test_what_is_no_plain_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "avqa-train.json")
    with pytest.raises(InputError, match=r"avqa-train\.json is no plain file"):
        check_encoding(tmp_path / "avqa-train.json")
