"""A preprocessing run whose decoding is made up: fast enough to be killed hundreds of times.

Also a program, since what is to be killed must be a process of its own:
    stand_in.py run OUT RAW [--workers N] [--serial] …
    stand_in.py finish OUT RAW              writes the tables of parts
    stand_in.py randomly FOLDER RAW --kills N [--parts N] …
                                            kills runs, or parts and their end, before random operations
    stand_in.py everywhere FOLDER RAW …     kills a run before its operations on files, in turn: the first of
                                            each kind and the last renaming and removal of each kind, or
                                            with --every each
"""

import argparse
import contextlib
import functools
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image
from stgcma.errors import StgcmaError
from stgcma.preprocess import Options
from stgcma.preprocess.collections.specification import (
    ClipSpecification,
    Collection,
    FeatureSettings,
    Sampling,
)
from stgcma.preprocess.media.reasons import ClipError
from stgcma.preprocess.pipeline import build as building
from stgcma.preprocess.pipeline import engines, finished, finishing, shard_chunks
from stgcma.preprocess.pipeline.output import open_output
from stgcma.preprocess.pipeline.plan import make_plan
from stgcma.preprocess.pipeline.raw_storage import ClipMaker
from stgcma.preprocess.pipeline.shard_plan import plan_shards
from stgcma.shards.fbank_sums import fbank_sums
from stgcma.shards.manifest import read_dataset
from stgcma.shards.schema import Sample
from stgcma.shards.storage import open_store
from stgcma.shards.verification import verify

SAMPLING = Sampling(frames=2, frame_times="evenly", resize="crop", windows=2, window_seconds=1.0)
FEATURES = FeatureSettings(SAMPLING, ("clip",)).to_json()
CLIPS_PER_SHARD = 4
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "os.listdir")
# Beginnings of kinds of operations after which other processes see another folder.
PUBLISHING = (b'["os.rename"', b'["os.remove"')
VERSIONS = {"stgcma": "1", "pyav": "18.1.0"}
DECODER = "pyav"


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@dataclass(frozen=True)
class StandIn:
    """Makes noise of a clip's key; one for which `raw` has a file KEY.bad cannot be made, others do harm."""

    raw: Path
    seconds: float = 0.0

    def __call__(self, clip):
        time.sleep(self.seconds)
        if clip.problem is not None:
            raise ClipError(*clip.problem)
        if (self.raw / f"{clip.key}.bad").exists():
            raise ClipError("unreadable", f"{self.raw}/{clip.source} cannot be read")
        for harm, do in HARMS.items():
            if (self.raw / f"{clip.key}.{harm}").exists():
                do(self.raw / clip.source)
        if (self.raw / f"{clip.key}.odd").exists():
            return sample_of(clip, {"label.npy": 5})
        return sample_of(clip, {})


def wait(path):
    """Wait until the file KEY.wait is removed."""
    while path.with_name(f"clip-{path.stem}.wait").exists():
        time.sleep(0.005)


def kill_parent_once(path):
    """Ends the process that this one decodes for, the first time."""
    mark = path.with_suffix(".killed")
    if not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)


HARMS = {
    "kill-once": kill_parent_once,
    "hang": lambda _: time.sleep(600),
    "wait": wait,
    "abort": lambda _: os.abort(),
    "hungry": lambda _: bytearray(4 << 30),
    "raise": lambda path: path.read_bytes(),
}


