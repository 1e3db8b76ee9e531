"""Questions about one's own videos, in the variants that people write them in."""

import json

import pytest
from stgcma.errors import InputError, StgcmaError
from stgcma.preprocess.collections import questions
from stgcma.preprocess.collections.own_files import OwnVideos
from stgcma.preprocess.collections.preflight import inspect
from stgcma.shards.members import read_questions
from stgcma.shards.schema import question_types

CUPS = {"video": "a.mp4", "question": "How many cups are there?", "answer": "two"}
WHO = {"video": "b.mp4", "question": "Who speaks?", "answer": "Anna", "type": "person"}
DOG = {"video": "c.mov", "question": "Is a dog barking?", "answer": "yes", "type": "sound"}
SPLIT = [CUPS | {"split": "train"}, WHO | {"split": "val"}, DOG | {"split": "test"}]


@pytest.fixture
def raw(tmp_path):
    """`raw(content)` writes `questions.jsonl`, from records, text or bytes, beside three videos."""

    def write(content, name="questions.jsonl"):
        (tmp_path / "videos").mkdir(exist_ok=True)
        for video in ("videos/a.mp4", "b.mp4", "videos/c.mov"):
            (tmp_path / video).touch()
        content = lines(*content) if isinstance(content, list) else content
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def lines(*records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def asked(clip):
    ((name, content),) = clip.members
    assert name == "qa.json"
    return json.loads(content)


def test_a_video_is_a_clip_with_all_its_questions(raw):
    collection = questions.read(raw([*SPLIT, CUPS | {"question": "Are  there cups", "split": "train"}]))
    assert [(clip.source, clip.split) for clip in collection.clips] == [
        ("videos/a.mp4", "train"),
        ("b.mp4", "val"),
        ("videos/c.mov", "test"),
    ]
    assert asked(collection.clips[0]) == [
        {
            "question_id": 1,
            "type": ["other"],
            "template": "How many cups are there",
            "words": ["How", "many", "cups", "are", "there"],
            "answer": "two",
        },
        {
            "question_id": 4,
            "type": ["other"],
            "template": "Are there cups",
            "words": ["Are", "there", "cups"],
            "answer": "two",
        },
    ]
    assert collection.rows == {"train": 2, "val": 1, "test": 1}


def test_the_vocabulary_is_that_of_the_training_questions(raw):
    collection = questions.read(raw(SPLIT))
    assert collection.vocabulary == {
        "words": ["<pad>", "How", "many", "cups", "are", "there"],
        "answers": ["two"],
        "types": ["other", "person", "sound"],
    }
    assert [line for line in collection.findings if "unseen" in line] == [
        "2 questions of val and test hold words unseen in training, which become <pad> (first: line 2)",
        "2 questions of val and test have answers unseen in training: they cannot be right (first: line 2)",
    ]


SPELLED_SPLITS = [
    one | {"split": name} for one, name in zip(SPLIT, ("Training", "VALID", "testing"), strict=True)
]
FROM_RAW = ("videos/a.mp4", "b.mp4", "videos/c.mov")
VARIANTS = {
    "byte-order mark": b"\xef\xbb\xbf" + lines(*SPLIT).encode(),
    "line ends of Windows": lines(*SPLIT).replace("\n", "\r\n"),
    "line ends of old Macs": lines(*SPLIT).replace("\n", "\r"),
    "blank lines and no line end": "\n" + lines(*SPLIT).replace("\n", "\n  \n").rstrip(),
    "a JSON list": json.dumps(SPLIT, indent=2),
    "a JSON list with a byte-order mark": "\ufeff" + json.dumps(SPLIT),
    "paths of Windows": lines(*[one | {"video": ".\\" + one["video"]} for one in SPLIT]),
    "names without suffix": lines(*[one | {"video": one["video"][0]} for one in SPLIT]),
    "paths in RAW": lines(*[one | {"video": path} for one, path in zip(SPLIT, FROM_RAW, strict=True)]),
    "blanks around": lines(*[{name: f" {text} " for name, text in one.items()} for one in SPLIT]),
    "names of splits": lines(*SPELLED_SPLITS),
    "null for what is left out": lines(SPLIT[0] | {"type": None}, *SPLIT[1:]),
    "escapes": lines(*SPLIT).replace("?", "\\u003f"),
}


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS)
def test_variants_give_the_same_questions(raw, content):
    def told(collection):
        # The number of a question is that of its line.
        clips = [[q | {"question_id": 0} for q in asked(clip)] for clip in collection.clips]
        return clips, [(clip.source, clip.split) for clip in collection.clips], collection.vocabulary

    expected = told(questions.read(raw(SPLIT)))
    assert told(questions.read(raw(content))) == expected


