"""Fixtures for tests of whole runs."""

import contextlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from stgcma.preprocess import preprocess
from stgcma.preprocess.pipeline import ray_engine

from . import local_ray, stand_in
from .real_clips import make_collection
from .whole_runs import REAL

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def environment():
    """For child processes: they import what this process imports."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture
def start(forks, environment):
    """`start("run", OUT, RAW, …)` starts the stand-in as a process of its own; ended with the test."""
    with contextlib.ExitStack() as processes:

        def start(*arguments):
            if arguments[0] in (
                "everywhere",
                "randomly",
            ):  # it forks a hundred times: cheap without torch in its memory
                process = subprocess.Popen(
                    [sys.executable, STAND_IN, *map(str, arguments)],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                processes.enter_context(process)
                processes.callback(process.kill)
                return process
            return processes.enter_context(forks.popen([sys.executable, STAND_IN, *arguments]))

        yield start


@pytest.fixture
def finish(start):
    """As `start`, waits for its end: (status, stdout, stderr)."""

    def finish(*arguments):
        process = start(*arguments)
        stdout, stderr = process.communicate(timeout=870)  # a slow test, on a busy machine
        return process.returncode, stdout, stderr

    return finish


@pytest.fixture
def raw(tmp_path):
    """RAW of the stand-in: two clips cannot be made, one of them alone in its shard's end."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for key in ("clip-5", "clip-42"):
        (folder / f"{key}.bad").touch()
    return folder


@pytest.fixture(scope="session")
def ave(made_once):
    """A collection of twelve real clips, one of them damaged, and what one worker makes of it."""

    def make(folder):
        make_collection(folder / "raw", clips=12)
        preprocess("ave", folder / "raw", folder / "out", REAL())

    folder = made_once("engines", make)
    return folder / "raw", folder / "out"


@pytest.fixture(scope="module")
def real_cluster(s3_server):  # noqa: ARG001 (its environment)
    """A Ray cluster on this machine; its workers know the S3 stand-in."""
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.slow)])
def cluster(request, monkeypatch):
    """The engine `ray`, on a stand-in in this process or on a cluster."""
    if request.param == "real":
        request.getfixturevalue("real_cluster")
    else:
        monkeypatch.setattr(ray_engine, "_import_ray", lambda: local_ray)


@pytest.fixture(scope="session")
def s3_server():
    """An S3 stand-in on loopback; child processes find it by the environment."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patched.setenv("AWS_ACCESS_KEY_ID", "test")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield server
    server.stop()


@pytest.fixture
def s3(s3_server):  # noqa: ARG001 (its environment)
    """A bucket of its own, as a URL."""
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()
    bucket = f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(bucket)
    yield f"s3://{bucket}"
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def out(tmp_path, raw):
    """A finished directory of 12 clips of the stand-in."""
    stand_in.build(tmp_path / "out", raw, clips=12)
    return tmp_path / "out"


@pytest.fixture
def collection(monkeypatch):
    """`collection(change)` changes the collections that the stand-in makes."""
    make = stand_in.make_collection

    def replace(change):
        monkeypatch.setattr(stand_in, "make_collection", lambda clips: change(make(clips)))

    return replace