@functools.cache
def flat_picture(colour):
    """A frame as `verify` wants it, in one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (224, 224), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def sample_of(clip, replaced):
    rng = np.random.default_rng([*clip.key.encode()])
    features = rng.standard_normal((2, 5, 128)).astype(np.float16)
    members = {name: flat_picture(tuple(rng.bytes(3))) for name in ("frame_00.jpg", "frame_01.jpg")}
    members |= {"fbank_128.npy": npy(features), "label.npy": npy(np.array([0, 1], np.int16))}
    return Sample(
        key=clip.key,
        members=members | replaced,
        fields=dict(clip.fields),
        source=clip.source,
        seconds=2.0,
        fps=25.0,
        has_audio=True,
        decoder=DECODER,
        fbank_sums={"fbank_128": fbank_sums(features)},
    )


def make_collection(clips):
    """A collection of `clips` clips, or of those with the given numbers in their order."""
    splits = ("train", "train", "train", "val", "test")
    return Collection(
        name="folder",
        task="ave",
        sampling=SAMPLING,
        classes=("Bell", "Background"),
        clips=tuple(
            ClipSpecification(f"clip-{n}", splits[n % 5], f"{n}.mp4", labels=(0, 1), fields={"n": n})
            for n in (range(clips) if isinstance(clips, int) else clips)
        ),
    )


class InlinePool:
    """Decodes where it is called."""

    def map(self, function, items):
        for item in items:
            try:
                yield item, function(item)
            except ClipError as error:
                yield item, error


def run_serial(tasks, make, folder, *, on_clip, **_):
    for task in tasks:
        yield engines.make_shard(task, make, InlinePool(), folder, on_clip)


def build(
    out,
    raw,
    *,
    clips=43,
    workers=1,
    serial=True,
    seconds=0.0,
    features=FEATURES,
    clips_per_shard=CLIPS_PER_SHARD,
    chunk=shard_chunks.CHUNK_CLIPS,
    sources=None,
    **options,
):
    """A whole run, with versions that need no decoder to be asked."""
    versions = mock.patch.object(building, "tool_versions", return_value=VERSIONS)
    chunks = mock.patch.object(shard_chunks, "CHUNK_CLIPS", chunk)
    # A limit on time begins after the imports; children have a program's module already.
    imports = () if serial or __name__ == "__main__" else (__name__,)
    with versions, chunks, mock.patch.object(engines, "IMPORTS", imports):
        return building.build(
            make_collection(clips),
            ClipMaker(StandIn(Path(raw), seconds)),
            features,
            out,
            Options(features=("clip",), workers=workers, **options),
            engine=run_serial if serial else None,
            clips_per_shard=clips_per_shard,
            sources=sources,
        )


def contents(folder):
    """Every file and folder below, hidden ones too, with the hash of its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(Path(folder).rglob("*"))
    }


def faults(folder):
    """Return the faults that `shards verify` finds."""
    return verify(folder, on_total=lambda _: None, on_bytes=lambda _: None).faults


def unfinish(out):
    """Makes OUT what it was right before its last file was written."""
    info = read_dataset(out)
    with open_output(out) as output:
        plan = make_plan(info)
        tasks = plan_shards(make_collection(12).clips, CLIPS_PER_SHARD)
        tables = finished._read_tables(out, ())
        options = {"retry_quarantined": False, "repair": False}
        _, kept = finished.sorted_out(open_store(out), tasks, tables, {}, **options)
        output.reopen(plan, list(map(finished._Summed(out), kept)))


def kill_everywhere(folder, raw, options, *, every):
    """Kill runs before operations on files, a new run for each, and run them again to their end.

    Return the numbers of operations and kills, and the kills after which the result differs.
    """
    if options.get("append"):
        shutil.copytree(folder / "before", folder / "whole")
    build(folder / "whole", raw, **options)
    wanted = contents(folder / "whole")
    out = folder / "killed"
    with begun(folder, out, options):
        operations = kinds_of_operations(out, raw, options)
    first = {kind: number for number, kind in reversed(list(enumerate(operations, 1)))}
    last = {kind: number for number, kind in enumerate(operations, 1) if kind.startswith(PUBLISHING)}
    kills = range(1, len(operations) + 1) if every else sorted({*first.values(), *last.values()})
    different = []
    for number in kills:
        with begun(folder, out, options):
            assert died(lambda number=number: build_until(out, raw, number, options))
            build(out, raw, **options)
            if contents(out) != wanted:
                different.append(number)
    return {"operations": len(operations), "kills": len(kills), "different": different}


