"""Damaged files: every one has an outcome, the parent lives, and no deadline is overrun."""

import random
import time
from pathlib import Path

import pytest
from stgcma.preprocess.media.isolation import IsolatedPool
from stgcma.preprocess.media.probe import REASONS, ClipError

SOURCES = """
    h264.mp4 faststart.mp4 fragments.mp4 hevc-23976.mp4 mpeg4.avi mpeg4.mp4 opengop.mkv vp9-2997.webm vp8.webm
    av1.webm av1.mp4 stream.ts rotated-90.mp4 surround.mp4
""".split()  # noqa: SIM905
DEADLINE_SECONDS = 20


def flip_bits(data, rng):
    for _ in range(rng.choice((1, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data, rng):
    del data[rng.randrange(1, len(data)) :]


def damage_header(data, rng):
    start = 0 if rng.random() < 0.5 else max(0, len(data) - 3000)  # MP4 keeps its index at the end
    for _ in range(rng.choice((1, 4, 16))):
        at = start + rng.randrange(min(3000, len(data) - start))
        data[at] = rng.choice((0x00, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def drop_middle(data, rng):
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 5000)]


MUTATIONS = (flip_bits, cut, damage_header, drop_middle)


def mutate(clip, folder, count):
    paths = []
    for seed in range(count):
        rng = random.Random(seed)
        source = clip(SOURCES[seed % len(SOURCES)])
        data = bytearray(source.read_bytes())
        MUTATIONS[seed // len(SOURCES) % len(MUTATIONS)](data, rng)
        paths.append(folder / f"{seed:04}{source.suffix}")
        paths[-1].write_bytes(data)
    return paths


def decode_all(paths, *, workers):
    """{path: digests or ClipError}; checks that everything has an outcome, in time."""
    from decode_target import decode

    outcomes, overruns, last = {}, [], time.time()
    limits = {"timeout_seconds": DEADLINE_SECONDS, "memory_bytes": 1 << 30}
    with IsolatedPool(workers, **limits, imports=("decode_target",)) as pool:
        for path, outcome in pool.map(decode, map(str, paths)):
            started = float(Path(path).with_suffix(".started").read_text())
            now = time.time()
            if now - max(started, last) > DEADLINE_SECONDS + 5:
                overruns.append(path)
            outcomes[path], last = outcome, now
    assert not overruns
    assert list(outcomes) == list(map(str, paths))
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, ClipError)]
    assert {error.reason for error in failed} <= set(REASONS)
    assert all(error.message and "\n" not in error.message for error in failed)
    assert 0 < len(failed) < len(outcomes)
    return outcomes


def test_forty_mutated_files_and_the_same_again(clip, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    paths = mutate(clip, tmp_path, 40)
    first, again = decode_all(paths, workers=2), decode_all(paths, workers=1)
    assert {path: str(outcome) for path, outcome in first.items()} == {
        path: str(outcome) for path, outcome in again.items()
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_hundred_mutated_files(clip, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    decode_all(mutate(clip, tmp_path, 500), workers=2)
