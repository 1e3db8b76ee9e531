"""No message is longer than 500 characters, nor more than one line, whatever the input quotes."""

import json

import pytest
from stgcma.console import message
from stgcma.errors import (
    MAX_MESSAGE_CHARACTERS,
    InputError,
    OtherSettingsError,
    StgcmaError,
    TooManyFailuresError,
    one_line,
    shortened,
)
from stgcma.preprocess.collections.json_records import read_records
from stgcma.preprocess.media.reasons import ClipError

LONG = "x" * 100_000


@pytest.mark.parametrize("length", [0, 1, 499, 500])
def test_a_short_text_stays_as_it_is(length):
    assert shortened("a" * length) == "a" * length


def test_a_long_text_keeps_its_beginning_and_its_end():
    text = shortened(f"a.txt:3: 4 fields in '{LONG}', expected 5")
    assert len(text) == MAX_MESSAGE_CHARACTERS
    assert text.startswith("a.txt:3: 4 fields in 'xxx")
    assert text.endswith("xxx', expected 5")
    assert "x … x" in text
    assert one_line("a\r\n  b\n") == "a b "


def test_a_name_in_a_message_does_not_steer_the_terminal():
    assert str(InputError("a\x1b[31mb\x9b\x85c\u2028d\udcff\t é × …")) == (
        r"a\x1b[31mb\x9b\x85c\u2028d\udcff\t é × …"
    )


@pytest.mark.parametrize("kind", [StgcmaError, InputError, OtherSettingsError, TooManyFailuresError])
def test_errors_are_one_short_line_and_leave_room_for_the_programs_name(kind):
    said = str(kind(f"RAW {LONG}\nis not a folder"))
    assert len(f"stgcma: {said}") <= MAX_MESSAGE_CHARACTERS
    assert said.endswith("x is not a folder")
    assert kind(said).args == (said,)


def test_messages_of_clips_are_short():
    error = ClipError("unreadable", f"mask {LONG} is damaged")
    assert len(error.message) == MAX_MESSAGE_CHARACTERS


def test_each_line_that_is_written_is_short(capsys):
    message(f"a\n{LONG}\nb")
    assert [len(line) for line in capsys.readouterr().err.splitlines()] == [1, MAX_MESSAGE_CHARACTERS, 1]


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    for name in ("AVE", "raw_videos", "MUSIC-AVQA-videos-Real", "dog"):
        (folder / name).mkdir(parents=True)
    return folder


def write(raw, name, text):
    (raw / name).write_text(text)
    return raw


def ave_files(raw, row, last="Dog&aaa&good&0&2"):
    for name in ("Annotations", "trainSet", "valSet"):
        write(raw, f"{name}.txt", row)
    return write(raw, "testSet.txt", last)


def avqa_files(raw, **changes):
    record = {
        "video_id": "1",
        "question_id": 1,
        "type": '["Audio", "Counting"]',
        "question_content": "How many?",
        "templ_values": "[]",
        "anser": "two",
    }
    for split in ("train", "val", "test"):
        write(raw, f"avqa-{split}.json", json.dumps([record | changes]))
    return raw


def table(raw, text):
    return write(raw, "s4_meta_data.csv", text)


COLLECTIONS = [
    ("ave", lambda raw: ave_files(raw, LONG)),
    ("ave", lambda raw: ave_files(raw, f"Dog&aaa&good&{LONG}&2")),
    ("ave", lambda raw: ave_files(raw, "Dog&aaa&good&0&2", f"{LONG}&aaa&good&0&2")),
    ("ave", lambda raw: ave_files(raw, f"Dog{LONG}&aaa&good&0&2\ndog{LONG}&aaa&good&0&2")),
    ("avs-s4", lambda raw: table(raw, LONG)),
    ("avs-s4", lambda raw: table(raw, ",".join(["column"] * 9999))),
    ("avs-s4", lambda raw: table(raw, f"name,category,split\na,b,{LONG}")),
    ("avs-s4", lambda raw: table(raw, f"name,category,split\n{LONG}")),
    ("music-avqa", lambda raw: avqa_files(raw, type=LONG)),
    ("music-avqa", lambda raw: avqa_files(raw, templ_values=LONG)),
    ("music-avqa", lambda raw: avqa_files(raw, anser=[LONG])),
    ("music-avqa", lambda raw: avqa_files(raw, question_id=[LONG])),
    ("music-avqa", lambda raw: avqa_files(raw, question_content=f"<LL> {LONG}?")),
    ("music-avqa", lambda raw: avqa_files(raw, **{LONG: 1, "anser": None})),
    ("folder", lambda raw: write(raw, "notes." + "x" * 200, "")),
    (LONG, lambda raw: raw),
]


@pytest.mark.parametrize(("collection", "make"), COLLECTIONS)
def test_whatever_the_annotations_hold_the_message_is_one_short_line(stgcma, raw, tmp_path, collection, make):
    result = stgcma("preprocess", collection, make(raw), tmp_path / "out")
    assert result.status == 2, result.stderr
    assert result.stderr.startswith("stgcma: ")
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) <= MAX_MESSAGE_CHARACTERS + 1


COMMANDS = [
    (LONG,),
    ("preprocess", "ave", LONG, "out"),
    ("preprocess", "ave", "raw", LONG),
    ("preprocess", "ave", "raw", "out", "--workers", LONG),
    ("preprocess", "ave", "raw", "out", "--engine", LONG),
    ("preprocess", "ave", "raw", "out", "--features", LONG),
    ("preprocess", "ave", "raw", "out", f"--{LONG}"),
    ("train", "out", "--preset", LONG, "--run", "run"),
    ("train", "out", "--preset", "ave-demo", "--run", "run", "--set", LONG),
    ("train", "out", "--preset", "ave-demo", "--run", "run", "--set", f"{LONG}=1"),
    ("evaluate", LONG),
    ("predict", LONG, LONG),
    ("shards", "verify", LONG),
    ("shards", "show", LONG, LONG),
    ("report", LONG),
    ("model", LONG),
    ("synthesize", LONG, "raw"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda given: " ".join(given)[:40])
def test_whatever_is_asked_for_no_line_is_long_and_none_is_a_traceback(
    stgcma, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    result = stgcma(*arguments)
    assert result.status == 2, result.stderr[-2000:]
    assert max(map(len, result.stderr.splitlines())) <= MAX_MESSAGE_CHARACTERS


def test_json_that_is_none_is_named_shortly(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(f'[{{"{LONG}" 1}}]')
    with pytest.raises(InputError, match="the record here is not JSON") as caught:
        list(read_records(path))
    assert len(str(caught.value)) <= MAX_MESSAGE_CHARACTERS
