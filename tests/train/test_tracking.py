"""Trackers get the whole run, continue it, and neither stop nor change the training."""

import getpass
import hashlib
import json
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from stgcma.errors import InputError
from stgcma.pages.drawn_clips import draw_clips, spread
from stgcma.train import tracking
from stgcma.train.run import train
from stgcma.train.system_metrics import SystemMetrics
from stgcma.train.trackers import TRACKERS
from stgcma.train.trackers.base import Pictures, Scalars, TrackedRun, Tracker

PNG = b"\x89PNG\r\n\x1a\n"


class Recording(Tracker):
    """Keeps what it gets; `failing` names a method that raises, `gate` holds up the thread."""

    package, how = "json", ""
    failing, gate = "", None
    made: list  # of all instances

    def __init__(self):
        self.entries, self.started, self.closed = [], [], []
        type(self).made.append(self)

    def _maybe_fail(self, name):
        if self.failing == name:
            raise ConnectionError("no route to the server")

    def start(self, run, identity):
        self._maybe_fail("start")
        self.started.append((run, identity))
        return identity or "first"

    def log(self, entries):
        if self.gate is not None:
            self.gate.wait()
        self._maybe_fail("log")
        self.entries += entries

    def close(self, *, finished):
        self._maybe_fail("close")
        self.closed.append(finished)


@pytest.fixture
def recording(monkeypatch):
    """A fresh class of recording trackers in place of W&B."""
    made = type("Made", (Recording,), {"made": []})
    monkeypatch.setattr("stgcma.train.trackers.wandb.TRACKER", made)
    return made


def open_run(folder, step=0):
    return TrackedRun("run", folder, {"optim": {"epochs": 2}}, step)


def open_trackers(folder, *, names=("wandb",), clock=lambda: 0.0, close_seconds=30.0, **drawing):
    system = SystemMetrics(torch.device("cpu"), clock)
    return tracking.Tracking(names, open_run(folder), system, drawing=drawing, close_seconds=close_seconds)


def test_scores_pictures_and_the_load_arrive_in_order(recording, tmp_path):
    times = iter([0.0, 5.0, 20.0])
    trackers = open_trackers(tmp_path, clock=lambda: next(times), count=1)
    trackers.scalars("train", {"loss": 2.0}, step=1)
    trackers.count_step(1)
    trackers.scalars("train", {"loss": 1.0}, step=2)
    trackers.count_step(2)
    trackers.scalars("epoch", {"val_accuracy": 0.5}, step=2)
    trackers.draw(lambda count: {"a": PNG * count}, step=2)
    trackers.close(finished=True)
    (tracker,) = recording.made
    assert tracker.entries[:2] == [Scalars(1, {"train/loss": 2.0}), Scalars(2, {"train/loss": 1.0})]
    load = tracker.entries[2].values
    assert load["system/step_seconds"] == 10.0
    assert load["system/memory_bytes"] > 1e6
    assert load["system/processor_percent"] >= 0
    assert tracker.entries[3:] == [Scalars(2, {"epoch/val_accuracy": 0.5}), Pictures(2, {"a": PNG})]
    assert tracker.closed == [True]


def test_a_resumed_run_is_continued_without_steps_sent_before(recording, tmp_path):
    for steps in ((1, 2, 3), (2, 3, 4)):  # killed after step 3, saved after step 1
        trackers = open_trackers(tmp_path)
        for step in steps:
            trackers.scalars("train", {"loss": 1 / step}, step=step)
        trackers.close(finished=steps[-1] == 4)
    first, second = recording.made
    assert [one[1] for one in first.started + second.started] == [None, "first"]
    assert [entry.step for entry in first.entries + second.entries] == [1, 2, 3, 4]
    assert [*first.closed, *second.closed] == [False, True]
    assert json.loads((tmp_path / "trackers/wandb.json").read_text()) == {
        "identity": "first",
        "steps": {"train": 4},
    }


