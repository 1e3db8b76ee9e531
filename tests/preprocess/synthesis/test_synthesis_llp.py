"""The synthetic LLP: its tables say what is heard and seen, and one modality is no answer for the other."""

import io

import numpy as np
import pytest
from stgcma.preprocess.collections import llp as reader
from stgcma.preprocess.synthesis import llp


@pytest.fixture
def unfilmed(monkeypatch):
    """Write the collection with empty files in place of the videos."""

    def touch(render, scripts, _workers):
        for script in scripts:
            (render.keywords["folder"] / f"{script.clip}.mp4").touch()

    monkeypatch.setattr(llp, "render_all", touch)


@pytest.mark.usefixtures("unfilmed")
def test_the_tables_are_the_scripts(tmp_path):
    llp.synthesize(tmp_path / "raw", clips=40, seed=3)
    collection = reader.read(tmp_path / "raw")
    scripts = llp.write_scripts(40, 3)
    assert [clip.fields["filename"] for clip in collection.clips] == [script.clip for script in scripts]
    assert [clip.split for clip in collection.clips] == ["train"] * 28 + ["val"] * 4 + ["test"] * 8
    for clip, script in zip(collection.clips, scripts, strict=True):
        members = {name: np.load(io.BytesIO(content)) for name, content in clip.members}
        events = np.zeros((2, 10, 25), np.uint8)
        for event in script.events:
            modality = ("audible", "visible").index(event.modality)
            events[modality, event.start : event.end, reader.CLASSES.index(event.name)] = 1
        assert np.array_equal(members["tags.npy"], events.any((0, 1)))
        assert ("events.npy" in members) == (clip.split != "train")
        assert clip.split == "train" or np.array_equal(members["events.npy"], events)
        assert clip.problem is None
        assert (tmp_path / "raw" / clip.source).is_file()


def test_the_seed_decides_the_scripts():
    assert llp.write_scripts(20, 0) == llp.write_scripts(20, 0)
    assert llp.write_scripts(20, 0) != llp.write_scripts(20, 1)


def test_events_are_heard_seen_or_both_and_several_at_once():
    scripts = llp.write_scripts(400, 0)
    kinds = [
        {event.modality for event in script.events if event.name == name}
        for script in scripts
        for name in {event.name for event in script.events}
    ]
    shares = [np.mean([kind == wanted for kind in kinds]) for wanted in ({"audible"}, {"visible"})]
    assert all(0.29 < share < 0.41 for share in shares)
    assert {"audible", "visible"} in kinds
    at_once = [
        sum(event.start <= second < event.end for event in script.of("audible"))
        for script in scripts
        for second in range(10)
    ]
    assert {0, 1, 2} <= set(at_once)
    assert any("." in script.clip for script in scripts)


def test_pictures_and_sound_follow_the_script():
    script = llp.Script(
        "aaaaaaaaaaa_0_10",
        (llp.Event("Car", "visible", 2, 5), llp.Event("Helicopter", "audible", 6, 9)),
        seed=1,
    )
    rng = np.random.default_rng(script.seed)
    frames = [np.frombuffer(frame, np.uint8).astype(int) for frame in llp._paint(script, rng)]
    assert len(frames) == 10 * llp.FPS
    changed = [np.abs(frame - frames[0]).max() > 50 for frame in frames]
    assert changed == [2 <= number // llp.FPS < 5 for number in range(len(frames))]
    waveform = llp._sound(script, rng).reshape(10, -1)
    loud = np.abs(waveform).max(1) > 0.05
    assert np.flatnonzero(loud).tolist() == [6, 7, 8]
