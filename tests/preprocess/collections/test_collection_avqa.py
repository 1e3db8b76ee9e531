"""MUSIC-AVQA as its authors ship it, with every oddity of the real questions."""

import json

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import music_avqa
from stgcma.preprocess.collections.avqa_questions import fill, split_words

HOW_MANY = "How many instruments are sounding in the video?"


def questions_of(clip):
    (member,) = clip.members
    assert member[0] == "qa.json"
    return json.loads(member[1])


@pytest.mark.parametrize(
    ("content", "values", "words"),
    [
        (HOW_MANY, [], "How many instruments are sounding in the video"),
        ("How many sounding <Object> in the video？", ["flute"], "How many sounding flute in the video"),
        ("What kind of instrument is the <LRer> instrument? ", ["leftest"],
         "What kind of instrument is the leftest instrument"),
        ("Is the <Object> louder than the <Object>?", ["cello", "pipa"], "Is the cello louder than the pipa"),
        ("What is the instrument on the <LR> of <Object>?", ["left", "erhu"],
         "What is the instrument on the left of erhu"),
        ("Where is the <LL>", ["loudest"], "Where is the loudest"),
        (" Is there a voiceover ?", [], "Is there a voiceover "),  # an empty last word, as published
        ("Is there a voiceover", [], "Is there a voiceove"),  # its last letter goes, as published
    ],
)  # fmt: skip
def test_words_of_a_question(content, values, words):
    assert fill(split_words(content), values) == tuple(words.split(" "))


def test_a_video_is_one_record_with_all_its_questions(avqa, ask):
    raw = avqa(
        train=[
            ask("00000001", HOW_MANY, question_id=7),
            ask("sa000002", "Where is the <LL> instrument?", type='["Audio-Visual", "Location"]',
                templ_values='["loudest"]', anser="left"),
            ask("00000001", "Is there a <Object> sound?", type='["Audio", "Counting"]',
                templ_values='["tuba"]', anser="yes", question_id=8),
        ],
        val=[ask("00000003")],
    )  # fmt: skip
    collection = music_avqa.read(raw)
    assert [(clip.key, clip.split) for clip in collection.clips] == [
        ("00000001", "train"),
        ("sa000002", "train"),
        ("00000003", "val"),
    ]
    assert questions_of(collection.clips[0])[1] == {
        "question_id": 8,
        "type": ["Audio", "Counting"],
        "template": "Is there a <Object> sound",
        "words": ["Is", "there", "a", "tuba", "sound"],
        "answer": "yes",
    }
    assert collection.rows == {"train": 3, "val": 1, "test": 0}


def test_words_and_answers_stand_in_the_order_of_their_first_appearance_in_training(avqa, ask):
    raw = avqa(
        train=[
            ask(content="b a b?", anser="two"),
            ask(content="a <Object> c?", templ_values='["x"]', anser="one"),
        ],
        val=[ask("00000003", "z a?", anser="nine")],
    )
    collection = music_avqa.read(raw)
    assert collection.vocabulary == {"words": ["<pad>", "b", "a", "x", "c"], "answers": ["two", "one"]}
    assert any(
        "1 val and test questions hold words unseen in training" in line for line in collection.findings
    )
    assert any("1 val and test questions have answers unseen" in line for line in collection.findings)


def test_both_question_marks_make_one_template(avqa, ask):
    raw = avqa(train=[ask(content="Who plays?"), ask(content="Who plays？"), ask(content="Who plays ? ")])
    templates = {question["template"] for question in questions_of(music_avqa.read(raw).clips[0])}
    assert templates == {"Who plays"}


def test_deleted_questions_are_left_out_and_counted(avqa, ask):
    raw = avqa(
        train=[ask(content="a b?"), ask(content="deleted word?", question_deleted=1)],
        val=[ask("00000009", question_deleted=True)],
    )
    collection = music_avqa.read(raw)
    assert [clip.key for clip in collection.clips] == ["00000001"]
    assert collection.vocabulary["words"] == ["<pad>", "a", "b"]
    assert "2 questions are marked as deleted and were left out" in collection.findings


def test_a_video_in_several_splits_is_a_clip_in_each(avqa, ask):
    collection = music_avqa.read(avqa(train=[ask()], val=[ask()], test=[ask(), ask("00000002")]))
    assert [clip.key for clip in collection.clips] == [
        "00000001",
        "00000001_val",
        "00000001_test",
        "00000002",
    ]
    assert len({clip.source for clip in collection.clips}) == 2
    assert any(
        "2 clips are of videos that have questions in an earlier split" in f for f in collection.findings
    )


def test_long_questions_are_cut_and_reported(avqa, ask):
    collection = music_avqa.read(avqa(train=[ask(content=" ".join("abcdefghijklmnop") + "?")]))
    assert questions_of(collection.clips[0])[0]["words"] == list("abcdefghijklmn")
    assert any("1 questions are longer than 14 words" in line for line in collection.findings)