@pytest.mark.parametrize("failing", ["start", "log", "close"])
def test_a_tracker_that_fails_is_named_once(failing, recording, tmp_path, capsys):
    recording.failing = failing
    trackers = open_trackers(tmp_path)
    for step in range(1, 50):
        trackers.scalars("train", {"loss": 1.0}, step=step)
    trackers.close(finished=True)
    said = capsys.readouterr().err
    assert said == "tracker wandb ends, the training goes on: ConnectionError: no route to the server\n"


def test_a_tracker_that_hangs_is_left(recording, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tracking, "_MOST_WAITING", 3)
    recording.gate = threading.Event()
    trackers = open_trackers(tmp_path, close_seconds=0.0)
    for step in range(1, 50):
        trackers.scalars("train", {"loss": 1.0}, step=step)
    trackers.close(finished=True)
    recording.gate.set()
    assert capsys.readouterr().err == (
        "tracker wandb is slower than the training: it does not get everything\n"
        "tracker wandb ends, the training goes on: it is still sending\n"
    )


@pytest.mark.usefixtures("recording")
def test_pictures_that_cannot_be_drawn_are_named_once(tmp_path, capsys):
    def fail(count):
        raise ValueError(f"clip {count} is damaged")

    trackers = open_trackers(tmp_path, count=7)
    for step in (1, 2):
        trackers.draw(fail, step=step)
    trackers.close(finished=True)
    assert capsys.readouterr().err == "trackers get no pictures: ValueError: clip 7 is damaged\n"


def test_unknown_and_missing_trackers_are_refused(small_config, four_clips, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=f"trackers are {', '.join(TRACKERS)}"):
        small_config("ave", "train.trackers=[tensorbored]")
    monkeypatch.setattr("stgcma.train.trackers.base.find_spec", lambda _: None)
    config = small_config("ave", "train.trackers=[mlflow]", "optim.epochs=1")
    with pytest.raises(InputError, match=r"tracker mlflow needs mlflow; pip install 'stgcma\[mlflow\]'"):
        train(four_clips, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_clips_are_spread_over_the_split():
    assert spread(100, 4) == [0, 33, 66, 99]
    assert spread(3, 4) == [0, 1, 2]
    assert spread(9, 1) == [0]


def bits(run):
    """Hashes of the steps and the weights of a run."""
    names = ("steps.jsonl", "checkpoints/last/adapters.safetensors", "checkpoints/best/adapters.safetensors")
    return [hashlib.sha256((run / name).read_bytes()).hexdigest() for name in names]


def test_tracking_changes_no_bit_and_draws_the_same_clips(recording, four_clips, small_config, tmp_path):
    settings = ("optim.epochs=2", "optim.warmup_epochs=1", "optim.batch_size=1")
    train(four_clips, tmp_path / "plain", small_config("ave", *settings))
    tracked = small_config("ave", *settings, "train.trackers=[tensorboard,wandb]")
    train(four_clips, tmp_path / "tracked", tracked, draw=draw_clips)
    assert bits(tmp_path / "plain") == bits(tmp_path / "tracked")
    (tracker,) = recording.made
    ((run, _),) = tracker.started
    assert (run.config["preset"], run.name) == ("ave-demo", "tracked")
    pictures = [entry for entry in tracker.entries if isinstance(entry, Pictures)]
    assert [entry.step for entry in pictures] == [2, 4]
    assert pictures[0].images.keys() == pictures[1].images.keys() != set()
    assert all(image.startswith(PNG) for entry in pictures for image in entry.images.values())
    assert {name for entry in tracker.entries if isinstance(entry, Scalars) for name in entry.values} >= {
        "train/loss",
        "train/gradient_norm",
        "train/adapter_lr",
        "epoch/loss",
        "epoch/val_accuracy",
    }


def png():
    """A small picture."""
    import io

    from PIL import Image

    image = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(image, "PNG")
    return image.getvalue()


def started(name, folder, identity=None):
    """A tracker that got a step, an epoch and a picture, and its identity."""
    tracker = TRACKERS[name]()
    folder.mkdir(exist_ok=True)
    found = tracker.start(open_run(folder), identity)
    first = 1 if identity is None else 3
    tracker.log([Scalars(first, {"train/loss": 2.0}), Scalars(first + 1, {"train/loss": 1.0})])
    tracker.log([Scalars(first + 1, {"epoch/val_accuracy": 0.5})])
    tracker.log([Pictures(first + 1, {"clip-1": png()})])
    tracker.close(finished=identity is not None)
    return found


def test_mlflow_keeps_one_run_in_a_store_of_files(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    identity = started("mlflow", tmp_path / "run")
    assert started("mlflow", tmp_path / "run", identity) == identity
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "run/trackers/mlflow").as_uri())
    run = client.get_run(identity)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params == {"optim.epochs": "2"}
    assert [(one.step, one.value) for one in client.get_metric_history(identity, "train/loss")] == [
        (1, 2),
        (2, 1),
        (3, 2),
        (4, 1),
    ]
    found = [one.path for one in client.list_artifacts(identity, "predictions/clip-1")]
    assert found == [f"predictions/clip-1/0000000{step}.png" for step in (2, 4)]


