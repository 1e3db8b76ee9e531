"""The synthetic stand-ins: the seed decides all of them, and nothing gives their answers away."""

import hashlib
import json
import os
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.collections import avs_s4 as avs_reader
from stgcma.preprocess.collections import music_avqa as avqa_reader
from stgcma.preprocess.collections.preflight import inspect
from stgcma.preprocess.synthesis import SYNTHESIZERS, ave, avs_ms3, avs_s4, music_avqa, synthesize
from stgcma.preprocess.synthesis.music_questions import Asker, candidates
from stgcma.preprocess.synthesis.music_scene import Player, Scene
from stgcma.preprocess.synthesis.rendering import render_all
from stgcma.shards.schema import QUESTION_TYPES as TYPES

READERS = {"avs-s4": avs_reader.read, "music-avqa": avqa_reader.read}


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def render_two(render, scripts, workers):
    """Encode two of a collection's videos, in this process."""
    for script in scripts[:workers]:
        render(script)


@pytest.mark.parametrize(("name", "videos"), [("ave", 12), ("avs-s4", 10), ("music-avqa", 10)])
def test_the_seed_decides_every_byte(name, videos, ave_raw, raw_collection, tmp_path, monkeypatch):
    raw = ave_raw if name == "ave" else raw_collection(name)
    for module in (ave, avs_s4, music_avqa):
        monkeypatch.setattr(module, "render_all", render_two)
    synthesize(name, tmp_path / "again", clips=videos, seed=3, workers=2)
    whole, again = digest(raw), digest(tmp_path / "again")
    assert again.items() <= whole.items()
    assert sum(file.endswith(".mp4") for file in again) == 2
    tables = {file for file in whole if not file.endswith((".mp4", ".png"))}
    assert tables
    assert tables <= again.keys()


def test_every_script_is_rendered_by_any_number_of_processes(tmp_path):
    for workers in (1, 2):
        names = [f"{workers}-{number}" for number in range(5)]
        render_all(os.mkdir, [tmp_path / name for name in names], workers)
        assert all((tmp_path / name).is_dir() for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(READERS))
def test_the_number_of_workers_changes_no_byte(name, raw_collection, tmp_path):
    raw = raw_collection(name)  # by one worker
    synthesize(name, tmp_path / "2", clips=10, seed=3, workers=2)
    assert digest(raw) == digest(tmp_path / "2")


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_synthetic_collection_is_whole(name, raw_collection):
    raw = raw_collection(name)
    collection = READERS[name](raw)
    result = inspect(collection, raw)
    counts = [result.splits[split].found for split in ("train", "val", "test", "all")]
    assert counts == [7, 1, 2, 10]
    assert (result.unreferenced, result.leaks) == (0, {})


def test_an_unknown_collection_lists_those_that_can_be_made():
    with pytest.raises(InputError, match="synthetic collection 'avs-s' is not known; did you mean 'avs-s4'"):
        synthesize("avs-s", Path("raw"), clips=10)
    assert set(READERS) < set(SYNTHESIZERS)


@pytest.mark.parametrize("name", SYNTHESIZERS.names)
def test_too_few_clips_are_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"^clips is 9, must be at least 10"):
        synthesize(name, tmp_path / "raw", clips=9, seed=0, workers=1)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", SYNTHESIZERS.names)
def test_a_negative_seed_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"^seed is -1, must be at least 0"):
        synthesize(name, tmp_path / "raw", clips=10, seed=-1, workers=1)
    assert not any(tmp_path.iterdir())


def test_the_folder_that_one_is_in_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    with pytest.raises(InputError, match="is the folder that you are in; give the name of a new one"):
        synthesize("ave", Path(), clips=10, seed=0, workers=1)
    assert tmp_path.stat().st_ino == inode


def test_another_seed_gives_other_scripts():
    assert avs_s4.write_scripts(20, 0) == avs_s4.write_scripts(20, 0)
    assert avs_s4.write_scripts(20, 0) != avs_s4.write_scripts(20, 1)


def test_the_sounding_object_is_any_of_those_seen():
    scripts = avs_s4.write_scripts(600, 0)
    assert {len(script.visible) for script in scripts} == {2, 3}
    assert all(script.visible.count(script.sounding) == 1 for script in scripts)
    place = Counter(script.visible.index(script.sounding) / (len(script.visible) - 1) for script in scripts)
    assert abs(place[0.0] - place[1.0]) < 60
    for pair in ((0, 1), (2, 5), (3, 4)):
        both = [script for script in scripts if set(pair) == set(script.visible)]
        heard = np.mean([script.sounding == pair[0] for script in both])
        assert 0.2 < heard < 0.8


SCENE = Scene(
    video="00000001",
    players=(
        Player(kind=0, place="left", span=(0, 8), loudness=0.1),  # a violin
        Player(kind=1, place="right", span=(8, 12), loudness=0.4),  # a tuba
    ),
    outdoor=True,
    seed=0,
)


