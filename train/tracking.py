"""The trackers of a run: in the background, and without an effect on the training."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..bounded import parse_object, read_file
from ..console import message
from ..errors import one_line
from ..public_paths import without_paths
from ..strict_json import strict_json
from .system_metrics import SystemMetrics
from .trackers import TRACKERS
from .trackers.base import Entry, Pictures, Scalars, TrackedRun, Tracker

if TYPE_CHECKING:
    import torch

    from ..model import STGCMA
    from .config import RunConfig
    from .data import ClipDataset

CLOSE_SECONDS = 30.0
"""The longest wait, at the end of a training, for what was not sent yet."""
_MOST_WAITING = 10_000
_MOST_AT_ONCE = 500
_MOST_RECORD_BYTES = 1 << 20


class DrawClips(Protocol):
    """Draws the predictions of `count` clips, the same at every call: PNG by the clips' keys."""

    def __call__(
        self, model: STGCMA, clips: ClipDataset, *, device: torch.device, precision: str, count: int
    ) -> dict[str, bytes]:
        """Draw; the model is left in evaluation mode, and random numbers are not used."""


class Tracking:
    """All trackers of a run. No method raises an error of a tracker: it is said once, and the tracker ended.

    Args:
        names: of the trackers.
        run: the tracked run.
        system: metrics of the machine.
        drawing: the keyword arguments of `DrawClips`; empty for no pictures.
        close_seconds: as `CLOSE_SECONDS`.
    """

    def __init__(
        self,
        names: Sequence[str],
        run: TrackedRun,
        system: SystemMetrics,
        *,
        drawing: Mapping[str, Any],
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self._system, self._drawing, self._close_seconds = system, drawing, close_seconds
        self._links = [
            (_Background if TRACKERS[name].background else _Direct)(name, TRACKERS[name](), run)
            for name in names
        ]

    @property
    def follows(self) -> bool:
        """True while a tracker takes pictures and the metrics of the machine."""
        return any(link.tracker.follows and not link.failed for link in self._links)

    def scalars(self, group: str, scalars: Mapping[str, float], *, step: int) -> None:
        """Track numbers of a step as `group/NAME`."""
        entry = Scalars(step, {f"{group}/{name}": value for name, value in scalars.items()})
        for link in self._links:
            link.put(entry)

    def count_step(self, step: int) -> None:
        """Track the metrics of the machine when they are due."""
        if self.follows and (found := self._system.step()):
            self._follow(Scalars(step, found))

    def draw(self, draw: Callable[..., dict[str, bytes]], *, step: int) -> None:
        """Track the pictures of `draw`, `DrawClips` of a model and clips, if a tracker takes any."""
        if not (self.follows and self._drawing):
            return
        try:
            self._follow(Pictures(step, draw(**self._drawing)))
        except Exception as error:  # of a clip or of the memory: the training needs no picture
            self._drawing = {}
            message(one_line(f"trackers get no pictures: {type(error).__name__}: {error}"))

    def close(self, *, finished: bool) -> None:
        """End all tracked runs. Wait for what is still being sent, but not longer than `close_seconds`."""
        for link in self._links:
            link.begin_close(finished=finished)
        end = time.monotonic() + self._close_seconds
        for link in self._links:
            link.wait(max(end - time.monotonic(), 0))

    def _follow(self, entry: Entry) -> None:
        for link in self._links:
            if link.tracker.follows:
                link.put(entry)


def open_tracking(config: RunConfig, folder: Path, *, step: int, device: torch.device) -> Tracking:
    """Return the trackers of the run in `folder`, whose saved state is that after `step` steps."""
    settings = config.train
    run = TrackedRun(folder.resolve().name, folder, without_paths(config.model_dump(mode="json")), step)
    drawing = {"device": device, "precision": settings.precision, "count": settings.tracked_clips}
    # Stored tokens have no frames to draw.
    drawn = settings.tracked_clips > 0 and not config.data.tokens
    return Tracking(settings.trackers, run, SystemMetrics(device), drawing=drawing if drawn else {})


class _Direct:
    """A tracker that is called at once."""

    def __init__(self, name: str, tracker: Tracker, run: TrackedRun) -> None:
        self.name, self.tracker, self.failed = name, tracker, False
        self._run = run
        self._begin()

    def _begin(self) -> None:
        self._guarded(lambda: self.tracker.start(self._run, None))

    def put(self, entry: Entry) -> None:
        """Log an entry, unless the tracker has failed."""
        self._guarded(lambda: self.tracker.log([entry]))

    def begin_close(self, *, finished: bool) -> None:
        """Close the tracker."""
        self._guarded(lambda: self.tracker.close(finished=finished))

    def wait(self, _seconds: float) -> None:
        """Return: nothing waits."""

    def _guarded(self, call: Callable[[], object]) -> None:
        if self.failed:
            return
        try:
            call()
        except Exception as error:  # of a library or a network: none of them may stop a training
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, reason: str) -> None:
        self.failed = True
        message(one_line(f"tracker {self.name} ends, the training goes on: {reason}"))


