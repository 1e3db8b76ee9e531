"""Random sequences of operations on a directory end with the bytes of a directory that was made directly.

Clips and members are made up. A sequence appends clips (at once or in parts), mends clips that could not be
made, retries them under the same or another file name, damages and repairs shards, and adds, completes and
drops columns, in any order; some operations are killed and repeated.
"""

import contextlib
import dataclasses
import random
import shutil
from functools import partial

import pytest
from stgcma.columns import drop_column
from stgcma.errors import InputError
from stgcma.preprocess import finish_parts
from stgcma.shards.columns import column_names
from stgcma.shards.manifest import read_manifest
from stgcma.shards.reader import iterate_clips
from stgcma.shards.subset import write_subset
from stgcma.shards.verification import verify

from ..preprocess.pipeline import stand_in
from ..preprocess.pipeline.stand_in import build, contents
from .added import add

COLUMNS = ("fbank_8", "fbank_16")
STEPS = (
    *("append", "mend", "retry", "retry", "damage"),
    *("column", "column", "damage_column", "drop", "subset"),
)
LAGGING = "does not hold the clips of shards/"


class Sequence:
    """One sequence of operations on OUT, and the steps that make it directly."""

    def __init__(self, folder, seed, *, kills):
        self.rng, self.kills = random.Random(seed), kills
        self.folder, self.out, self.raw = folder, folder / "out", folder / "raw"
        self.raw.mkdir()
        self.bad = set(self.rng.sample(range(40), 8))
        for number in self.bad:
            (self.raw / f"clip-{number}.bad").touch()
        self.sources, self.additions, self.columns = {}, [], {}
        self.done = []

    def do(self, work):
        """Do `work`, after killing it before a few of its operations on files."""
        for _ in range(self.rng.choice((0, 0, 1, 2)) if self.kills else 0):
            number = self.rng.randint(1, 60)
            stand_in.died(lambda number=number: stand_in.kill_before(self.out, number, work))
        work()

    def build(self, **options):
        whole = partial(build, self.out, self.raw, clips=self.additions[-1], **options)
        if self.rng.random() < 0.5:
            self.do(whole)
            return
        parts = self.rng.randint(1, 3)
        numbers = list(range(1, parts + 1))
        self.rng.shuffle(numbers)
        for number in numbers:
            self.do(partial(whole, part=(number, parts)))
        self.do(partial(finish_parts, self.out))

    def append(self):
        first = self.additions[-1] if self.additions else 3
        self.additions.append(first + self.rng.randint(1, 9))
        self.build(append=True, retry_quarantined=self.rng.random() < 0.3)

    def mend(self):
        for number in self.rng.sample(sorted(self.bad), min(3, len(self.bad))):
            (self.raw / f"clip-{number}.bad").unlink()
            self.bad.remove(number)

    def retry(self):
        written = {row.key for row in read_manifest(self.out)}
        for number in range(self.additions[-1]):
            if f"clip-{number}" not in written and self.rng.random() < 0.5:
                self.sources[f"clip-{number}"] = f"{number}.{self.rng.choice(('mkv', 'avi'))}"
        self.build(append=self.rng.random() < 0.5, retry_quarantined=True)

    def damage(self):
        shard = self.rng.choice(sorted((self.out / "shards").glob("*.tar")))
        content = bytearray(shard.read_bytes())
        if self.rng.random() < 0.5:
            content[self.rng.randrange(len(content) // 2)] ^= 1
        else:
            content = content[: len(content) // 2]
        shard.write_bytes(content)
        self.do(partial(build, self.out, self.raw, clips=self.additions[-1], append=True, repair=True))

    def column(self):
        member = self.rng.choice(COLUMNS)
        bad = self.columns.setdefault(member, set(self.rng.sample(range(40), 4)))
        if self.rng.random() < 0.3 and bad:
            bad.remove(self.rng.choice(sorted(bad)))
        self.add(self.out, member, retry_quarantined=True)

    def add(self, out, member, **options):
        bad = tuple(f"clip-{number}" for number in self.columns[member])
        self.do(partial(add, out, member=member, bad=bad, **options))

    def damage_column(self):
        for member in self.columns:
            if shards := sorted((self.out / "columns" / member).glob("*.tar")):
                shard = self.rng.choice(shards)
                shard.write_bytes(shard.read_bytes()[:-1500] + b"x" * 1500)
                self.add(self.out, member, repair=True)

    def drop(self):
        if self.columns:
            member = self.rng.choice(sorted(self.columns))
            del self.columns[member]
            self.do(partial(_drop, self.out, member))

    def subset(self):
        rows = read_manifest(self.out)
        chosen = sorted(row.key for row in self.rng.sample(rows, min(3, len(rows))))
        new = self.folder / f"subset-{len(self.done)}"
        write_subset(self.out, new, f"key in {chosen}")
        clips = dict(iterate_clips(self.out))
        assert dict(iterate_clips(new, check=True)) == {key: clips[key] for key in chosen}
        assert verify(new).faults == ()

    def step(self):
        name = self.rng.choice(
            (
                "append",
                "mend",
                "retry",
                "retry",
                "damage",
                "column",
                "column",
                "damage_column",
                "drop",
                "subset",
            )
        )
        self.done.append(name)
        getattr(self, name)()
        faults = [fault for fault in verify(self.out).faults if LAGGING not in fault.what]
        assert faults == [], self.done

    def check(self):
        """Complete everything, and compare it with a directory that was made directly."""
        self.build(append=True, retry_quarantined=True)
        direct = self.folder / "direct"
        for clips in self.additions:
            build(direct, self.raw, clips=clips, append=True)
        for member in sorted(self.columns):
            self.add(self.out, member, retry_quarantined=True)
            bad = tuple(f"clip-{number}" for number in self.columns[member])
            add(direct, member=member, bad=bad)
        assert verify(self.out).faults == (), self.done
        assert column_names(self.out) == sorted(self.columns)
        if not self.columns:
            shutil.rmtree(self.out / "columns", ignore_errors=True)  # an empty folder may be left
        assert contents(self.out) == contents(direct), self.done


def _renamed(sequence, make, clips):
    """The stand-in's collection, with the sources that files have now."""
    made = make(clips)
    clips = [dataclasses.replace(c, source=sequence.sources.get(c.key, c.source)) for c in made.clips]
    return dataclasses.replace(made, clips=tuple(clips))


def _drop(out, member):
    with contextlib.suppress(InputError):  # a killed call removed it
        drop_column(out, member)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("seeds", "kills"),
    [(range(1), False), pytest.param(range(100, 140), True, marks=pytest.mark.slow)],
    ids=["few", "killed"],
)
def test_any_sequence_ends_with_the_bytes_of_a_direct_run(tmp_path, seeds, kills):
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        sequence = Sequence(folder, seed, kills=kills)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(
                stand_in, "make_collection", partial(_renamed, sequence, stand_in.make_collection)
            )
            sequence.append()
            for _ in range(10 if kills else 6):
                sequence.step()
            sequence.check()
        shutil.rmtree(folder)
