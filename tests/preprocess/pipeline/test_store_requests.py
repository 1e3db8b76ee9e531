"""Requests to an object store: failing ones, their number, and a web server that only reads."""

import http.server
import json
import random
import re
import threading
from functools import partial
from pathlib import Path

import pytest
import s3fs
from stgcma.columns import drop_column
from stgcma.errors import InputError, StgcmaError
from stgcma.shards import object_lock, retries
from stgcma.shards.columns import column_counts, column_names
from stgcma.shards.reader import iterate_clips
from stgcma.shards.storage import open_store
from stgcma.shards.verification import verify

from ...columns.added import add
from .stand_in import build
from .whole_runs import names_and_contents


class Faults:
    """A WSGI application in front of the S3 stand-in: counts requests, and lets a share of them fail."""

    ANSWERS = (
        ("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>"),
        ("500 Internal Server Error", b"<Error><Code>InternalError</Code></Error>"),
        ("429 Too Many Requests", b""),
    )

    def __init__(self, application, share):
        self.application, self.share = application, share
        self.draws = random.Random(0)
        self.requests = self.failed = 0

    def __call__(self, environment, start_response):
        self.requests += 1
        if self.draws.random() >= self.share:
            return self.application(environment, start_response)
        self.failed += 1
        status, content = self.ANSWERS[self.failed % len(self.ANSWERS)]
        if environment["REQUEST_METHOD"] == "HEAD":  # its answer has no content
            content = b""
        environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))])
        return [content]


@pytest.fixture
def faulty(s3, s3_server, monkeypatch):  # noqa: ARG001 (its bucket)
    """`faulty(SHARE)` puts `Faults` before the stand-in; drivers repeat nothing by themselves."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    server, plain = s3_server._server, s3_server._server.app

    def put(share):
        server.app = Faults(plain, share)
        return server.app

    yield put
    server.app = plain


def test_a_tenth_of_all_requests_fails_and_the_bytes_are_the_same(s3, faulty, tmp_path, raw):
    build(tmp_path / "whole", raw, clips=12)
    faults = faulty(0.1)
    build(f"{s3}/out", raw, clips=12)
    assert names_and_contents(f"{s3}/out") == names_and_contents(tmp_path / "whole")
    result = verify(f"{s3}/out", on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (11, ())
    assert faults.failed > 5


def test_requests_of_a_shard(s3, faulty, raw, monkeypatch):
    """The numbers that docs/shard-format.md states."""
    monkeypatch.setattr(
        object_lock, "REFRESH_SECONDS", 3600.0
    )  # requests that follow from the machine's load

    def requests(work):
        faults = faulty(0.0)
        work()
        return faults.requests

    written, read = {}, {}
    for clips in (8, 28):
        url = f"{s3}/{clips}"
        written[clips] = requests(lambda url=url, clips=clips: build(url, raw, clips=clips))
        read[clips] = requests(lambda url=url: list(iterate_clips(url)))
    assert 3 <= (written[28] - written[8]) / 5 <= 4
    assert (read[28] - read[8]) / 5 == 2


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves files, with the ranges that are asked for, and lists no folder."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2] or len(content))) if asked else (0, len(content))
        part = content[start : end + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass


class WholeFiles(Files):
    """Serves files, always whole."""

    def do_GET(self):
        del self.headers["Range"]
        super().do_GET()


@pytest.fixture
def web(tmp_path, request):
    """The URL of a read-only server of the files below `tmp_path`."""
    handler = partial(getattr(request, "param", Files), directory=tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_finished_directory_opens_behind_a_web_server(web, tmp_path, raw):
    build(tmp_path / "out", raw, clips=12)
    url = f"{web}/out"
    assert list(iterate_clips(url, check=True)) == list(iterate_clips(tmp_path / "out"))
    result = verify(url, on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (11, ())
    first = next((tmp_path / "out" / "shards").iterdir())
    first.write_bytes(first.read_bytes()[:-1024])
    assert {fault.file for fault in verify(url).faults} == {f"shards/{first.name}"}
    first.unlink()
    assert [fault.file for fault in verify(url).faults] == [f"shards/{first.name}"]
    with pytest.raises(InputError, match="cannot be written: over http files can be read only"):
        build(f"{web}/new", raw, clips=12)


@pytest.mark.parametrize("web", [WholeFiles], indirect=True)
def test_a_web_server_without_ranges_is_named(web, tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    with open_store(web).open("a") as stream:
        stream.seek(50)
        with pytest.raises(StgcmaError, match=rf"^{web}/a cannot be reached: .* support range requests"):
            stream.read(10)


def test_columns_are_found_behind_a_web_server(web, tmp_path, raw, stgcma):
    out, url = tmp_path / "out", f"{web}/out"
    build(out, raw, clips=12)
    add(out, bad=("clip-3",))
    add(out, member="fbank_16")
    index = out / "columns" / "index.json"
    assert column_names(url) == column_names(out) == ["fbank_16", "fbank_8"]
    assert column_counts(url) == column_counts(out)
    assert "column fbank_8: 10 clips, 1 quarantined" in stgcma("shards", "stats", url).stdout
    assert "fbank_16.npy" in stgcma("shards", "show", url, "clip-0").stdout
    assert verify(url).faults == ()
    shard = next((out / "columns" / "fbank_8").glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-1024])
    assert {fault.file for fault in verify(url).faults} == {f"columns/fbank_8/{shard.name}"}
    (out / "columns" / "fbank_8" / "column.json").unlink()  # as while it is being completed
    assert column_names(url) == ["fbank_16"]
    index.write_text('{"columns": ["../x"]}')
    with pytest.raises(InputError, match=r"index\.json is damaged: its columns are not a list of names"):
        column_names(url)
    assert [fault.file for fault in verify(url).faults] == ["columns/index.json"]
    index.write_text('{"columns": ["fbank_16"]}')
    assert "columns/fbank_8: is left by an add-column" in str(verify(out).faults[0])
    add(out, bad=("clip-3",))
    assert verify(out).faults == ()
    index.write_text('{"columns": ["fbank_8"]}')
    assert str(verify(out).faults[0]).startswith("columns/index.json: lacks fbank_16; give the command")
    drop_column(out, "fbank_8")
    assert json.loads(index.read_text()) == {"columns": ["fbank_16"]}
    drop_column(out, "fbank_16")
    assert not index.exists()
    assert (column_names(url), verify(url).faults) == ([], ())


def test_errors_that_pass_are_told_from_others():
    class ClientError(Exception):
        def __init__(self, status, code):
            super().__init__(code)
            self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}

    def caused(error):
        outer = OSError(5, "an error of the driver")
        outer.__cause__ = error
        return outer

    for error in (
        ClientError(503, "x"),
        ClientError(400, "RequestTimeout"),
        TimeoutError(),
        ConnectionResetError(),
    ):
        assert retries.is_passing(error)
        assert retries.is_passing(caused(error))
    for error in (
        ClientError(403, "AccessDenied"),
        ClientError(404, "NoSuchKey"),
        PermissionError(),
        ValueError(),
    ):
        assert not retries.is_passing(error)
        assert not retries.is_passing(caused(error))


def test_requests_are_repeated_with_longer_and_longer_waits(monkeypatch):
    waits = []
    monkeypatch.setattr(retries.time, "sleep", waits.append)

    def fails():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        retries.retried(fails)
    assert len(waits) == retries.TRIES - 1
    for number, wait in enumerate(waits):
        longest = min(0.2 * 2**number, retries.LONGEST_WAIT_SECONDS)
        assert longest / 2 <= wait <= longest