@pytest.mark.parametrize(
    ("real", "synthetic"),
    [
        ("MUSIC-AVQA-videos-Real", "MUSIC-AVQA-videos-Synthetic"),
        ("MUSIC-AVQA-videos-Real", "MUCIS-AVQA-videos-Synthetic"),  # so spelt by the authors
        ("videos/MUSIC-AVQA-videos-Real", "videos/MUCIS-AVQA-videos-Synthetic"),
        ("videos/real", "videos/synthetic"),
        ("videos", "videos"),
    ],
)
def test_videos_are_found_in_the_real_and_the_synthetic_folder(avqa, ask, real, synthetic):
    raw = avqa(train=[ask()], real=real)
    (raw / synthetic).mkdir(parents=True, exist_ok=True)
    (raw / synthetic / "sa000001.mp4").touch()
    (raw / "avqa-val.json").write_text(json.dumps([ask("sa000001")]))
    sources = [clip.source for clip in music_avqa.read(raw).clips]
    assert sources == [f"{real}/00000001.mp4", f"{synthetic}/sa000001.mp4"]


def test_questions_may_lie_in_the_authors_json_folder(avqa, ask):
    assert len(music_avqa.read(avqa(folder="json_update", train=[ask()])).clips) == 1


def test_a_folder_without_questions_says_where_they_were_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"avqa-train\.json is missing; .*: RAW itself, json_update, json"):
        music_avqa.read(tmp_path)


def test_a_folder_without_videos_says_where_they_were_looked_for(avqa, ask):
    raw = avqa(train=[ask()])
    (raw / "MUSIC-AVQA-videos-Real").rename(raw / "elsewhere")
    with pytest.raises(InputError, match=r"looked for MUSIC-AVQA-videos-Real, .*MUCIS-AVQA-videos-Synthetic"):
        music_avqa.read(raw)


def test_a_missing_split_is_named(avqa, ask):
    raw = avqa(train=[ask()])
    (raw / "avqa-val.json").unlink()
    with pytest.raises(InputError, match=r"avqa-val\.json is missing; it must lie beside avqa-train\.json"):
        music_avqa.read(raw)


ABSENT = object()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"type": '["Audio", "Temporal"]'},
            r"json:2: type is '\[\"Audio\", \"Temporal\"\]', must be one of: Audio Cou",
        ),
        ({"type": "Audio"}, r"json:2: type is 'Audio', must be a JSON list of texts"),
        ({"type": None}, "json:2: type is None, must be a JSON list of texts"),
        ({"type": ABSENT}, "json:2: type is None, must be one of: Audio Counting"),
        ({"templ_values": "['a']"}, r"templ_values is \"\['a'\]\", must be a JSON list of texts"),
        (
            {"question_content": "Where is the <LL>?"},
            r"templ_values holds 0 values \[\] for the 1 placeholders",
        ),
        ({"question_content": "  "}, "json:2: question_content is empty"),
        ({"anser": 2}, "json:2: anser is 2, must be a text"),
        ({"anser": ""}, "json:2: anser is empty"),
        ({"question_id": None}, "json:2: question_id is None, must be a number or a text"),
    ],
)
def test_a_wrong_question_is_named_with_its_line(avqa, ask, changes, message):
    with pytest.raises(InputError, match=message):
        music_avqa.read(avqa(train=[{k: v for k, v in ask(**changes).items() if v is not ABSENT}]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"json:1: a JSON list of records must begin here"),
        ("[\n1]", r"json:2: a record is int, must be a JSON object"),
        ('[\n{}\n{"a": ]', r"json:2: the record has no 'question_content', only nothing"),
        ('[\n{"question_deleted": 1}\n{}]', r"json:3: '\{' after a record, must be , or \]"),
        ('[{"question_deleted": 1},\n{"a":', r"json:2: the record here is not JSON"),
    ],
)
def test_a_file_that_is_not_a_list_of_records_is_named_with_its_line(avqa, ask, text, message):
    raw = avqa(train=[ask()])
    (raw / "avqa-train.json").write_text(text)
    with pytest.raises(InputError, match=message):
        music_avqa.read(raw)


@pytest.mark.parametrize("video", ["../x", "/x", "a\0b", "a/b", "", "\ud800", "é"])
def test_a_hostile_id_is_its_clips_problem(avqa, ask, video):
    raw = avqa(train=[ask()])
    (raw / "avqa-train.json").write_text(json.dumps([ask(video)]))
    (clip,) = music_avqa.read(raw).clips
    assert clip.problem[0] == "unsafe-path"
    (clip.key + clip.source).encode()  # no lone surrogate is left


def test_bytes_that_are_not_utf8_are_their_clips_problem(avqa, ask):
    raw = avqa(train=[ask()])
    (raw / "avqa-train.json").write_bytes(json.dumps([ask("aXb")]).encode().replace(b"aXb", b"a\xffb"))
    (clip,) = music_avqa.read(raw).clips
    assert (clip.key, clip.problem[0]) == (r"a\udcffb", "unsafe-path")
