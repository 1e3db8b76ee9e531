"""Uploads: limits on size and time, names, deletion, and requests that are refused."""

import asyncio
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from stgcma.app.limits import AppLimits
from stgcma.app.uploads import display_name, receive_file
from stgcma.errors import InputError

from .stubs import StubRun

SMALL = AppLimits(upload_bytes=1000)


def folder_of(client):
    """The folder of the uploads of an application."""
    page = client.app.routes[0].endpoint.__self__
    return Path(page.queue._scratch.name)


def test_a_file_is_predicted_as_it_was_sent(client_of, finished):
    run = StubRun()
    client = client_of([run])
    parts = (bytes([number]) * 1000 for number in range(200))
    job = client.post("/api/jobs", params={"run": 0, "name": "a b/c\\bell.mp4"}, content=parts).json()
    state = finished(client, job)
    assert state["video"] == "bell.mp4"
    content = b"".join(bytes([number]) * 1000 for number in range(200))
    assert run.seen == [("bell.mp4", content, "")]
    assert not list(folder_of(client).glob("*/upload*"))  # the file is deleted, its results are not
    (outcome,) = state["outcomes"]
    assert outcome["headline"] == "bell 0:02–0:05"
    assert client.get(f"/{outcome['files'][0]['url']}").headers["content-type"] == "image/png"
    assert client.get(f"/{outcome['files'][1]['url']}").text.startswith("WEBVTT")
    assert client.get(f"/{outcome['archive']}").content.startswith(b"PK")


@pytest.mark.parametrize("content", [b"x" * 1001, iter([b"x" * 600, b"x" * 600])], ids=["claimed", "chunked"])
def test_a_file_that_is_too_large_is_refused_and_deleted(client_of, content):
    run = StubRun()
    client = client_of([run], limits=SMALL)
    answer = client.post("/api/jobs?run=0&name=a.mp4", content=content)
    assert answer.status_code == 413
    assert "larger than the 0 MiB allowed" in answer.json()["detail"]
    assert list(folder_of(client).iterdir()) == []
    assert run.seen == []


def test_a_file_of_the_largest_size_is_accepted(client_of):
    assert client_of(limits=SMALL).post("/api/jobs?run=0", content=b"x" * 1000).status_code == 201


def test_an_empty_file_is_refused(client_of):
    client = client_of()
    answer = client.post("/api/jobs?run=0&name=a.mp4", content=b"")
    assert (answer.status_code, answer.json()["detail"]) == (400, "The file is empty.")
    assert list(folder_of(client).iterdir()) == []


def test_a_length_of_thousands_of_digits_is_too_large(tmp_path):
    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"9" * 5000)]}
    with pytest.raises(HTTPException) as raised:
        asyncio.run(receive_file(Request(scope), tmp_path, "a.mp4", AppLimits()))
    assert raised.value.status_code == 413


def test_an_upload_whose_sender_leaves_is_no_job(client_of):
    run = StubRun(held=True)
    client = client_of([run])
    told = [{"type": "http.request", "body": b"video", "more_body": False}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return told.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/jobs", "query_string": b"run=0", "headers": []}
    asyncio.run(client.app(scope, receive, send))
    assert (sent[0]["status"], told) == (400, [])
    assert list(folder_of(client).iterdir()) == []
    assert not run.started.is_set()


def test_an_upload_that_stalls_is_ended(tmp_path):
    async def stall():
        await asyncio.sleep(600)

    request = Request({"type": "http", "method": "POST", "headers": []}, stall)
    with pytest.raises(HTTPException) as raised:
        asyncio.run(receive_file(request, tmp_path, "a.mp4", AppLimits(upload_seconds=0.05)))
    assert raised.value.status_code == 408


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "Choose at least one run"),
        ("run=2", "Choose at least one run"),
        ("run=-1", "Choose at least one run"),
        (f"run={'9' * 5000}", "Choose at least one run"),
        (f"run=0&example={'9' * 5000}", "There is no such example"),
        ("run=0&example=0", "There is no such example"),
        ("run=1", "asks answers questions: enter one"),
        (f"run=1&question={'w' * 501}", "more than 500 characters"),
    ],
)
def test_a_request_that_cannot_be_done_says_why(client_of, query, expected):
    client = client_of([StubRun(), StubRun("asks", "avqa", question_words=("is",))])
    answer = client.post(f"/api/jobs?{query}", content=b"video")
    assert answer.status_code in (400, 404)
    assert expected in answer.json()["detail"]
    assert list(folder_of(client).iterdir()) == []


@pytest.mark.parametrize("name", ["x.mp4", "../../x.sh", "x.toolongsuffix", "x.m/v", "ü.MKV", "x." + "é"])
def test_the_name_decides_nothing_but_a_plain_suffix(tmp_path, name):
    async def receive():
        return {"type": "http.request", "body": b"video", "more_body": False}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    path = asyncio.run(receive_file(request, tmp_path, display_name(name), AppLimits()))
    assert path.parent == tmp_path
    assert path.name in ("upload", "upload.mp4", "upload.sh", "upload.MKV")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\nb.mp4", "a b.mp4"),
        ("\x1b[2J.mp4", "\\x1b[2J.mp4"),
        ("", "video"),
        ("..", "video"),
        ("a/", "video"),
    ],
)
def test_names_are_shown_in_one_line(given, shown):
    assert display_name(given) == shown


def test_long_names_are_shortened():
    assert len(display_name("x" * 5000)) == 100
    assert display_name("鐘" * 100) == "鐘" * 66  # files have names of at most 255 bytes


@pytest.mark.parametrize("name", ["upload_bytes", "waiting", "result_seconds"])
def test_limits_are_positive(name):
    with pytest.raises(InputError, match=f"{name} is 0, it must be positive"):
        AppLimits(**{name: 0})
