"""Synthetic clips with labels: what is seen and heard decides them, in the layouts of the collections."""

from collections import Counter

import pytest
from stgcma.preprocess.collections.divisions import hash_position
from stgcma.preprocess.synthesis import labels, vggsound
from stgcma.preprocess.synthesis.objects import OBJECTS


@pytest.mark.parametrize("seed", range(3))
def test_neither_sight_nor_sound_alone_knows_a_class_of_vggsound(seed):
    scripts = vggsound.write_scripts(120, seed)
    of_pair = {}
    for script in scripts:
        of_pair.setdefault((script.scene.seen, script.scene.heard), set()).add(script.category.name)
    assert all(len(names) == 1 for names in of_pair.values()), "sight and sound together decide the class"
    for sense in ("seen", "heard"):
        groups = {}
        for script in scripts:
            groups.setdefault(getattr(script.scene, sense), Counter())[script.category.name] += 1
        best = sum(max(counts.values()) for counts in groups.values())
        assert best / 120 == pytest.approx(5 / 6, abs=0.02), sense


@pytest.mark.parametrize("clips", [10, 67, 180])
def test_ids_are_in_the_splits_that_the_reader_makes(clips):
    scripts = vggsound.write_scripts(clips, 0)
    assert len({script.video for script in scripts}) == clips
    for script in scripts:
        if script.split != "test":
            assert (hash_position(script.video) < vggsound.VAL_SHARE) == (script.split == "val")
        assert script.scene.file == f"video/{script.video}_{script.start:06d}.mp4"
    for split in ("train", "test"):
        counts = Counter(script.category.name for script in scripts if script.split == split)
        assert max(counts.values()) - min(counts.values()) <= 1 or len(counts) < 6


def test_labels_are_the_objects_that_are_seen_or_heard():
    scripts = labels.write_scripts(120, 0)
    assert {len(script.labels) for script in scripts} == {1, 2, 3}
    for script in scripts:
        assert set(script.labels) == {OBJECTS[i].name for i in (*script.scene.seen, *script.scene.heard)}
    assert any(set(s.scene.heard) - set(s.scene.seen) for s in scripts), "a sound unseen"
    assert any(set(s.scene.seen) - set(s.scene.heard) for s in scripts), "an object unheard"


@pytest.mark.parametrize("module", [vggsound, labels])
def test_the_same_seed_gives_the_same_scripts(module):
    assert module.write_scripts(20, 5) == module.write_scripts(20, 5)
    assert module.write_scripts(20, 5) != module.write_scripts(20, 6)
