"""Columns whose members are made up: fast enough to be killed hundreds of times.

Also a program that kills them, since a process without torch is forked in a quarter of the time:
    added.py FOLDER KILLS SEED [--every] [--completing]
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
from stgcma.columns.output import open_column
from stgcma.preprocess.media.reasons import ClipError
from stgcma.shards.column_writer import write_column_shard
from stgcma.shards.columns import ColumnShard
from stgcma.shards.schema import QuarantineRecord

SETTINGS = {"kind": "fbank", "fbank": {"mel_bins": 8, "frame_shift_milliseconds": 4.0, "target_frames": 6}}
VERSIONS = {"numpy": "1"}


def array_of(key):
    """A float16 array `[2, 5, 8]` that follows from the key."""
    return np.random.default_rng([*key.encode()]).standard_normal((2, 5, 8)).astype(np.float16)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def add(
    out, *, member="fbank_8", bad=(), seconds=0.0, settings=SETTINGS, made=None, arrays=array_of, **options
):
    """Add a column; clips in `bad` cannot be made. `made` collects the names of the shards that are made."""
    with open_column(out, member) as output:
        kept = output.begin(settings, VERSIONS, **options)
        return output.complete(
            kept, lambda missing: make(output, member, missing, bad, seconds, made, arrays)
        )


def make(output, member, missing, bad, seconds, made, arrays):
    for name, clips in missing.items():
        failed = []

        def members(clips=clips, failed=failed):
            for clip in clips:
                time.sleep(seconds)
                if clip.key in bad:
                    error = ClipError("changed", "it is another file")
                    failed.append(QuarantineRecord(clip.key, clip.source, error.reason, error.message))
                    continue
                values = arrays(clip.key).astype(np.float64)
                sums = float(values.sum()), float((values * values).sum()), values.size
                yield clip, {f"{member}.npy": npy(arrays(clip.key))}, sums

        rows = write_column_shard(output.store.location, name, members())
        shard = ColumnShard(name, tuple(rows), tuple(failed))
        output.record(shard)
        if made is not None:
            made.append(name)
        yield shard


def contents(folder):
    """Every file below, with its bytes."""
    found = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def check_kills(folder, kills, seed, *, every, completing):
    """Kill additions before operations on files, and at random; return the kills that left other bytes.

    With `completing`, they begin with a complete column of which a shard is gone.
    """
    sys.path.insert(0, str(Path(__file__).parent.parent / "preprocess" / "pipeline"))
    import stand_in

    (folder / "raw").mkdir()
    stand_in.build(folder / "plain", folder / "raw", clips=20)
    shutil.copytree(folder / "plain", folder / "whole")
    options = {"bad": ("clip-3", "clip-19")}
    add(folder / "whole", **options)
    wanted, out, begin = contents(folder / "whole"), folder / "out", folder / "plain"
    if completing:
        begin = shutil.copytree(folder / "whole", folder / "cut")
        (begin / "columns" / "fbank_8" / "train-000001.tar").unlink()
    different = []

    def compare(kill, **killed):
        died = killed.pop("died")()
        add(out, **options)
        if contents(out) != wanted:
            different.append(kill)
        shutil.rmtree(out)
        return died

    shutil.copytree(begin, out)
    operations = operations_of(stand_in, out, lambda: add(out, **options))
    shutil.rmtree(out)
    first = {kind: number for number, kind in reversed(list(enumerate(operations, 1)))}
    numbers = range(1, len(operations) + 1) if every else sorted(first.values())
    for number in numbers:
        shutil.copytree(begin, out)
        hooked = killed_before(stand_in, out, number, lambda: add(out, **options))
        compare(f"operation {number}", died=lambda hooked=hooked: stand_in.died(hooked))
    rng, at_random = random.Random(seed), 0
    while at_random < kills:
        if not out.exists():
            shutil.copytree(begin, out)
        at_random += killed_after(rng.uniform(0, 0.15), lambda: add(out, seconds=0.005, **options))
        if rng.random() < 0.3:
            compare(f"random {at_random}", died=lambda: None)
    return {"operations": len(operations), "random": at_random, "different": different}


def operations_of(stand_in, out, work):
    """The kinds of the operations of `work` on files below `out`, in order."""
    path = out.with_name("operations")
    notes = os.open(path, os.O_CREAT | os.O_WRONLY)

    def note(event, arguments):
        if event in stand_in.OPERATIONS and str(out) in str(arguments[0]):
            name = str(arguments[0]).removeprefix(str(out)).translate(str.maketrans("", "", "0123456789"))
            os.write(notes, json.dumps([event, name, sys._getframe(1).f_lineno]).encode() + b"\n")

    def noted():
        sys.addaudithook(note)
        work()

    assert not stand_in.died(noted)
    os.close(notes)
    return path.read_bytes().splitlines()


def killed_before(stand_in, out, number, work):
    """`work`, in a process that is killed before its `number`-th operation on a file below `out`."""

    def hooked():
        left = number

        def hook(event, arguments):
            nonlocal left
            if event in stand_in.OPERATIONS and str(out) in str(arguments[0]):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()

    return hooked


def killed_after(seconds, work):
    """Kill `work`, in a child, after so many seconds; tell if it had not ended."""
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            work()
            status = 0
        os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"adding a column ended with status {status}")
    return status == -signal.SIGKILL


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kills", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--completing", action="store_true")
    options = parser.parse_args()
    modes = {"every": options.every, "completing": options.completing}
    found = check_kills(options.folder, options.kills, options.seed, **modes)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
