"""Folders and tables whose splits and classes are named nearly as they should be."""

import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import ave as ave_reader
from stgcma.preprocess.collections import avs_s4, folder, music_avqa
from stgcma.preprocess.collections.names import check_twins, class_name, looks_like_split, split_of
from stgcma.preprocess.collections.paths import VIDEO_SUFFIXES
from stgcma.preprocess.collections.preflight import inspect
from stgcma.preprocess.collections.specification import ClipSpecification
from stgcma.preprocess.media.reasons import REASONS

COMPOSED, DECOMPOSED = "Caf\u00e9", "Cafe\u0301"


@pytest.fixture
def clips(tmp_path):
    """`clips("train/dog/a.mp4", …)` makes empty files and returns the folder."""

    def write(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return write


def planned(raw):
    collection = folder.read(raw)
    return {clip.source: (clip.split, clip.fields["category"]) for clip in collection.clips}


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("Train", "Val", "Test"), ("train", "val", "test")),
        (("TRAINING", "Validation", "testing"), ("train", "val", "test")),
        (("train", "valid"), ("train", "val")),
    ],
)
def test_split_folders_may_have_their_usual_other_names(clips, names, splits):
    raw = clips(*(f"{name}/{kind}/x.mp4" for name in names for kind in ("bell", "dog")))
    collection = folder.read(raw)
    assert collection.classes == ("bell", "dog", "Background")
    assert planned(raw) == {
        f"{name}/{kind}/x.mp4": (split, kind)
        for name, split in zip(names, splits, strict=True)
        for kind in ("bell", "dog")
    }
    others = [name for name in names if name not in ("train", "val", "test")]
    assert all(f"{name!r} is {split_of(name)}" in collection.findings[0] for name in others)


def test_splits_may_lie_in_the_class_folders(clips):
    raw = clips("bell/Train/1.mp4", "bell/test/2.mp4", "dog/train/1.mp4", "dog/Test/x.mov")
    assert planned(raw) == {
        "bell/Train/1.mp4": ("train", "bell"),
        "bell/test/2.mp4": ("test", "bell"),
        "dog/train/1.mp4": ("train", "dog"),
        "dog/Test/x.mov": ("test", "dog"),
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("dev/dog/1.mp4", "train/dog/1.mp4"),
            "in 'dev', which looks like a split; name it train, val, test",
        ),
        (("Eval/dog/1.mp4",), "in 'Eval', which looks like a split"),
        (("train_set/dog/1.mp4",), "in 'train_set', which looks like a split"),
        (("TestData2/dog/1.mp4",), "in 'TestData2', which looks like a split"),
        (("trn/dog/1.mp4", "tst/dog/1.mp4"), "in 'trn', which looks like a split"),
        (("tests/dog/1.mp4", "validate/dog/1.mp4"), "in 'tests', which looks like a split"),
        (("dog/dev/1.mp4", "dog/1.mp4"), "in 'dog/dev', which looks like a split"),
        (("Train/dog/1.mp4", "cat/1.mp4"), "in 'Train', which names a split, and in 'cat'; put every class"),
        (("dog/train/1.mp4", "dog/2.mp4"), "in 'dog/train', which names a split, and in 'dog'"),
        (("train/dog/1.mp4", "dog/val/1.mp4"), "in 'train', which names a split, and in 'dog/val'"),
        (("all/train/dog/1.mp4", "all/val/dog/1.mp4"), "in 'all/train/dog', where 'all/train' names a split"),
        (("a/b/train/1.mp4",), "in 'a/b/train', where 'a/b/train' names a split"),
        (("train/train/dog/1.mp4",), "in 'train/train/dog', where 'train/train' names a split"),
        (("Train/dog/1.mp4", "train/dog/2.mp4"), "in 'Train' and in 'train', which name the same split"),
        (("valid/dog/1.mp4", "val/dog/2.mp4"), "in 'val' and in 'valid', which name the same split"),
    ],
)
def test_a_folder_that_may_be_a_split_is_never_a_class(clips, names, message):
    with pytest.raises(InputError) as caught:
        folder.read(clips(*names))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name", ["Train horn", "trains", "rain", "testify", "data", "set", "valley", "raining"]
)
def test_a_name_that_merely_begins_so_is_a_class(clips, name):
    assert not looks_like_split(name)
    assert folder.read(clips(f"{name}/1.mp4")).classes == (name, "Background")