@pytest.mark.parametrize(
    ("template", "values", "answer"),
    [
        ("Is there a <Object> sound?", ("drum",), "no"),
        ("How many musical instruments were heard throughout the video?", (), "two"),
        ("Is the <Object> playing longer than the <Object>?", ("violin", "tuba"), "yes"),
        ("How many types of musical instruments appeared in the entire video?", (), "two"),
        ("Where is the performance?", (), "outdoor"),
        ("What kind of instrument is the <LRer> instrument? ", ("righttest",), "tuba"),
        ("Is the <Object> in the video always playing?", ("violin",), "no"),
        ("How many sounding <Object> in the video？", ("tuba",), "one"),
        ("Where is the <LL> instrument?", ("loudest",), "right"),
        ("Is the instrument on the <LR> louder than the instrument on the <LR>?", ("right", "left"), "yes"),
        ("Where is the <FL> sounding instrument?", ("last",), "right"),
        ("What is the <TH> instrument that comes in?", ("second",), "tuba"),
        ("Which instrument makes sounds <BA> the <Object>?", ("before", "tuba"), "violin"),
    ],
)
def test_answers_follow_from_the_scene(template, values, answer):
    asked = {(one.template, one.values): one.answer for one in candidates(SCENE)}
    assert asked[template, values] == answer


def test_of_two_that_play_together_one_is_louder():
    together = replace(SCENE, players=tuple(replace(player, span=(0, 12)) for player in SCENE.players))
    asked = {(one.template, one.values): one.answer for one in candidates(together)}
    assert asked["Is the <Object> louder than the <Object>?", ("violin", "tuba")] == "no"
    assert asked["Is the <Object> in the video always playing?", ("tuba",)] == "yes"
    assert not any(one.type == ("Audio-Visual", "Temporal") for one in candidates(together))


def test_a_sound_from_off_the_stage_is_heard_and_not_seen():
    scene = Scene(
        video="00000002",
        players=(Player(0, "left", None, 0.1), Player(3, None, (0, 12), 0.4)),
        outdoor=False,
        seed=0,
    )
    asked = {(one.template, one.values): one.answer for one in candidates(scene)}
    assert asked["Is this sound from the instrument in the video?", ()] == "no"
    assert asked["Is there a <Object> sound?", ("drum",)] == "yes"
    assert asked["Is there a <Object> in the entire video?", ("drum",)] == "no"
    assert asked["How many instruments are sounding in the video?", ()] == "zero"


def test_questions_are_of_all_nine_types_and_no_template_gives_its_answer_away():
    rng = np.random.default_rng(0)
    scenes = [music_avqa.write_scene(number, rng) for number in range(300)]
    asker, records = Asker(rng), []
    for scene in scenes:
        records += asker.ask(scene, len(records) + 1)
    kept = [record for record in records if not record["question_deleted"]]
    assert {tuple(json.loads(record["type"])) for record in kept} == set(TYPES)
    assert [record["question_id"] for record in records] == list(range(1, len(records) + 1))
    assert any(record["question_content"].endswith("？") for record in kept)
    assert any(record["question_content"].endswith("? ") for record in kept)
    assert 0 < len(records) - len(kept) < 0.1 * len(records)
    answers = defaultdict(Counter)
    for record in kept:
        answers[record["question_content"]][record["anser"]] += 1
    most_frequent = sum(counts.most_common(1)[0][1] for counts in answers.values())
    assert most_frequent < 0.53 * len(kept)


def test_up_to_two_of_three_objects_sound_together_in_turn_or_not_at_all():
    scripts = avs_ms3.write_scripts(600, 0)
    assert scripts == avs_ms3.write_scripts(600, 0) != avs_ms3.write_scripts(600, 1)
    frames = [(script.visible, sounding) for script in scripts for sounding in script.sounding]
    assert all(len(set(visible)) == 3 and set(sounding) <= set(visible) for visible, sounding in frames)
    counts = Counter(len(sounding) for _, sounding in frames)
    assert set(counts) == {0, 1, 2}
    assert counts[2] > counts[1] > counts[0] > 0
    in_turn = [
        script for script in scripts if len(set(script.sounding)) == 2 and len(script.sounding[0]) == 1
    ]
    assert any(len(script.sounding[4]) == 1 for script in in_turn)
    # Neither its class nor its place tells whether an object sounds.
    heard = [
        np.mean([index in sounding for visible, sounding in frames if index in visible])
        for index in avs_ms3.KINDS
    ]
    placed = [np.mean([visible[place] in sounding for visible, sounding in frames]) for place in range(3)]
    assert max(*heard, *placed) - min(*heard, *placed) < 0.15


def test_masks_of_ms3_show_the_objects_of_their_second(tmp_path):
    """The masks of two objects are those of each alone; those of a second without a sound are empty."""
    from PIL import Image

    def masks(name, sounding):
        script = avs_ms3.Script(name, "train", (0, 2, 5), sounding, seed=4)
        avs_ms3.render(script, tmp_path)
        folder = tmp_path / "gt_masks" / "train" / name
        return [np.asarray(Image.open(folder / f"{name}_{second}.png")) > 0 for second in range(1, 6)]

    (tmp_path / "raw_videos").mkdir()
    both, first, second = (masks(name, (sounding,) * 4 + ((),)) for name, sounding in (
        ("both", (0, 5)), ("first", (0,)), ("second", (5,))
    ))  # fmt: skip
    for frame in range(4):
        assert first[frame].any()
        assert second[frame].any()
        assert not (first[frame] & second[frame]).any()
        assert np.array_equal(both[frame], first[frame] | second[frame])
    assert not any(one[4].any() for one in (both, first, second))
