"""RAW and OUT in memory and in an object store: the same bytes as in folders."""

import shutil
import signal
import sys
import time
import uuid

import pytest
from stgcma.cli import main
from stgcma.errors import InputError
from stgcma.preprocess import preprocess
from stgcma.preprocess.pipeline import run
from stgcma.shards.locking import exclusive
from stgcma.shards.manifest import read_quarantine
from stgcma.shards.schema import ClipRecord
from stgcma.shards.storage import ObjectStore, open_store
from stgcma.shards.verification import verify

from .stand_in import build, contents
from .whole_runs import REAL, names_and_contents, upload


def test_out_in_memory_has_the_same_bytes(ave):
    raw, out = ave
    url = f"memory://{uuid.uuid4().hex}/out"
    preprocess("ave", raw, url, REAL(workers=2))
    assert names_and_contents(url) == names_and_contents(out)
    assert preprocess("ave", raw, url, REAL()).was_complete


def test_raw_in_memory_is_refused(tmp_path):
    with pytest.raises(InputError, match="RAW memory://x is in this process alone"):
        preprocess("ave", "memory://x", tmp_path / "out", REAL())


def test_file_urls_are_folders(ave, tmp_path):
    raw, out = ave
    preprocess("ave", f"file://{raw}", f"file://{tmp_path}/out", REAL())
    assert contents(tmp_path / "out") == contents(out)


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_raw_and_out_in_s3_give_the_same_bytes(ave, s3, engine, request):
    if engine == "ray":
        request.getfixturevalue("real_cluster")
    raw, out = ave
    upload(raw, f"{s3}/raw")
    preprocess("ave", f"{s3}/raw", f"{s3}/out", REAL(workers=2, engine=engine))
    assert names_and_contents(f"{s3}/out") == names_and_contents(out)
    result = verify(f"{s3}/out", on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (11, ())


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        pytest.param("avs-s4", {"duplicate-key": 1, "mask-mismatch": 1}, marks=pytest.mark.slow),
        pytest.param("music-avqa", {"missing": 1}, marks=pytest.mark.slow),
    ],
)
def test_other_collections_are_whole_wherever_they_are(name, broken, tmp_path, s3, raw_collection):
    """Masks and questions on their whole way: to shards, with other workers, and from behind a URL."""
    raw = tmp_path / "raw"
    shutil.copytree(raw_collection(name), raw)
    if name == "avs-s4":
        next((raw / "gt_masks" / "test").rglob("*_3.png")).unlink()
        table = raw / "s4_meta_data.csv"
        table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    else:
        next(raw.rglob("*.mp4")).unlink()
    outcome = preprocess(name, raw, tmp_path / "out", REAL())
    assert outcome.failures == broken
    assert {record.reason for record in read_quarantine(tmp_path / "out")} == set(broken)
    result = verify(tmp_path / "out", on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (9, ())
    upload(raw, f"{s3}/raw")
    preprocess(name, f"{s3}/raw", tmp_path / "from-url", REAL(workers=2))
    assert contents(tmp_path / "from-url") == contents(tmp_path / "out")


def test_changed_sources_behind_a_url_are_named(ave, s3, tmp_path, monkeypatch):
    """When clips are added; with one listing, not a request for each file."""
    raw, _ = ave
    upload(raw, f"{s3}/raw")
    given = {}
    monkeypatch.setattr(run, "build", lambda *_, **options: given.update(options))
    preprocess("ave", f"{s3}/raw", tmp_path / "out", REAL(append=True))
    same, longer, gone = (f"AVE/clip_{number}.mp4" for number in (0, 1, 2))
    sizes = {name: (raw / name).stat().st_size for name in (same, longer, gone)}
    record = ClipRecord("clip", "train", "train-000000.tar", 1, "", same, 1.0, 25.0, True, "pyav", ())
    record = record._replace(
        source_files=tuple(sizes), source_bytes=tuple(sizes.values()), source_sha256=("0" * 64,) * 3
    )
    store = open_store(f"{s3}/raw")
    store.publish(longer, store.read(longer) + b"more")
    store.remove(gone)
    monkeypatch.setattr(ObjectStore, "size_bytes", None)
    assert [note.partition(";")[0] for note in given["sources"]([record])] == [
        f"{longer} is {sizes[longer] + 4} bytes long, {sizes[longer]} were read",
        f"{gone} is missing",
    ]


def test_the_commands_take_urls(ave, s3, monkeypatch, capsys):
    upload(ave[1], f"{s3}/out")
    for arguments in (("verify", f"{s3}/out"), ("stats", f"{s3}/out", "--json")):
        monkeypatch.setattr(sys, "argv", ["stgcma", "shards", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    assert '"task": "ave"' in capsys.readouterr().out


def test_a_bucket_that_is_not_there_is_named(s3):
    with pytest.raises(InputError, match=f"^{s3}-missing/out cannot be listed: .*bucket does not exist"):
        build(f"{s3}-missing/out", "raw", clips=3)


def test_s3_is_written_by_one_at_a_time(s3, tmp_path, raw):
    busy = pytest.raises(InputError, match="is being written by another process")
    with exclusive(open_store(f"{s3}/out")), busy:
        build(f"{s3}/out", raw, clips=12)
    build(f"{s3}/out", raw, clips=12)
    build(tmp_path / "whole", raw, clips=12)
    assert names_and_contents(f"{s3}/out") == names_and_contents(tmp_path / "whole")


@pytest.mark.slow
def test_killed_while_writing_to_s3(s3, start, tmp_path, raw):
    build(tmp_path / "whole", raw)
    for delay in (0.05, 0.4, 0.9):
        (raw / "clip-40.wait").touch()  # it never ends by itself
        process = start("run", f"{s3}/out", raw, "--seconds", 0.03)
        store = open_store(f"{s3}/out")
        deadline = time.monotonic() + 120
        while not store.exists(".progress/plan.json"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    (raw / "clip-40.wait").unlink()
    build(f"{s3}/out", raw)
    assert names_and_contents(f"{s3}/out") == names_and_contents(tmp_path / "whole")
