"""Making the shards again that lack a clip, and no others."""

import pytest
from stgcma.shards.manifest import read_manifest, read_quarantine

from .stand_in import build, contents, faults, unfinish


def test_retrying_makes_the_shards_with_failures_again_and_no_others(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw)
    before = {path.name: path.stat().st_ino for path in (out / "shards").iterdir()}
    for bad in raw.glob("*.bad"):
        bad.unlink()
    assert build(out, raw).was_complete  # without the flag nothing is tried
    assert len(read_quarantine(out)) == 2
    outcome = build(out, raw, retry_quarantined=True)
    assert (outcome.quarantined, outcome.was_complete) == (0, False)
    build(tmp_path / "whole", raw)
    assert contents(out) == contents(tmp_path / "whole")
    after = {path.name: path.stat().st_ino for path in (out / "shards").iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {
        "train-000000.tar",
        "train-000006.tar",
    }


def test_retrying_what_still_fails_changes_nothing(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw)
    before = contents(out)
    build(out, raw, retry_quarantined=True)
    assert contents(out) == before


def test_retrying_an_unfinished_run(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    unfinish(out)
    (raw / "clip-5.bad").unlink()
    build(out, raw, clips=12, retry_quarantined=True)
    build(tmp_path / "whole", raw, clips=12)
    assert contents(out) == contents(tmp_path / "whole")


def test_retrying_makes_a_missing_or_cut_shard_again(tmp_path, raw, capsys):
    out = tmp_path / "out"
    build(out, raw)
    whole = contents(out)
    missing, cut = sorted((out / "shards").glob("train-*.tar"))[1:3]
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:-512])
    build(out, raw, retry_quarantined=True)
    assert contents(out) == whole
    said = capsys.readouterr().err
    assert f"{missing} is missing; it is made again" in said
    assert f"{cut} is " in said


def test_retrying_mends_a_damaged_training_shard(tmp_path, raw, capsys):
    out = tmp_path / "out"
    build(out, raw)
    whole = contents(out)
    path = out / "shards" / "train-000002.tar"
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    build(out, raw, retry_quarantined=True)
    assert contents(out) == whole
    assert "train-000002.tar: clip-" in capsys.readouterr().err


def test_only_what_is_missing_of_a_shard_is_made(tmp_path, raw):
    """The other clips of the shard have gone bad since; they are taken from it."""
    out = tmp_path / "out"
    build(tmp_path / "whole", raw, clips=3)
    (raw / "clip-0.bad").touch()
    build(out, raw, clips=3)
    (raw / "clip-0.bad").unlink()
    for name in ("clip-1", "clip-2"):
        (raw / f"{name}.bad").touch()
    build(out, raw, clips=3, retry_quarantined=True)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["a clip", "the end"])
def test_a_repair_makes_only_the_damaged_clips_of_a_shard(tmp_path, raw, damage):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    whole = contents(out)
    path = out / "shards" / "train-000000.tar"
    content = bytearray(path.read_bytes())
    if damage == "a clip":  # the first one
        content[3000] ^= 1
    else:
        sizes = [record.bytes for record in read_manifest(out) if record.shard == path.name]
        del content[sum(sizes[:-1]) + 100 :]
    path.write_bytes(content)
    (raw / "clip-1.bad").touch()
    build(out, raw, clips=12, repair=True)
    assert contents(out) == whole


def test_a_shard_without_a_clip_is_removed(tmp_path, raw):
    out = tmp_path / "out"
    for number in range(3):
        (raw / f"clip-{number}.bad").touch()
    build(out, raw, clips=3)
    (out / "shards").mkdir(exist_ok=True)
    assert list((out / "shards").glob("*")) == []
    assert len(read_quarantine(out)) == 3
    (raw / "clip-0.bad").unlink()
    build(out, raw, clips=3, retry_quarantined=True)
    assert [path.name for path in (out / "shards").iterdir()] == ["train-000000.tar"]
    assert faults(out) == ()
