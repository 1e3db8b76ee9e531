"""Division of clips into shards, also of a million of them."""

import subprocess
import sys

import pytest
from stgcma.preprocess.media.probe import MAX_DURATION_SECONDS
from stgcma.preprocess.pipeline.options import Options
from stgcma.preprocess.pipeline.run import for_recordings
from stgcma.preprocess.pipeline.shard_plan import plan_shards

from .stand_in import make_collection

MILLION = """
import resource
from stgcma.preprocess.pipeline.shard_plan import plan_shards
from stgcma.preprocess.collections.specification import ClipSpecification, Collection, Sampling

splits = ("train",) * 8 + ("val", "test")
clips = tuple(
    ClipSpecification(
        f"clip_{n:07d}", splits[n % 10], f"AVE/clip_{n:07d}.mp4", labels=(n % 28,) * 5 + (28,) * 5,
        fields={"category": "Church bell", "start_seconds": n % 5, "end_seconds": 10},
    )
    for n in range(1_000_000)
)
sampling = Sampling(10, "evenly", "crop", 10, 1.0)
collection = Collection("ave", "ave", sampling, ("Bell",), clips)
print(len(collection.plan_sha256), len(plan_shards(collection.clips)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_shards_hold_their_split_in_order():
    clips = make_collection(43).clips
    tasks = plan_shards(clips, 4)
    assert [(task.split, task.index, len(task.clips)) for task in tasks[:7]] == [
        ("train", index, 4 if index < 6 else 3) for index in range(7)
    ]
    for split in ("train", "val", "test"):
        planned = [clip for task in tasks if task.split == split for clip in task.clips]
        assert planned == [clip for clip in clips if clip.split == split]


def test_a_keys_second_use_is_a_failure():
    clips = make_collection(5).clips
    tasks = plan_shards((*clips, clips[3]))
    problems = {(task.split, clip.key): clip.problem for task in tasks for clip in task.clips if clip.problem}
    assert problems == {("val", "clip-3"): ("duplicate-key", "clip-3 is planned twice")}


@pytest.mark.slow
def test_a_million_clips_are_planned_within_two_gigabytes(environment):
    done = subprocess.run(
        [sys.executable, "-c", MILLION], env=environment, capture_output=True, text=True, check=True
    )
    counts, peak_bytes = done.stdout.splitlines()
    assert counts == "64 31250"
    assert int(peak_bytes) < 2_000_000_000


def test_the_time_for_a_clip_has_a_limit_whatever_the_annotations_say():
    """A mask may be called 999999999.png; files of more than MAX_DURATION_SECONDS are not read."""
    given = Options().limits.timeout_seconds
    assert for_recordings(Options(), 100.0).limits.timeout_seconds == given + 25.0
    most = for_recordings(Options(), 999_999_999.0).limits.timeout_seconds
    assert most == given + MAX_DURATION_SECONDS / 4
