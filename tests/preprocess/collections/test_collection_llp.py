"""LLP's tables: names cut by position, weak and dense labels, and every irregularity of the real files."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import llp, llp_files
from stgcma.preprocess.collections.preflight import inspect
from stgcma.train.metrics.event_parsing import mark_rows

# The official order of the release (`dataloader.py`).
ORDER = [
    "Speech", "Car", "Cheering", "Dog", "Cat", "Frying_(food)", "Basketball_bounce", "Fire_alarm",
    "Chainsaw", "Cello", "Banjo", "Singing", "Chicken_rooster", "Violin_fiddle", "Vacuum_cleaner",
    "Baby_laughter", "Accordion", "Lawn_mower", "Motorcycle", "Helicopter", "Acoustic_guitar",
    "Telephone_bell_ringing", "Baby_cry_infant_cry", "Blender", "Clapping",
]  # fmt: skip
LISTED = {
    "train": {"AP0061o0Nvk_101.8_111.8": "Speech", "-3h4_kz5Ao8_30_40": "Dog,Cat"},
    "val": {"1_-0_ab_cde_0_10": "Speech,Car"},
    "test": {"JfZEqeLZqWk_30_40": "Blender", "zzzzzzzzzzz_0_10": "Clapping"},
}
DENSE_HEAD = "filename\tonset\toffset\tevent_labels"


@pytest.fixture
def raw(tmp_path):
    """`raw(…)` writes a small collection; `listed` by split, `audio` and `visual` are rows of a table."""

    def write(listed=LISTED, audio=(), visual=(), folder=""):
        (tmp_path / folder).mkdir(exist_ok=True)
        for split, name in llp.LISTS.items():
            lines = ["filename\tevent_labels", *(f"{clip}\t{tags}" for clip, tags in listed[split].items())]
            (tmp_path / folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name, rows in zip(llp.DENSE.values(), (audio, visual), strict=True):
            lines = [DENSE_HEAD, *("\t".join(map(str, row)) for row in rows)]
            (tmp_path / folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path

    return write


def clips(folder):
    return {clip.key: clip for clip in llp.read(folder).clips}


def arrays(clip):
    return {name: np.load(io.BytesIO(content)) for name, content in clip.members}


def finding(collection, text):
    (found,) = [line for line in collection.findings if text in line]
    return found


def test_the_collection_is_that_of_the_release(raw):
    collection = llp.read(raw())
    assert list(collection.classes) == ORDER
    assert (collection.name, collection.task) == ("llp", "avvp")
    assert collection.sampling.frame_times == "middle"
    assert collection.published.clips == {"train": 10_000, "val": 649, "test": 1_200}
    assert [(clip.key, clip.split) for clip in collection.clips] == [
        ("AP0061o0Nvk_101-8_111-8", "train"),
        ("-3h4_kz5Ao8_30_40", "train"),
        ("1_-0_ab_cde_0_10", "val"),
        ("JfZEqeLZqWk_30_40", "test"),
        ("zzzzzzzzzzz_0_10", "test"),
    ]
    assert all(clip.problem is None and clip.annotated_seconds == 10 for clip in collection.clips)


def test_names_are_cut_by_position_and_may_have_fractions(raw):
    found = clips(raw())
    assert found["1_-0_ab_cde_0_10"].fields == {
        "filename": "1_-0_ab_cde_0_10",
        "video_id": "1_-0_ab_cde",
        "start_seconds": 0.0,
    }
    assert found["AP0061o0Nvk_101-8_111-8"].fields["start_seconds"] == 101.8
    assert found["AP0061o0Nvk_101-8_111-8"].fields["filename"] == "AP0061o0Nvk_101.8_111.8"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("17iGUal2M_10_20", "bad-annotation"),
        ("19jWnmYnlD8_30_400x", "bad-annotation"),
        ("AkAfFL5Q4QA", "bad-annotation"),
        ("../../../etc_0_10", "unsafe-path"),
        ("name with b_0_10", "unsafe-path"),
    ],
)
def test_a_listed_name_of_another_form_is_a_problem_of_its_clip(raw, name, reason):
    collection = llp.read(raw(LISTED | {"test": {name: "Dog"}}))
    assert collection.clips[-1].problem[0] == reason
    assert all(clip.problem is None for clip in collection.clips[:-1])


def test_training_clips_have_tags_alone_and_others_events_too(raw):
    audio = [("JfZEqeLZqWk_30_40", 0, 3, "Blender"), ("JfZEqeLZqWk_30_40", 2, 10, "Speech")]
    visual = [("JfZEqeLZqWk_30_40", 4, 5, "Blender")]
    found = clips(raw(audio=audio, visual=visual))
    weak = arrays(found["-3h4_kz5Ao8_30_40"])
    assert list(weak) == ["tags.npy"]
    assert weak["tags.npy"].dtype == np.uint8
    assert np.flatnonzero(weak["tags.npy"]).tolist() == [3, 4]
    dense = arrays(found["JfZEqeLZqWk_30_40"])
    events = np.zeros((2, 10, 25), np.uint8)
    events[0, :3, 23] = events[0, 2:, 0] = events[1, 4, 23] = 1
    assert np.array_equal(dense["events.npy"], events)
    assert dense["events.npy"].dtype == np.uint8
    assert np.flatnonzero(dense["tags.npy"]).tolist() == [23]  # as listed, not the union of the events


def test_zero_length_reversed_repeated_touching_and_overlapping_rows(raw):
    name = "JfZEqeLZqWk_30_40"
    spans = [(2, 2), (9, 0), (0, 2), (0, 2), (2, 4), (3, 6), (8, 12)]
    collection = llp.read(raw(audio=[(name, *span, "Speech") for span in spans]))
    events = arrays(next(clip for clip in collection.clips if clip.key == name))["events.npy"]
    assert np.array_equal(events[0].astype(bool), mark_rows([(0, *span) for span in spans]))
    assert np.flatnonzero(events[0, :, 0]).tolist() == [0, 1, 2, 3, 4, 5, 8, 9]
    assert "audible: 1 rows have zero length and mark nothing" in collection.findings
    assert "audible: 1 rows end before they begin and mark nothing" in collection.findings
    assert "audible: 1 rows repeat another row" in collection.findings
    assert "audible: 1 rows reach beyond 10 s and are cut there" in collection.findings
    assert finding(collection, "joined").startswith("audible: 1 rows touch and 1 overlap an earlier one")
    assert not any(line.startswith("visible:") for line in collection.findings)


def test_rows_of_other_names_are_counted_and_not_used(raw):
    audio = [
        ("12eWNawPekw_10_20", 0, 3, "Speech"),
        ("12eWNawPekw_10_20", 5, 6, "Speech"),
        ("-VMTJRpjbE_150_160", 0, 10, "Dog"),
        ("-3h4_kz5Ao8_30_40", 0, 10, "Dog"),  # a clip of training
        ("zzzzzzzzzzz_0_10", 0, 1, "Clapping"),
    ]
    collection = llp.read(raw(audio=audio))
    assert finding(collection, "no clips of val or test") == (
        "audible: 4 rows are of 3 names that are no clips of val or test, and are not used: "
        "-3h4_kz5Ao8_30_40, -VMTJRpjbE_150_160, 12eWNawPekw_10_20"
    )
    assert arrays(collection.clips[-1])["events.npy"].sum() == 1


def test_labels_of_clips_that_are_not_their_events_are_counted(raw):
    audio = [("zzzzzzzzzzz_0_10", 0, 1, "Clapping"), ("JfZEqeLZqWk_30_40", 0, 1, "Dog")]
    collection = llp.read(raw(audio=audio, visual=[("1_-0_ab_cde_0_10", 0, 0, "Car")]))
    assert finding(collection, "test: the classes of 1 clips are not those of their events")
    assert finding(collection, "val: the classes of 1 clips are not those")  # a row of no length is no event
    assert finding(collection, "test: 0 clips without audible") == (
        "test: 0 clips without audible, 2 without visible, 2 without audio-visual events"
    )


def test_a_class_that_a_clip_names_twice_counts_once(raw):
    collection = llp.read(raw(LISTED | {"train": {"LcFWKgFphXI_20_30": "Car,Dog,Car"}}))
    assert np.flatnonzero(arrays(collection.clips[0])["tags.npy"]).tolist() == [1, 3]
    assert (
        finding(collection, "twice")
        == "1 clips name a class twice, which counts once, such as LcFWKgFphXI_20_30"
    )


def test_the_versions_of_the_tables_are_named_by_their_hashes(raw, monkeypatch):
    folder = raw()
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:12]
        for name in (*llp.LISTS.values(), *llp.DENSE.values())
    }
    told = finding(llp.read(folder), "sha256")
    assert all(f"{name} {digest} (not a published file)" in told for name, digest in digests.items())
    # The digests of the audio table before and after its correction, as the release has them.
    assert "corrected on 2024-04-16" in llp_files.PUBLISHED_FILES["d5435664668b"]
    assert "3 of its rows have wrong names" in llp_files.PUBLISHED_FILES["249122f65501"]
    assert {"e2274af694f3", "bbeb83e8af46", "1811813b54c5", "3f7a2b040e3b"} < set(llp_files.PUBLISHED_FILES)
    monkeypatch.setitem(llp_files.PUBLISHED_FILES, digests["AVVP_eval_audio.csv"], "as before")
    assert "AVVP_eval_audio.csv " + digests["AVVP_eval_audio.csv"] + " (as before)" in finding(
        llp.read(folder), "sha256"
    )


@pytest.mark.parametrize("folder", ["video", "videos", "LLP_dataset/video", "data/LLP_dataset/video"])
def test_videos_lie_in_any_of_the_usual_folders_by_name_or_id(raw, folder):
    root = raw(folder="data")
    place = root / folder
    place.mkdir(parents=True)
    for name in ("AP0061o0Nvk_101.8_111.8.mp4", "-3h4_kz5Ao8.mp4", "zzzzzzzzzzz_0_10.webm", "other.mp4"):
        (place / name).touch()
    found = clips(root)
    assert found["AP0061o0Nvk_101-8_111-8"].source == f"{folder}/AP0061o0Nvk_101.8_111.8.mp4"
    assert found["-3h4_kz5Ao8_30_40"].source == f"{folder}/-3h4_kz5Ao8.mp4"
    assert found["zzzzzzzzzzz_0_10"].source == f"{folder}/zzzzzzzzzzz_0_10.webm"
    assert found["JfZEqeLZqWk_30_40"].source == f"{folder}/JfZEqeLZqWk_30_40.mp4"
    result = inspect(llp.read(root), root)
    assert (result.splits["all"].found, result.splits["all"].missing, result.unreferenced) == (3, 2, 1)


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        ("AVVP_train.csv", "aaaaaaaaaaa_0_10\tDog,Rain", r"AVVP_train\.csv:4: 'Rain' is no class of LLP"),
        ("AVVP_train.csv", "aaaaaaaaaaa_0_10\t", r"AVVP_train\.csv:4: '' is no class"),
        (
            "AVVP_train.csv",
            "aaaaaaaaaaa_0_10",
            r"AVVP_train\.csv:4: 1 cells in 'aaaaaaaaaaa_0_10', expected 2",
        ),
        ("AVVP_eval_audio.csv", "a\t-1\t3\tDog", r"audio\.csv:2: onset '-1' and offset '3' must be whole"),
        (
            "AVVP_eval_visual.csv",
            "a\t1\t2.5\tDog",
            r"visual\.csv:2: onset '1' and offset '2\.5' must be whole",
        ),
        ("AVVP_eval_visual.csv", "a\t1\t1e9\tDog", r"offset '1e9' must be whole"),
        ("AVVP_eval_visual.csv", "a\t1\t99999999\tDog", r"offset '99999999' must be whole"),
        ("AVVP_eval_visual.csv", "a\t1\t2\tDog,Cat", r"visual\.csv:2: 'Dog,Cat' is no class"),
        ("AVVP_eval_visual.csv", "a\t1\t2", r"visual\.csv:2: 3 cells"),
    ],
)
def test_a_row_of_another_format_is_named(raw, table, row, message):
    folder = raw()
    with (folder / table).open("a", encoding="utf-8") as stream:
        stream.write(row + "\n")
    with pytest.raises(InputError, match=message):
        llp.read(folder)


def test_a_table_that_is_missing_or_empty_is_named(raw):
    folder = raw()
    (folder / "AVVP_val_pd.csv").write_text("filename\tevent_labels\n")
    with pytest.raises(InputError, match=r"AVVP_val_pd\.csv holds no rows below its header"):
        llp.read(folder)
    (folder / "AVVP_val_pd.csv").unlink()
    with pytest.raises(InputError, match=r"AVVP_val_pd\.csv is missing; RAW must hold the tables of LLP"):
        llp.read(folder)


def test_tables_behind_a_link_are_read_with_leave_only(raw, tmp_path_factory):
    folder = raw()
    outside = tmp_path_factory.mktemp("outside") / "AVVP_train.csv"
    (folder / "AVVP_train.csv").rename(outside)
    (folder / "AVVP_train.csv").symlink_to(outside)
    with pytest.raises(InputError, match="is a link that leads out of"):
        llp.read(folder)
    assert len(llp.read(folder, allow_links=True).clips) == 5


def test_line_ends_and_a_byte_order_mark_make_no_difference(raw):
    folder = raw(audio=[("zzzzzzzzzzz_0_10", 0, 1, "Clapping")])
    expected = [clip.plan_text for clip in llp.read(folder).clips]
    for path in folder.glob("*.csv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert [clip.plan_text for clip in llp.read(folder).clips] == expected


def read_split(folder, split):
    """Truth `[N, 10, 2, 25]` and tags `[N, 25]` of a split of the real tables."""
    members = [arrays(clip) for clip in llp.read(folder).clips if clip.split == split]
    truth = np.stack([one["events.npy"] for one in members]).astype(bool).transpose(0, 2, 1, 3)
    return truth, np.stack([one["tags.npy"] for one in members]).astype(bool)


@pytest.mark.skipif("LLP_TABLES" not in os.environ, reason="LLP_TABLES names no folder of the real tables")
@pytest.mark.parametrize("split", ["val", "test"])
def test_constant_answers_on_the_real_tables_score_as_with_the_release(split):
    """Numbers of section c of the parity file: computed by the release's own loop."""
    from stgcma.train.metrics.event_parsing import ParsingCounts

    from ...train.metrics.parity.agreement import PERCENT, agree
    from ...train.metrics.test_parity import OWN_FILE, read_file

    content = read_file(os.environ.get("PARITY_METRICS") or OWN_FILE)
    cases = content["c_llp"]["constant_predictors_on_the_real_annotations_percent"]
    folder = os.environ["LLP_TABLES"]
    told = " ".join(llp.read(Path(folder)).findings)
    version = "before_2024_04_16" if "249122f65501" in told else "current"
    truth, tags = read_split(Path(folder), split)
    everywhere = np.broadcast_to(tags[:, None, None], truth.shape)
    speech = np.zeros_like(truth)
    speech[..., 0] = True
    audio_only = everywhere.copy()
    audio_only[:, :, 1] = False
    answers = {
        "nothing": np.zeros_like(truth),
        "video_labels_everywhere": everywhere,
        "audio_only_video_labels": audio_only,
        "speech_everywhere": speech,
    }
    for name, predicted in answers.items():
        counts = ParsingCounts()
        counts.add(predicted, truth)
        scores = counts.scores()
        for level in ("segment", "event"):
            found = getattr(scores, level)
            values = {
                "A": found.a, "V": found.v, "AV": found.av, "Type@AV": found.type_av,
                "Event@AV": found.event_av,
            }  # fmt: skip
            expected = cases[f"{split}/{version}/{name}"][level]
            agree({key: 100 * value for key, value in values.items()}, expected, PERCENT, f"{name} {level}")
