import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.synthesis import ave
from stgcma.preprocess.synthesis.objects import OBJECTS


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("clips", [10, 67, 160])
def test_the_event_is_where_sight_and_sound_agree(clips, seed):
    scripts = ave.write_scripts(clips, seed)
    background = 0
    for script in scripts:
        both = [a == b == script.event for a, b in zip(script.seen, script.heard, strict=True)]
        assert both == [script.start <= second < script.end for second in range(10)]
        # Nothing but the event is seen and heard at once.
        agree = [a == b for a, b in zip(script.seen, script.heard, strict=True)]
        assert agree == both
        background += 10 - sum(both)
    assert len({script.video for script in scripts}) == clips
    assert 0.40 <= background / (10 * clips) <= 0.55


def test_every_class_and_every_decoy_occurs():
    scripts = ave.write_scripts(160, 0)
    assert {script.event for script in scripts} == set(range(len(OBJECTS)))
    assert len(OBJECTS) >= 6
    seconds = [
        (script.seen[s] == script.event, script.heard[s] == script.event, script.seen[s], script.heard[s])
        for script in scripts
        for s in range(10)
    ]
    assert any(seen and not heard and sound == -1 for seen, heard, _, sound in seconds), "object silent"
    assert any(seen and not heard and sound >= 0 for seen, heard, _, sound in seconds), "another sound"
    assert any(heard and not seen and sight == -1 for seen, heard, sight, _ in seconds), "sound unseen"


def test_one_sense_alone_cannot_know():
    """The best guess from what is seen (or heard) in a second alone: barely above always background."""
    scripts = ave.write_scripts(600, 1)
    event = np.array([[s.start <= t < s.end for t in range(10)] for s in scripts])
    for track in ("seen", "heard"):
        perceived = np.array([getattr(script, track) for script in scripts])
        best = sum(
            max(np.sum(event[perceived == index]), np.sum(~event[perceived == index]))
            for index in np.unique(perceived)
        )
        assert best / event.size < 0.75


def test_the_same_seed_gives_the_same_scripts():
    assert ave.write_scripts(40, 7) == ave.write_scripts(40, 7)
    assert ave.write_scripts(40, 7) != ave.write_scripts(40, 8)


def test_the_layout_is_the_collections_own(ave_raw):
    assert sorted(path.name for path in ave_raw.iterdir()) == [
        "AVE",
        "Annotations.txt",
        "testSet.txt",
        "trainSet.txt",
        "valSet.txt",
    ]
    rows = (ave_raw / "Annotations.txt").read_text().splitlines()
    assert rows[0] == "Category&VideoID&Quality&StartTime&EndTime"
    listed = {row.split("&")[1] for row in rows[1:]}
    assert listed == {path.stem for path in (ave_raw / "AVE").glob("*.mp4")}
    parts = [(ave_raw / f"{split}Set.txt").read_text().splitlines() for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [8, 1, 3]
    assert sorted(parts[0] + parts[1] + parts[2]) == sorted(rows[1:])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_whatever_the_workers(ave_raw, tmp_path):
    """`ave_raw` was made by one worker."""
    ave.synthesize(tmp_path / "2", clips=12, seed=3, workers=2)
    first = sorted(ave_raw.rglob("*.*"))
    assert len(first) == 16
    for path in first:
        other = tmp_path / "2" / path.relative_to(ave_raw)
        assert path.read_bytes() == other.read_bytes(), path.name


def test_wrong_requests(stgcma, tmp_path, ave_raw):
    with pytest.raises(InputError, match=r"^clips is 9, must be at least 10"):
        ave.synthesize(tmp_path / "new", clips=9, seed=0)
    result = stgcma("synthesize", "ave", ave_raw, "--clips", 10)
    assert result.status == 2
    assert "is not an empty folder" in result.stderr
    result = stgcma("synthesize", "kinetics", tmp_path / "x")
    assert result.status == 2
    assert "'kinetics' is not known; choose from ave" in result.stderr
