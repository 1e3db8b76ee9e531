"""Conditions on the manifest: what they select, and what is no condition."""

import dataclasses

import pytest
from stgcma.errors import InputError
from stgcma.shards.manifest import read_manifest
from stgcma.shards.schema import ClipRecord, ClipStatistics
from stgcma.shards.where import COLUMNS, Where

from .conftest import make_sample

# Clip to (motion, loudness_db, still).
CLIPS = {
    "fast": (0.1, -20.0, False),
    "slow": (0.01, -20.0, False),
    "photo": (0.0, -70.0, True),
    "one_frame": (None, -20.0, None),
}


@pytest.fixture
def measured(directory):
    samples = [
        dataclasses.replace(
            make_sample(key), statistics=ClipStatistics(motion=motion, loudness_db=loudness, still=still)
        )
        for key, (motion, loudness, still) in CLIPS.items()
    ]
    return directory({("train", 0): samples, ("val", 0): [make_sample("old", split="val")]})


@pytest.mark.parametrize(
    ("condition", "selected", "unknown"),
    [
        ("motion > 0.02", ["fast"], 1),
        ("not motion > 0.02", ["slow", "photo"], 1),
        ("motion > 0.001 and loudness_db > -50", ["fast", "slow"], 1),
        ("motion > 0.02 or still", ["fast", "photo"], 1),
        ("motion > 0.02 or loudness_db == -20", ["fast", "slow", "one_frame"], 1),
        ("0.001 <= motion < 0.1", ["slow"], 1),
        ("0.02 < motion", ["fast"], 1),
        ("motion is null", ["one_frame"], 0),
        ("motion is not null", ["fast", "slow", "photo"], 0),
        ("still is None or not still", ["fast", "slow", "one_frame"], 0),
        ("still == true", ["photo"], 1),
        ("key in ('fast', 'one_frame', 'absent')", ["fast", "one_frame"], 0),
        ("key not in ['fast']", ["slow", "photo", "one_frame"], 0),
        ("key != 'fast' and not (has_audio == false)", ["slow", "photo", "one_frame"], 0),
        ("key >= 'photo'", ["slow", "photo"], 0),
        ("split == 'val'", [], 0),
    ],
)
def test_selected_clips(measured, condition, selected, unknown):
    found = Where(condition).select(measured, split="train")
    keys = [record.key for record in read_manifest(measured, split="train")]
    assert [key for key, chosen in zip(keys, found.selected, strict=True) if chosen] == selected
    assert found.unknown == unknown


def test_statistics_are_those_of_the_samples(measured):
    records = read_manifest(measured)
    assert [(one.motion, one.loudness_db, one.still) for one in records] == [*CLIPS.values(), (None,) * 3]
    assert records[0].statistics == ClipStatistics(motion=0.1, loudness_db=-20.0, still=False)


def test_a_column_without_values_is_named(measured):
    with pytest.raises(InputError, match=r"no clip of .* has motion: an earlier version"):
        Where("motion > 0.02").select(measured, split="val")


def test_every_single_value_is_a_column():
    lists = {"warnings", "source_files", "source_bytes", "source_sha256"}
    assert COLUMNS.keys() == set(ClipRecord._fields) - lists


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("motion >", "is 'motion >', which is no condition"),
        ("motion = 3", "which is no condition"),
        ("motion", "motion is no condition; compare a column"),
        ("moton > 1", "moton is no column of the manifest; did you mean motion?.*loudness_db"),
        ("warnings == 'x'", r"warnings is no column of the manifest\. The columns: key, "),
        (f"seconds > {'1' * 400}", "is too large a number"),
        ("key == '\\ud800'", "is no text: it has half of a surrogate pair"),
        ("motion > 'a'", "'a' cannot be compared with motion, whose values need a number"),
        ("split > 3", "3 cannot be compared with split, whose values need a text in quotes"),
        ("still == 1", "1 cannot be compared with still, whose values need true or false"),
        ("still > true", "still is true or false, and cannot be smaller or greater"),
        ("split == key", "key is a column as well"),
        ("motion is 3", "3 must be null after `is`"),
        ("key in 'abc'", "'abc' must be a list of values"),
        ("key in ()", r"\(\) must be a list of values"),
        ("1 < 2", "1 is no column"),
        ("motion.real > 1", "motion.real is no column"),
        ("motion + 1 > 2", r"motion \+ 1 is no column"),
        ("motion > 0 and __import__('os').getcwd()", r"__import__\('os'\).getcwd\(\) is no condition"),
        ("motion > 0 and (lambda: 1)()", "is no condition"),
        ("motion > [x for x in (1,)][0]", "cannot be compared with motion"),
        ("key == f'{1}'", "cannot be compared with key"),
        ("(" * 400 + "still" + ")" * 400, "which is no condition"),
        ("still and " * 200 + "still", "has 2005 characters, at most 2000 are read"),
    ],
)
def test_what_is_no_condition_is_named(condition, message):
    with pytest.raises(InputError, match=message):
        Where(condition)