@pytest.mark.slow
def test_wandb_keeps_one_run_in_offline_folders(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    identity = started("wandb", tmp_path / "run")
    assert started("wandb", tmp_path / "run", identity) == identity
    folders = sorted((tmp_path / "run/trackers/wandb").glob("offline-run-*"))
    assert len(folders) == 2
    assert all(folder.name.endswith(f"-{identity}") for folder in folders)
    for folder in folders:
        (log,) = folder.glob("*.wandb")
        assert all(word in log.read_bytes() for word in (b"train/loss", b"epoch/val_accuracy", b"clip-1"))
        assert list(folder.glob("files/media/images/**/*.png"))
        assert log.read_bytes().count(b"predictions/clip-1") >= 1
        sent = [log, *(path for path in folder.glob("files/**/*") if path.is_file())]
        for word in (socket.gethostname(), f"/{getpass.getuser()}/", str(Path.home()), str(tmp_path)):
            assert not [path.name for path in sent if word.encode() in path.read_bytes()]


def test_wandb_gets_pictures_of_steps_below_its_last_one(monkeypatch):
    """After a kill, metrics of the machine may be ahead of the checkpoint from which the run goes on.

    W&B drops what is logged with the argument `step` below the last one.
    """
    logged = []
    tracker = TRACKERS["wandb"]()
    tracker._run = SimpleNamespace(log=lambda values, **options: logged.append((values, options)))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Image=lambda _, caption: caption))
    tracker.log([Scalars(9, {"system/step_seconds": 1.0}), Pictures(4, {"clip-1": png()})])
    assert logged == [
        ({"system/step_seconds": 1.0, "step": 9}, {}),
        ({"predictions/clip-1": "clip-1", "step": 4}, {}),
    ]


def test_the_configuration_that_is_tracked_has_no_paths_and_no_credentials(recording, small_config, tmp_path):
    config = small_config("ave", "train.trackers=[wandb]", f"data.cache={tmp_path / 'cache'}")
    config.model["weights"] = "https://eva:secret@host/w.pt"
    tracking.open_tracking(config, tmp_path / "run", step=0, device=torch.device("cpu")).close(finished=True)
    ((run, _),) = recording.made[0].started
    assert (run.config["data"]["cache"], run.config["model"]["weights"]) == ("cache", "https://host/w.pt")
    assert config.data.cache == str(tmp_path / "cache")


@pytest.mark.slow
def test_trackio_keeps_one_run_in_a_local_database(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    identity = started("trackio", tmp_path / "run")
    assert started("trackio", tmp_path / "run", identity) == identity
    from trackio.sqlite_storage import SQLiteStorage

    logs = SQLiteStorage.get_logs("stgcma", identity)
    assert [one["train/loss"] for one in logs if "train/loss" in one] == [2.0, 1.0, 2.0, 1.0]
    assert any("predictions/clip-1" in one for one in logs)


def test_every_tracker_is_explained():
    page = (Path(__file__).parents[2] / "docs/training.md").read_text("utf-8")
    assert [name for name in TRACKERS if f"\n| `{name}` | " not in page] == []
