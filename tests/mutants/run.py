"""Remove guards from a copy of the tree, one at a time, and list the quick tests that then fail.

`guards.toml` lists the guards, and README.md describes it. Exit status 1 when no test fails without one of
them, or when the list does not match the tree.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("guards.toml")
MOST_SECONDS = 300.0  # a mutant that hangs counts as detected
WHOLE_SECONDS = 3600.0  # for many tests at once
_MARK = "STGCMA_MUTANTS_COPY"  # in the environment of every process that works on a copy
_PASSED, _FAILED = 0, 1  # exit statuses of pytest; all others mean that the tests did not run
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Guard:
    """A guard, and its replacement.

    Attributes:
        name: the behaviour that it guards, as a short sentence.
        file: relative to the root.
        text: whole lines or a part of one, found in the file exactly once.
        without: the text that replaces it.
        tests: arguments of pytest; at least one of these quick tests must fail without the guard.
    """

    name: str
    file: str
    text: str
    without: str
    tests: tuple[str, ...]

    def removed(self, source: str) -> str:
        """Return `source` without the guard. Raises ValueError unless its text is found exactly once."""
        found = source.count(self.text)
        if found != 1:
            raise ValueError(f"{self.name}: its text is {found} times in {self.file}, must be once")
        return source.replace(self.text, self.without)


@dataclass(frozen=True)
class Outcome:
    """Result of the tests: exit status of pytest (None: it hung), failed tests, output and duration."""

    status: int | None
    failed: tuple[str, ...]
    output: str
    seconds: float


class Copy:
    """A copy of the tree that is imported as `stgcma`, by child processes too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "stgcma"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.split(b"\0")
        for name in map(os.fsdecode, filter(None, listed)):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)

    def environment(self) -> dict[str, str]:
        """Return the environment of processes that import the copy."""
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        own = {
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",  # cached bytecode cannot tell two changes within a second
            "TMPDIR": str(scratch),
            "OMP_NUM_THREADS": "1",
            _MARK: str(self.folder),
        }
        return os.environ | own

    def check(self) -> None:
        """Raise RuntimeError unless `stgcma` is this copy."""
        code = "import stgcma; print(stgcma.__file__)"
        done = subprocess.run(
            [sys.executable, "-c", code], env=self.environment(), capture_output=True, text=True, check=True
        )
        if Path(done.stdout.strip()).parent.resolve() != self.tree.resolve():
            raise RuntimeError(f"stgcma is {done.stdout.strip()}, not the copy in {self.tree}")

    def test(self, tests: Iterable[str], most_seconds: float) -> Outcome:
        """Run the quick ones of `tests` on the copy as it is."""
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-rfE", "-m", "not slow"]
        command += ["-p", "no:cacheprovider", "-p", "no:xdist", *tests]
        began = time.monotonic()
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                command,
                cwd=self.tree,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            status: int | None = None
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(most_seconds)
            finally:
                self._end_processes()
                process.wait()
            said.seek(0)
            output = said.read().decode(errors="replace")
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        return Outcome(status, tuple(_FAILURE.findall(output)), output, time.monotonic() - began)

    def _end_processes(self) -> None:
        """Kill all processes of this copy: without a guard, children may outlive their parents."""
        mark = f"{_MARK}={self.folder}".encode()
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or belongs to another user
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    os.kill(int(place.name), signal.SIGKILL)

    def test_without(self, guard: Guard, tests: Iterable[str], most_seconds: float) -> Outcome:
        """Run `tests` without `guard`."""
        path = self.tree / guard.file
        source = path.read_text(encoding="utf-8")
        try:
            path.write_text(guard.removed(source), encoding="utf-8")
            return self.test(tests, most_seconds)
        finally:
            path.write_text(source, encoding="utf-8")


def read_guards() -> list[Guard]:
    """Return the list in its order. Raises TypeError for an entry with other fields than a guard."""
    entries = tomllib.loads(LIST.read_text(encoding="utf-8"))["guard"]
    return [Guard(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def verdict(outcome: Outcome) -> str | None:
    """Return the complaint about the tests of a removed guard; None when one of them failed, as it must."""
    if outcome.status in (None, _FAILED):
        return None
    if outcome.status == _PASSED:
        return "NO TEST FAILS"
    return f"pytest ended with status {outcome.status}: {outcome.output.strip().splitlines()[-1]}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Remove the selected guards. Returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only guards with one of these words in name or file"
    )
    parser.add_argument("--workers", type=int, default=2, help="number of copies used at once (default 2)")
    parser.add_argument("--all", action="store_true", help="run the whole quick suite without each guard")
    parser.add_argument("--timeout", type=float, help="seconds for one guard (default 300, with --all 3600)")
    parser.add_argument("--show", action="store_true", help="print pytest's output")
    asked = parser.parse_args()
    words = [word.lower() for word in asked.words]
    guards = [
        guard
        for guard in read_guards()
        if not words or any(word in f"{guard.name} {guard.file}".lower() for word in words)
    ]
    most = asked.timeout or (WHOLE_SECONDS if asked.all else MOST_SECONDS)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(asked.workers):
            (Path(folder) / str(number)).mkdir()
            copy = Copy(Path(folder) / str(number))
            copy.check()
            copies.put(copy)
        return _take_out(guards, copies, asked, most)


def _take_out(guards: list[Guard], copies: SimpleQueue[Copy], asked: argparse.Namespace, most: float) -> int:
    def on_a_copy(guard: Guard | None, tests: Iterable[str]) -> Outcome:
        copy = copies.get()
        try:
            if guard is None:
                return copy.test(tests, WHOLE_SECONDS)
            return copy.test_without(guard, tests, most)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(asked.workers) as threads:
        # Tests that fail with all guards would prove nothing.
        named = sorted({test for guard in guards for test in guard.tests}) if not asked.all else ["tests"]
        parts = [named[first :: asked.workers] for first in range(min(asked.workers, len(named)))]
        for whole in threads.map(lambda part: on_a_copy(None, part), parts):
            if whole.status != _PASSED:
                _say(f"{whole.output}\nthese tests fail with all guards in place")
                return 1
        wrong = 0
        wanted = [("tests",) if asked.all else guard.tests for guard in guards]
        for guard, outcome in zip(guards, threads.map(on_a_copy, guards, wanted), strict=True):
            said = verdict(outcome)
            wrong += said is not None
            hung = "hangs" if outcome.status is None else ""
            _say(f"{guard.name} ({guard.file}, {outcome.seconds:.0f} s): {said or hung}")
            for failed in outcome.failed if said is None else ():
                _say(f"    {failed}")
            if asked.show:
                _say(outcome.output)
    _say(f"{len(guards) - wrong} of {len(guards)} guards are covered by a quick test")
    return int(wrong > 0 or not guards)


if __name__ == "__main__":
    sys.exit(main())
