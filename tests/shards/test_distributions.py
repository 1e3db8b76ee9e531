"""Distributions of the clips' statistics, and the command and the page that show them."""

import dataclasses
import json
import re

import pytest
from stgcma.shards.distributions import BINS, distributions, flag_counts
from stgcma.shards.manifest import read_manifest
from stgcma.shards.schema import ClipStatistics

from .conftest import make_sample


@pytest.fixture
def measured(directory):
    """A directory of 21 clips of motion 0 to 0.2 and loudness -30; one more clip lacks the motion."""
    statistics = [
        ClipStatistics(motion=number / 100, loudness_db=-30.0, still=number < 3, mute=False)
        for number in range(21)
    ]
    statistics.append(ClipStatistics(motion=None, loudness_db=-30.0, still=None, mute=True))
    samples = [
        dataclasses.replace(make_sample(f"clip-{number:02d}"), statistics=each)
        for number, each in enumerate(reversed(statistics))
    ]
    return directory({("train", 0): samples})


def test_quantiles_and_bins_are_those_of_the_values(measured):
    found = distributions(read_manifest(measured))
    assert found.keys() == {"motion", "loudness_db"}  # no clip has the others
    motion = found["motion"]
    assert (motion.clips, motion.least, motion.low, motion.median, motion.high, motion.most) == (
        21, 0.0, 0.01, 0.1, 0.19, 0.2,
    )  # fmt: skip
    assert (len(motion.counts), sum(motion.counts)) == (BINS, 21)
    assert (motion.counts[0], motion.counts[-1]) == (1, 1)
    assert motion.counts[BINS // 2] == 1
    loudness = found["loudness_db"]
    assert (loudness.clips, loudness.least, loudness.most) == (22, -30.0, -30.0)
    assert loudness.counts == (22, *[0] * (BINS - 1))


def test_flags_are_counted(measured):
    assert flag_counts(read_manifest(measured)) == {"still": 3, "mute": 1}


def test_stats_and_inspect_show_them(measured, stgcma, tmp_path):
    result = stgcma("shards", "stats", measured)
    assert result.status == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["motion", "21", "0", "0.01", "0.1", "0.19", "0.2"] in rows
    assert ["still:", "3", "clips"] in rows
    part = json.loads(stgcma("shards", "stats", measured, "--json").stdout)["splits"]["train"]
    assert (part["measured"]["motion"]["median"], part["flagged"]) == (0.1, {"still": 3, "mute": 1})
    result = stgcma("inspect", measured, "--clips", 1, "--page", tmp_path / "page.html")
    assert result.status == 0, result.stderr
    page = (tmp_path / "page.html").read_text()
    assert 'aria-label="Histogram of motion"' in page
    (row,) = re.findall(r'<tr><th scope="row">motion</th>.*</tr>', page)
    assert re.findall(r"<td>([^<]*)</td>", row) == ["21", "0", "0.01", "0.1", "0.19", "0.2"]
    assert "still: 3; mute: 1" in page


def test_clips_of_earlier_versions_have_none(directory, stgcma, tmp_path):
    out = directory({("train", 0): [make_sample("old")]})
    records = read_manifest(out)
    assert (distributions(records), flag_counts(records)) == ({}, {})
    assert "statistic" not in stgcma("shards", "stats", out).stdout
    stgcma("inspect", out, "--page", tmp_path / "page.html")
    assert "Statistics" not in (tmp_path / "page.html").read_text()
