"""The queue of predictions: one at a time, in order, with progress, cancelling and deletion."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ..console import message
from ..errors import StgcmaError
from ..public_paths import public_text
from .limits import AppLimits
from .served_run import Request, RunResult, ServedRun, UnusableVideoError

_SECONDS_BETWEEN_DELETIONS = 60.0


class State(StrEnum):
    """States of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class QueueFullError(Exception):
    """As many jobs wait as the limit allows."""


class _CancelledError(Exception):
    pass


class Fault(StrEnum):
    """The cause of a failure."""

    VIDEO = "video"
    SERVER = "server"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run: a result, or the reason why there is none, and its cause."""

    run: ServedRun
    result: RunResult | None
    failure: str = ""
    fault: Fault = Fault.SERVER


@dataclass
class Job:
    """One video to predict with one or several runs.

    Attributes:
        id: a secret of the person who submitted it.
        folder: of its files, deleted with it.
        video: the file.
        filename: its name for people.
        runs: in order.
        question: for runs that take one; may be empty.
        state: of the job.
        progress: the share that is done; None while it is not known.
        note: the present step.
        outcomes: of the runs that are done.
    """

    id: str
    folder: Path
    video: Path
    filename: str
    runs: tuple[ServedRun, ...]
    question: str
    state: State = State.WAITING
    progress: float | None = None
    note: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    ended: float = 0.0


class JobQueue:
    """Jobs and the thread that does them. Use it in `with`: at the end, all files are deleted.

    Args:
        limits: on the number of jobs and results.
        clock: seconds, for the age of results.
    """

    def __init__(self, limits: AppLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._reserved: set[str] = set()
        self._closed = False

    def __enter__(self) -> JobQueue:
        self._scratch = tempfile.TemporaryDirectory(prefix="stgcma-serve-", ignore_cleanup_errors=True)
        self._thread = threading.Thread(target=self._work, name="predictions", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                job.cancelled.set()
            self._changed.notify_all()
        self._thread.join()
        self._scratch.cleanup()

    def reserve(self) -> tuple[str, Path]:
        """Reserve a place, and return the new job's id and its folder.

        Follow it with `submit`, or with `release`. Raises QueueFullError.
        """
        with self._changed:
            self._delete_old()
            if self._closed or len(self._reserved) + len(self._waiting()) >= self.limits.waiting:
                raise QueueFullError
            name = secrets.token_urlsafe(16)
            self._reserved.add(name)
        folder = Path(self._scratch.name) / name
        try:
            folder.mkdir(mode=0o700)
        except OSError:
            self.release(name)
            raise
        return name, folder

    def release(self, name: str) -> None:
        """Give a reserved place back and delete its folder; nothing happens after `submit`."""
        with self._changed:
            if name not in self._reserved:
                return
            self._reserved.discard(name)
        shutil.rmtree(Path(self._scratch.name) / name, ignore_errors=True)

    def submit(self, name: str, video: Path, filename: str, runs: Sequence[ServedRun], question: str) -> Job:
        """Put a job in the place that is reserved under `name`."""
        job = Job(name, Path(self._scratch.name) / name, video, filename, tuple(runs), question)
        with self._changed:
            self._reserved.discard(name)
            self._jobs[name] = job
            self._changed.notify_all()
        return job

    def get(self, name: str) -> Job | None:
        """Return a job, or None when there is none or it is deleted."""
        with self._changed:
            self._delete_old()
            return self._jobs.get(name)

    def position(self, job: Job) -> int:
        """Return the number of jobs that are done before a waiting one."""
        with self._changed:
            ahead = sum(one.state is State.RUNNING for one in self._jobs.values())
            waiting = self._waiting()
            return ahead + (waiting.index(job) if job in waiting else 0)

    def cancel(self, name: str) -> bool:
        """End a job, or delete a finished one with its results. Returns False when there is none."""
        with self._changed:
            job = self._jobs.get(name)
            if job is None:
                return False
            job.cancelled.set()
            if job.state is State.WAITING:
                self._end(job, State.CANCELLED)
            elif job.state is not State.RUNNING:
                self._delete(job)
        return True

    def _waiting(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state is State.WAITING]

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not self._waiting():
                    self._changed.wait(_SECONDS_BETWEEN_DELETIONS)
                    self._delete_old()
                if self._closed:
                    return
                job = self._waiting()[0]
                job.state = State.RUNNING
            with suppress(_CancelledError):
                for index in range(len(job.runs)):
                    outcome = _predict(job, index, self.limits.longest_seconds)
                    with self._changed:
                        job.outcomes.append(outcome)
            with self._changed:  # a job may be cancelled after its last report
                self._end(job, State.CANCELLED if job.cancelled.is_set() else State.DONE)

    def _end(self, job: Job, state: State) -> None:
        """Delete the upload and, of a cancelled job, everything."""
        if job.folder in job.video.parents:
            job.video.unlink(missing_ok=True)
        if state is State.CANCELLED:
            job.outcomes.clear()
            shutil.rmtree(job.folder, ignore_errors=True)
        job.state, job.ended = state, self._clock()
        self._delete_old()

    def _delete_old(self) -> None:
        """Delete finished jobs by age and number. Cancelled ones, which hold nothing, are counted apart."""
        for state in (State.DONE, State.CANCELLED):
            ended = [job for job in self._jobs.values() if job.state is state]
            ended.sort(key=lambda job: job.ended)
            for number, job in enumerate(ended):
                old = self._clock() - job.ended > self.limits.result_seconds
                if old or len(ended) - number > self.limits.results:
                    self._delete(job)

    def _delete(self, job: Job) -> None:
        del self._jobs[job.id]
        shutil.rmtree(job.folder, ignore_errors=True)


def _predict(job: Job, index: int, longest_seconds: float) -> Outcome:
    """Return the outcome of one run of a job. Raises _CancelledError."""
    run = job.runs[index]
    total: float | None = None

    def report(*, completed: float | None = None, note: str | None = None, **known: float | None) -> None:
        nonlocal total
        if job.cancelled.is_set():
            raise _CancelledError
        total = known.get("total") or total
        if note is not None:
            job.note = note
        if completed is not None and total:
            job.progress = (index + min(completed / total, 1.0)) / len(job.runs)

    folder = job.folder / f"run-{index}"
    names = {str(job.folder): "the results", str(run.folder): run.name}  # in messages to visitors
    request = Request(job.video, job.filename, job.question, folder, longest_seconds, report)
    try:
        report()
        folder.mkdir()
        return Outcome(run, run.predict(request))
    except UnusableVideoError as error:
        return Outcome(run, None, public_text(str(error), names), Fault.VIDEO)
    except StgcmaError as error:
        message(f"stgcma: {run.name}: {error}")
        return Outcome(run, None, public_text(str(error), names))
    except _CancelledError:
        raise
    except Exception:  # of one job; the others follow
        message(traceback.format_exc())
        return Outcome(run, None, "The prediction failed unexpectedly; the terminal of the server says why.")