def test_a_class_in_two_unicode_forms_is_one_and_its_files_are_found(clips):
    raw = clips(f"train/{COMPOSED}/x.mp4", f"test/{DECOMPOSED}/x.mp4", "train/church  bell/x.mp4")
    collection = folder.read(raw)
    assert collection.classes == (COMPOSED, "church bell", "Background")
    assert [clip.labels[0] for clip in collection.clips] == [0, 1, 0]
    assert inspect(collection, raw).splits["all"].found == 3


@pytest.mark.parametrize("twin", ["Dog", "DOG", "d og", "dog\u200b", "ｄｏｇ"])
def test_twins_are_refused_by_name(clips, twin):
    with pytest.raises(
        InputError, match="differ only in case, blanks or Unicode form; give them one name"
    ) as no:
        folder.read(clips("train/dog/x.mp4", f"test/{twin}/x.mp4"))
    assert "'dog'" in str(no.value)
    assert repr(twin) in str(no.value) or ascii(twin) in str(no.value)


def test_names_are_brought_to_one_form():
    assert class_name(f" {DECOMPOSED}\u00a0 noir ") == f"{COMPOSED} noir"
    assert class_name("Fixed-wing aircraft, airplane") == "Fixed-wing aircraft, airplane"
    check_twins(["dog", "dogs", "hot dog"], "x")


def test_ave_categories_are_brought_to_one_form_and_twins_refused(ave):
    rows = (f"{COMPOSED}&aaaaaaaaaaa&good&0&5", f" {DECOMPOSED} &bbbbbbbbbbb& good &0&5 ")
    collection = ave_reader.read(ave(rows, splits=((0, 1), (0,), (1,))))
    assert collection.classes == (COMPOSED, "Background")
    rows = ("Clock&aaaaaaaaaaa&good&0&5", "clock&bbbbbbbbbbb&good&0&5")
    with pytest.raises(InputError, match=r"Annotations\.txt: the classes 'Clock' and 'clock' differ only in"):
        ave_reader.read(ave(rows, splits=((0, 1), (0,), (1,))))


def test_avs_tables_and_folders_may_spell_splits_and_categories_otherwise(avs):
    raw = avs([("a", COMPOSED, "train"), ("b", "dog", "val")])
    (raw / "raw_videos/train").rename(raw / "raw_videos/Training")
    (raw / "raw_videos/Training" / COMPOSED).rename(raw / "raw_videos/Training" / DECOMPOSED)
    (raw / "s4_meta_data.csv").write_text(f"name,category,split\na, {DECOMPOSED},Train\nb,dog,validation\n")
    collection = avs_s4.read(raw)
    assert collection.classes == (COMPOSED, "dog")
    assert [(clip.split, clip.source) for clip in collection.clips] == [
        ("train", f"raw_videos/Training/{DECOMPOSED}/a.mp4"),
        ("val", "raw_videos/val/dog/b.mp4"),
    ]
    assert inspect(collection, raw).splits["all"].found == 2
    assert inspect(collection, raw).unreferenced == 0
    (raw / "s4_meta_data.csv").write_text("name,category,split\na,dog,dev\n")
    with pytest.raises(InputError, match=r"csv:2: split is 'dev', must be one of train, val, test"):
        avs_s4.read(raw)
    (raw / "s4_meta_data.csv").write_text("name,category,split\na,dog,train\nb,Dog,val\n")
    with pytest.raises(InputError, match="the classes 'dog' and 'Dog' differ only in case"):
        avs_s4.read(raw)


def test_questions_are_composed_and_alike_answers_told(avqa, ask):
    raw = avqa(
        train=[
            ask(content=f"Is the {DECOMPOSED} loud?", anser="yes"),
            ask(content=f"Is the {COMPOSED} loud?", anser="Yes"),
        ]
    )
    collection = music_avqa.read(raw)
    assert collection.vocabulary == {
        "words": ["<pad>", "Is", "the", COMPOSED, "loud"],
        "answers": ["yes", "Yes"],
    }
    assert any(line.startswith("1 answers differ from another one in case") for line in collection.findings)


