"""The registries of preprocess/ agree with each other and with what their modules do."""

import importlib.util
import subprocess
import sys

import pytest
from stgcma.preprocess.collections import COLLECTIONS, published
from stgcma.preprocess.media.video import DECODERS, deciding_versions, decoder_choices, in_order
from stgcma.preprocess.synthesis import SYNTHESIZERS


def test_every_task_of_a_collection_has_a_synthesizer():
    assert set(SYNTHESIZERS) <= set(COLLECTIONS)
    assert {COLLECTIONS[name].task for name in SYNTHESIZERS} == {one.task for _, one in COLLECTIONS.items()}


@pytest.mark.parametrize("name", COLLECTIONS.names)
def test_a_collection_says_what_help_and_comparisons_need(name):
    entry = COLLECTIONS[name]
    assert entry.summary.startswith("RAW/")
    assert published(name) is entry.published
    if entry.published is not None:
        assert entry.published.clips_of("all") == (sum(entry.published.clips.values()) or None)
        assert entry.published.audio is None or entry.published.audio.std > 0


def test_nothing_is_published_of_an_unknown_collection():
    assert published("nothing") is None


def test_auto_asks_pyav_then_ffmpeg_then_decord():
    assert [name for name, _ in in_order()] == ["pyav", "ffmpeg", "decord"]
    assert decoder_choices() == ("auto", "decord", "ffmpeg", "pyav")
    assert len({entry.order for _, entry in DECODERS.items()}) == len(DECODERS.names)


def test_versions_of_idle_decoders_decide_nothing_but_for_the_one_that_reads_the_sound():
    versions = {"numpy": "1", "pyav": "2", "ffmpeg": "3", "decord": "4"}
    assert deciding_versions(versions, ["decord"]) == {"numpy": "1", "pyav": "2", "decord": "4"}
    assert deciding_versions(versions, ["pyav+ffmpeg"]) == {"numpy": "1", "pyav": "2", "ffmpeg": "3"}


NAMES = """
import sys
from stgcma.preprocess.collections import COLLECTIONS
from stgcma.preprocess.media.video import DECODERS
from stgcma.preprocess.synthesis import SYNTHESIZERS
print(COLLECTIONS.names, DECODERS.names, SYNTHESIZERS.names)
print([name for name in sys.argv[1:] if name in sys.modules])
"""


def test_names_are_known_without_loading_anything_heavy():
    heavy = ["numpy", "av", "torch", "pyarrow", "h5py", "fsspec", "PIL"]
    assert all(importlib.util.find_spec(name) for name in heavy)
    run = [sys.executable, "-c", NAMES, *heavy]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    names, loaded = done.stdout.splitlines()
    assert names == str(COLLECTIONS.names) + " " + str(DECODERS.names) + " " + str(SYNTHESIZERS.names)
    assert loaded == "[]"