class _Background(_Direct):
    """A tracker with a thread of its own and a record of what it has, for a run that is resumed.

    Steps that are computed again after a kill were sent before, and are not sent twice.
    """

    def _begin(self) -> None:
        self._path = self._run.local / f"{self.name}.json"
        self._waiting: queue.Queue[Entry | None] = queue.Queue(_MOST_WAITING)
        self._lost, self._finished = 0, False
        self._thread = threading.Thread(target=self._work, name=f"tracker {self.name}", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        if self.failed:
            return
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self._lost += 1
            if self._lost == 1:
                message(f"tracker {self.name} is slower than the training: it does not get everything")

    def begin_close(self, *, finished: bool) -> None:
        self._finished = finished
        while True:
            try:
                self._waiting.put_nowait(None)
                return
            except queue.Full:
                self._drop_one()

    def wait(self, seconds: float) -> None:
        """Wait for the thread; leave it when that takes longer."""
        self._thread.join(seconds)
        if self._thread.is_alive() and not self.failed:
            self._fail("it is still sending")

    def _drop_one(self) -> None:
        try:
            self._waiting.get_nowait()
        except queue.Empty:
            return

    def _work(self) -> None:
        self._guarded(self._start)
        while not self.failed:
            entries = [self._waiting.get()]
            while entries[-1] is not None and len(entries) < _MOST_AT_ONCE and not self._waiting.empty():
                entries.append(self._waiting.get())
            new = [one for one in entries if one is not None and self._is_new(one)]
            if new:
                self._guarded(partial(self._deliver, new))
            if entries[-1] is None:
                self._guarded(lambda: self.tracker.close(finished=self._finished))
                return

    def _start(self) -> None:
        record = _read_record(self._path)
        self._steps: dict[str, int] = record["steps"]
        self._identity = self.tracker.start(self._run, record["identity"])
        self._write_record()

    def _deliver(self, entries: list[Entry]) -> None:
        self.tracker.log(entries)
        for entry in entries:
            self._steps[_group(entry)] = entry.step
        self._write_record()

    def _is_new(self, entry: Entry) -> bool:
        return entry.step > self._steps.get(_group(entry), 0)

    def _write_record(self) -> None:
        self._path.parent.mkdir(exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(strict_json({"identity": self._identity, "steps": self._steps}), encoding="utf-8")
        partial.replace(self._path)


def _group(entry: Entry) -> str:
    """Return the kind of an entry; of each kind, steps only grow."""
    if isinstance(entry, Pictures):
        return "predictions"
    return next(iter(entry.values)).partition("/")[0]


def _read_record(path: Path) -> dict[str, Any]:
    """Return the identity of the tracked run and the last step of each kind; none for a new run."""
    if not path.is_file():
        return {"identity": None, "steps": {}}
    content = parse_object(read_file(path, most_bytes=_MOST_RECORD_BYTES), where=str(path))
    identity, steps = content["identity"], content["steps"]
    if not isinstance(identity, str | None) or not all(isinstance(step, int) for step in steps.values()):
        raise ValueError(f"{path} is damaged")
    return {"identity": identity, "steps": dict(steps)}