LATIN = lines(CUPS).encode() + '{"video":"b","question":"Où?","answer":"là"}'.encode("latin-1")
REFUSED = {
    "no JSON": ('{"video": "a.mp4", question: 1}\n', ":1 is not JSON"),
    "an object over several lines": (json.dumps(CUPS, indent=2), ":1 is not JSON"),
    "a table": ("video,question,answer\na.mp4,Who?,Anna\n", ":1 is not JSON"),
    "a number in a line": (lines(CUPS) + "3\n", ":2: a int, expected one JSON object a line"),
    "a key twice": (
        lines(CUPS) + '{"video": "b.mp4", "question": "Who?", "answer": "a", "answer": "b"}\n',
        ":2 is not JSON: an object has the key 'answer' twice",
    ),
    "a key twice in a list": ('[\n{"video": "b", "video": "b"}]', ":2: the record here is not JSON .an "),
    "no answer": (lines(CUPS, {"video": "b", "question": "Who?"}), ":2: answer is missing; the fields are"),
    "an empty question": (lines(CUPS, WHO | {"question": " "}), ":2: question is empty"),
    "a question of marks": (lines(WHO | {"question": " ??"}), r":1: question '\?\?' has no words"),
    "an answer of null": (lines(WHO | {"answer": None}), ":1: answer is empty"),
    "an answer that is a number": (lines(CUPS, WHO | {"answer": 2}), ":2: answer is 2, must be a text"),
    "answers as a list": (lines(WHO | {"answer": ["Anna"]}), r":1: answer is \['Anna'\], must be a text"),
    "an unknown split": (lines(CUPS | {"split": "dev"}), ":1: split is 'dev', must be one of train"),
    "one split left out": (lines(*SPLIT[:2], DOG), ":3: no split, but other questions have one"),
    "a video in two splits": (
        lines(*SPLIT, WHO | {"split": "train"}),
        ":4: split is train for 'b.mp4', which line 2 puts into val",
    ),
    "no training": (lines(*SPLIT[1:]), "holds no question of the split train"),
    "Latin-1": (LATIN, ":2: question 'Où.' is not encoded in UTF-8"),
    "UTF-16": (lines(CUPS).encode("utf-16"), "is encoded in UTF-16; save it as UTF-8"),
    "nothing": ("\n", "holds no questions"),
    "no known video": (lines(CUPS | {"video": "aa.mp4"}), "line 1 names 'aa.mp4'; did you mean 'a.mp4'"),
    "NaN": (lines(CUPS | {"score": float("nan")}), ":1 is not JSON: NaN is not a number of JSON"),
    "deep nesting": ('{"video": ' + "[" * 50 + "]" * 50 + "}", ":1 is nested deeper than 32 levels"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_bad_line_is_named(raw, content, message):
    with pytest.raises(InputError, match=rf"questions\.jsonl.*{message}"):
        questions.read(raw(content))


def test_two_files_are_refused(raw):
    raw(SPLIT, "questions.json")
    with pytest.raises(InputError, match=r"holds both questions\.jsonl and questions\.json"):
        questions.read(raw(SPLIT))


def test_a_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "questions.jsonl").write_text(lines(CUPS), encoding="utf-8")
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match=r"holds no videos; .* \(found: 1 \.txt, 1 \.jsonl\)"):
        questions.read(tmp_path)


def test_a_name_of_two_videos_is_refused(raw):
    folder = raw(SPLIT)
    (folder / "a.mkv").touch()
    assert len(questions.read(folder).clips) == 3  # a.mp4 is one of them alone
    with pytest.raises(InputError, match=r":1: 'a' is the name of 2 videos, a\.mkv, videos/a\.mp4"):
        questions.read(raw([SPLIT[0] | {"video": "a"}, *SPLIT[1:]]))


def test_a_missing_video_is_quarantined_with_its_line(raw):
    collection = questions.read(raw([CUPS, WHO, DOG | {"video": "../d.mov"}]))
    (lost,) = (clip for clip in collection.clips if clip.problem)
    assert lost.problem == (
        "missing",
        "questions.jsonl:3 names '../d.mov', which is not in RAW; did you mean 'c.mov'?",
    )
    (finding,) = (line for line in collection.findings if "not in RAW" in line)
    assert finding.startswith("1 videos of questions are not in RAW: '../d.mov' (line 3)")


