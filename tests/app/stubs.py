"""A run without a model, for tests of the page."""

from __future__ import annotations

import struct
import threading
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from stgcma.app.served_run import ResultFile, RunResult, UnusableVideoError
from stgcma.errors import InputError

TITLE = "Frames and the event of every second"


def png(width=640, height=200):
    """A white PNG picture."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\0" + b"\xee" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@dataclass
class StubRun:
    """A `ServedRun` that finds one event in any file but `broken…`.

    With `held`, a prediction stops in the middle until the event `go` is set, and reports meanwhile.
    """

    name: str = "run-av"
    task: str = "ave"
    preset: str = "ave-demo"
    question_words: tuple[str, ...] | None = None
    held: bool = False
    error: Exception | None = None
    go: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    seen: list = field(default_factory=list)
    folder: Path = Path("/srv/the runs/run-av")

    def check_question(self, question):
        if self.question_words is not None and not question:
            raise InputError(f"{self.name} answers questions: enter one")

    def predict(self, request):
        self.seen.append((request.filename, request.video.read_bytes(), request.question))
        self.started.set()
        request.report(total=4, completed=1, note="decoding")
        while self.held and not self.go.wait(0.01):
            request.report(completed=2, note="")
        if self.error is not None:
            raise self.error
        if request.filename.startswith("broken"):
            raise UnusableVideoError("it cannot be opened")
        files = (
            ResultFile("picture", TITLE, request.folder / "clip.timeline.png"),
            ResultFile("subtitles", "Events", request.folder / "clip.vtt"),
        )
        files[0].path.write_bytes(png())
        files[1].path.write_text("WEBVTT\n\n00:00.000 --> 00:09.000\nbell\n")
        archive = request.folder.with_suffix(".zip")
        with zipfile.ZipFile(archive, "w") as stream:
            for file in files:
                stream.write(file.path, file.path.name)
        silent = ("no audio stream: silence was put in its place",) if "silent" in request.filename else ()
        answer = "yes (72 %)" if self.question_words else "bell 0:02–0:05"
        return RunResult(answer, ("from", "to", "event"), (("0:02", "0:05", "bell"),), silent, files, archive)