def kill_randomly(folder, raw, options, *, parts, kills):
    """Kill runs before random operations on files, each step of a run a few times and then let it end.

    With `parts`, the steps are the parts in any order, and their end. Return the number of kills, of whole
    runs and of those whose result differs from that of a run at once.
    """
    rng = random.Random(f"{parts}{options}")
    if options.get("append"):
        shutil.copytree(folder / "before", folder / "whole")
    build(folder / "whole", raw, **options)
    wanted = contents(folder / "whole")
    out = folder / "killed"
    result = {"kills": 0, "runs": 0, "different": 0}
    with begun(folder, out, options):
        most = len(kinds_of_operations(out, raw, options))
    while result["kills"] < kills:
        with begun(folder, out, options):
            for step in steps(out, raw, options, rng, parts):
                for _ in range(rng.randint(0, 3)):
                    number = rng.randint(1, most // max(parts, 1))
                    result["kills"] += died(lambda number=number, step=step: kill_before(out, number, step))
                step()
            result["runs"] += 1
            result["different"] += contents(out) != wanted
    return result


def steps(out, raw, options, rng, parts):
    """Return what makes OUT: one run, or parts in any order, some of them twice, and their end."""
    if not parts:
        return [functools.partial(build, out, raw, **options)]
    numbers = [*range(1, parts + 1), rng.randint(1, parts)]
    rng.shuffle(numbers)
    made = [functools.partial(build, out, raw, **options | {"part": (number, parts)}) for number in numbers]
    return [*made, functools.partial(finishing.finish_parts, out)]


def kill_before(out, number, step):
    """Do `step`, and kill this process before its `number`-th operation on a file of OUT."""
    left = number

    def hook(event, arguments):
        nonlocal left
        if event in OPERATIONS and str(out) in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    step()


@contextlib.contextmanager
def begun(folder, out, options):
    """Make OUT as the run begins with it; remove it afterwards."""
    if any(options.get(name) for name in ("retry_quarantined", "repair", "overwrite", "append")):
        shutil.copytree(folder / "before", out)
    yield
    shutil.rmtree(out)


def kinds_of_operations(out, raw, options):
    """The kind of every operation of a run on a file of OUT: its name, the calling lines, the kind of file.

    Files of one kind differ in numbers and splits.
    """
    path = out.with_name("operations")
    notes = os.open(path, os.O_CREAT | os.O_WRONLY)

    def note(event, arguments):
        if event in OPERATIONS and str(out) in str(arguments[0]):
            frames, frame = [], sys._getframe(1)
            while frame is not None and len(frames) < 4:
                if frame.f_globals.get("__name__", "").startswith("stgcma."):
                    frames.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
                frame = frame.f_back
            kind = re.sub(r"\d+|train|val|test", "*", str(arguments[0]).removeprefix(str(out)))
            os.write(notes, json.dumps([event, kind, frames]).encode() + b"\n")

    def run():
        sys.addaudithook(note)
        build(out, raw, **options)

    assert not died(run)
    os.close(notes)
    return path.read_bytes().splitlines()


def build_until(out, raw, number, options):
    """Kills this process before its `number`-th operation on a file of OUT."""
    kill_before(out, number, lambda: build(out, raw, **options))


def died(work):
    """Runs `work` in a child; whether it was killed. A child that fails in another way is an error."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status > 0:
        raise RuntimeError(f"a run ended with status {status}")
    return status == -signal.SIGKILL


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("run", "finish", "randomly", "everywhere"))
    parser.add_argument("out", type=Path)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--clips", type=int, default=43)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--serial", action="store_true")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--retry-quarantined", action="store_true")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--append", action="store_true")
    parser.add_argument("--part", type=lambda text: tuple(map(int, text.split("/"))))
    parser.add_argument("--clips-per-shard", type=int, default=CLIPS_PER_SHARD)
    parser.add_argument("--chunk", type=int, default=shard_chunks.CHUNK_CLIPS)
    parser.add_argument("--parts", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--every", action="store_true")
    options = vars(parser.parse_args())
    what, out, raw, every = (options.pop(name) for name in ("what", "out", "raw", "every"))
    parts, kills = options.pop("parts"), options.pop("kills")
    if what == "randomly":
        sys.stdout.write(json.dumps(kill_randomly(out, raw, options, parts=parts, kills=kills)))
        return
    if what == "everywhere":
        sys.stdout.write(json.dumps(kill_everywhere(out, raw, options, every=every)))
        return
    try:
        finishing.finish_parts(out) if what == "finish" else build(out, raw, **options)
    except StgcmaError as error:
        sys.stderr.write(f"stgcma: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