def test_without_splits_videos_are_divided_by_their_names(raw):
    folder = raw([])
    names = [f"v{number:02d}.mp4" for number in range(20)]
    for name in names:
        (folder / "videos" / name).touch()
    records = [
        WHO | {"video": name, "question": f"Who is {place}?"} for place in ("here", "there") for name in names
    ]
    collection = questions.read(raw(records))
    splits = {clip.source: clip.split for clip in collection.clips}
    assert sorted(splits.values()) == ["test"] * 2 + ["train"] * 16 + ["val"] * 2
    again = questions.read(raw(list(reversed(records))))
    assert {clip.source: clip.split for clip in again.clips} == splits


def test_what_is_odd_is_told(raw):
    long = " ".join(f"word{number}" for number in range(16))
    collection = questions.read(
        raw(
            [
                CUPS | {"source": "me"},
                CUPS,
                CUPS | {"answer": "Two"},
                CUPS | {"question": long, "type": "Sound"},
                WHO | {"type": "sound"},
            ]
        )
    )
    *findings, without = collection.findings
    assert without == "no video is in val or test"
    assert {line.partition(" questions ")[2] for line in findings} == {
        "have the field 'source', which is not used (first: line 1)",
        "repeat an earlier one about the same video, with the same answer (first: line 2)",
        "repeat an earlier one about the same video, with another answer (first: line 3)",
        "are longer than 14 words and were cut (first: line 4)",
        "have the answer 'Two', which differs from another in case or blanks only (first: line 3)",
        "have the type 'sound', which differs from another in case or blanks only (first: line 5)",
    }
    every = [question for clip in collection.clips for question in asked(clip)]
    assert len(every) == 5
    assert next(one["words"] for one in every if one["words"][0] == "word0") == long.split()[:14]


def test_preflight_counts_questions_and_videos_without_any(raw):
    told = inspect(questions.read(raw([CUPS, CUPS | {"question": "Why?"}, WHO])), raw([CUPS]))
    assert (told.splits["all"].rows, told.splits["all"].clips, told.unreferenced) == (3, 2, 1)


def test_types_of_questions_are_those_of_the_collection(raw):
    collection = questions.read(raw(SPLIT))
    content = collection.clips[1].members[0][1]
    assert read_questions(content, types=question_types(collection.vocabulary))
    with pytest.raises(StgcmaError, match="the type 'person', which is none of the collection's"):
        read_questions(content, types=question_types({"types": ["other"]}))
    assert len(question_types({"words": ["a"]})) == 9


def test_a_split_without_videos_is_told(raw):
    assert "no video is in val" in questions.read(raw([SPLIT[0], SPLIT[2]])).findings
    assert not [said for said in questions.read(raw(SPLIT)).findings if said.startswith("no video is in")]


@pytest.mark.parametrize("name", ["/", ".", "..", "./"])
def test_a_video_that_no_file_can_be_is_a_fault_of_its_line(raw, name):
    with pytest.raises(InputError, match=r"questions\.jsonl:2: video is .*, must be the name of a file"):
        questions.read(raw([SPLIT[0], CUPS | {"video": name}]))


def test_the_nearest_names_of_the_first_missing_videos_alone_are_looked_for(raw, monkeypatch):
    compared = []
    monkeypatch.setattr(OwnVideos, "suggestion", lambda _, name: compared.append(name) or "")
    gone = [CUPS | {"video": f"gone-{number:02}.mp4", "split": "train"} for number in range(40)]
    collection = questions.read(raw([*SPLIT, *gone]))
    assert sum(clip.problem is not None for clip in collection.clips) == 40
    assert len(compared) < 10


@pytest.mark.parametrize("mark", ["?", " ?", "  ?", "", " ？"])
def test_a_blank_before_the_question_mark_is_no_word(raw, mark):
    (clip,) = questions.read(raw([CUPS | {"question": f"How many cups{mark}"}])).clips
    assert asked(clip)[0]["words"] == ["How", "many", "cups"]


def test_only_the_first_unused_fields_are_named(raw):
    odd = [{f"field{number}": "x", "id": 1} for number in range(30)]
    found = questions.read(raw([*SPLIT, *(CUPS | {"split": "train"} | more for more in odd)])).findings
    assert sum("have the field" in said for said in found) == 8
    assert "30 questions have the field 'id', which is not used (first: line 4)" in found
    assert "23 questions have other fields, which are not used (first: line 11)" in found
