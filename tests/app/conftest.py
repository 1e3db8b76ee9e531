"""The page in process, with runs without a model."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("starlette", reason="the extra `app` is not installed")

from .stubs import StubRun  # it needs the extra


@pytest.fixture
def client_of():
    """`client_of(runs, **options)` is a client of an application, on this machine's address."""
    from starlette.testclient import TestClient
    from stgcma.app.web import application

    opened = []

    def make(runs=None, **options):
        app = application([StubRun()] if runs is None else runs, **options)
        client = TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False)
        opened.append(client.__enter__())
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def until():
    """`until(function)` is its first true value."""

    def wait(function, seconds=120):
        deadline = time.monotonic() + seconds
        while not (value := function()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return value

    return wait


@pytest.fixture
def finished(until):
    """`finished(client, job)` is the state of a job when it has ended."""

    def wait(client, job, seconds=120):
        def ended():
            state = client.get(f"/api/jobs/{job['id']}").json()
            return state if state["state"] in ("done", "cancelled") else None

        return until(ended, seconds)

    return wait
