"""Tiny trained runs, and encoded videos to predict."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def run_of(shards_of, small_config, made_once):
    """`run_of(task)` is the folder of a run of one epoch, made at the first call; tests do not change it."""
    from stgcma.train.run import train

    def run(task: str) -> Path:
        shards = shards_of(task)
        config = small_config(task, "optim.epochs=1", "optim.batch_size=4")
        return made_once(f"run-{task}", lambda folder: train(shards, folder / "run", config)) / "run"

    return run


@pytest.fixture(scope="session")
def raw_of(ave_raw, raw_collection):
    """`raw_of(task)` is the raw folder of the task's shards."""
    collections = {"avs": "avs-s4", "avqa": "music-avqa"}
    return lambda task: ave_raw if task == "ave" else raw_collection(collections[task])


def picture(*, size="160x120", rate="25", seconds=4.0, source="testsrc2"):
    return ("-f", "lavfi", "-i", f"{source}=s={size}:r={rate}:d={seconds}")


def tone(*, seconds=4.0):
    return ("-f", "lavfi", "-i", f"sine=f=440:r=44100:d={seconds}")


H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


@pytest.fixture(scope="session")
def encoded(ffmpeg, tmp_path_factory):
    """`encoded("name.mp4", …)` is a video made by ffmpeg with these arguments, in a new folder."""

    def make(name: str, *arguments: object) -> Path:
        path = tmp_path_factory.mktemp("videos") / name
        ffmpeg(*arguments, path)
        return path

    return make


@pytest.fixture(scope="session")
def long_video(encoded):
    """A video of 23.4 s: changing pictures and a rising tone."""
    sweep = ("-f", "lavfi", "-i", "aevalsrc='0.4*sin(2*PI*t*(200+40*t))':s=44100:d=23.4")
    return encoded("long.mp4", *picture(seconds=23.4, rate="5"), *sweep, *H264, "-g", "20", "-c:a", "aac")