def test_the_preflight_counts_classes_by_split_and_names_those_without_training_clips(clips):
    raw = clips("train/dog/1.mp4", "train/cat/1.mp4", "val/dog/1.mp4", "test/emu/1.mp4", "val/emu/1.mp4")
    lines = list(inspect(folder.read(raw), raw).lines())
    assert "  classes by split: train 2, val 2, test 1" in lines
    assert "  classes without a training clip: 1: 'emu' (val and test)" in lines
    raw = clips("train/emu/1.mp4")
    assert not any("without a training clip" in line for line in inspect(folder.read(raw), raw).lines())


@pytest.mark.parametrize("suffix", [".MTS", ".m2ts", ".WMV", ".vob", ".3G2", ".ogv", ".Mp4"])
def test_suffixes_of_cameras_and_recorders_are_clips_in_either_case(clips, ave, suffix):
    assert suffix.lower() in VIDEO_SUFFIXES
    raw = clips(f"dog/1{suffix}", "cat/1.mp4")
    assert folder.read(raw).classes == ("cat", "dog", "Background")
    raw = ave(videos=())
    (raw / "AVE" / f"ccccccccccc{suffix}").touch()
    sources = [clip.source for clip in ave_reader.read(raw).clips]
    assert f"AVE/ccccccccccc{suffix}" in sources


def test_suffixes_that_are_left_out_are_named_and_so_is_a_folder_that_is_no_class(clips):
    raw = clips("dog/1.mp4", "emu/1.rmvb", "emu/2.RMVB", "emu/3", "notes.txt")
    collection = folder.read(raw)
    assert collection.findings == (
        "4 files are not clips in a class folder and were left out: 2 .rmvb, 1 without a suffix, 1 .txt",
        "1 folders hold files, but no clip, and are no classes: 'emu'",
    )
    (raw / "dog/1.mp4").unlink()
    with pytest.raises(InputError, match=r"\(4 other files: 2 \.rmvb, 1 without a suffix, 1 \.txt\)"):
        folder.read(raw)


def test_files_beside_the_videos_of_a_collection_are_named(ave):
    raw = ave()
    for name in ("ccccccccccc.rmvb", "b.rmvb", "list.txt"):
        (raw / "AVE" / name).touch()
    assert "  files beside the videos that are left out: 2 .rmvb, 1 .txt" in list(
        inspect(ave_reader.read(raw), raw).lines()
    )


@pytest.mark.parametrize("name", ["Background", "background", " back ground"])
def test_no_class_is_called_as_the_background_is(clips, ave, name):
    message = f"a class is called {name.strip()!r}, which is the name for seconds without a class"
    with pytest.raises(InputError, match=message):
        folder.read(clips(f"{name}/1.mp4", "dog/1.mp4"))
    with pytest.raises(InputError, match=message):
        ave_reader.read(ave((f"{name}&aaaaaaaaaaa&good&0&5",), splits=((0,), (0,), (0,))))


def test_classes_that_all_hold_the_same_folders_may_be_splits(clips):
    raw = clips("fold1/dog/1.mp4", "fold1/cat/1.mp4", "fold2/dog/1.mp4", "fold2/cat/1.mp4")
    (finding,) = folder.read(raw).findings
    assert finding.startswith("each of the 2 classes holds the same folders, 'cat', 'dog': if these are the")
    (raw / "fold2/1.mp4").touch()
    assert folder.read(raw).findings == ()


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("unreadable", r"must be \(reason, message\)"),
        (("unreadable",), r"must be \(reason, message\)"),
        (("unreadable", None), r"must be \(reason, message\)"),
        (("broken", "its label is empty"), "the reason 'broken', must be one of missing, empty"),
    ],
)
def test_a_problem_is_a_known_reason_and_a_message(problem, message):
    with pytest.raises(ValueError, match=message):
        ClipSpecification("a", "train", "clips/a.mp4", problem=problem)
    for reason in REASONS:
        ClipSpecification("a", "train", "clips/a.mp4", problem=(reason, "its label is empty"))
