"""Adding clips to a finished directory: new shards, and nothing done to those that are there."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
from stgcma.errors import InputError, OtherSettingsError
from stgcma.preprocess import Options, preprocess
from stgcma.preprocess.pipeline.amendment import amendment_of
from stgcma.preprocess.pipeline.former import Former, FormerShards
from stgcma.preprocess.pipeline.matching import match
from stgcma.preprocess.pipeline.source_changes import source_notes
from stgcma.shards.additions import Addition, ShardRange, shard_numbers
from stgcma.shards.manifest import dataset_bytes, read_dataset, read_manifest, read_planned
from stgcma.shards.members import read_array
from stgcma.shards.reader import iterate_clips
from stgcma.shards.schema import ClipRecord, PlannedRecord, content_sha256
from stgcma.shards.storage import open_store

from ...columns.added import add as add_column
from . import real_clips, stand_in
from .additions import keys, shard_files, stopped
from .killing import check_kills
from .stand_in import build, contents, faults, make_collection
from .test_output_repair import files, flip
from .whole_runs import REAL


def test_new_clips_go_to_new_shards(out, raw):
    before, old = shard_files(out), read_manifest(out)
    outcome = build(out, raw, clips=17, append=True)
    assert (outcome.written, outcome.quarantined, outcome.was_complete) == (16, 1, False)
    after = shard_files(out)
    assert {name: after[name] for name in before} == before
    added = {name.removeprefix("shards/") for name in after.keys() - before.keys()}
    assert added == {"train-000002.tar", "val-000001.tar", "test-000001.tar"}
    manifest = read_manifest(out)
    assert [record for record in manifest if record.shard not in added] == old
    assert [record.key for record in manifest if record.shard in added] == [
        "clip-12", "clip-15", "clip-16", "clip-13", "clip-14",
    ]  # fmt: skip
    assert faults(out) == ()
    assert build(out, raw, clips=17).was_complete


def test_an_addition_is_recorded(out, raw):
    first = read_dataset(out)
    build(out, raw, clips=17, append=True)
    info = read_dataset(out)
    assert [addition.plan_sha256 for addition in info.additions] == [
        first.plan_sha256,
        make_collection(range(12, 17)).plan_sha256,
    ]
    assert [addition.counts for addition in info.additions] == [
        first.counts,
        {split: {"written": n, "quarantined": 0} for split, n in (("train", 3), ("val", 1), ("test", 1))},
    ]
    assert info.counts["train"] == {"written": 10, "quarantined": 1}
    assert info.fingerprint != first.fingerprint
    assert info.data_fingerprint != first.data_fingerprint
    planned = read_planned(out)
    assert [row.addition for row in planned] == [0] * 12 + [1] * 5
    assert [row.key for row in planned] == [f"clip-{number}" for number in range(17)]


def test_a_directory_of_one_addition_has_no_record_of_it(out):
    content = json.loads((out / "dataset.json").read_bytes())
    assert "additions" not in content
    assert not (out / "planned.parquet").exists()


def test_the_statistics_are_those_of_all_training_clips(out, raw):
    for clips in (17, 43):
        build(out, raw, clips=clips, append=True)
        values = [
            read_array(members["fbank_128.npy"], "").astype(np.float64)
            for _, members in iterate_clips(out, split="train")
        ]
        measured = read_dataset(out).audio["fbank_128"]
        assert measured.mean == pytest.approx(np.mean(values), rel=1e-12)
        assert measured.std == pytest.approx(np.std(values), rel=1e-12)


def test_only_the_first_addition_to_a_directory_reads_shards(out, raw, monkeypatch, capsys):
    build(out, raw, clips=17, append=True)
    assert "the training shards are read once" in capsys.readouterr().err
    monkeypatch.setattr("stgcma.shards.reader.ClipReader.read", None)
    build(out, raw, clips=43, append=True)
    assert "are read once" not in capsys.readouterr().err
    assert faults(out) == ()


def test_clips_may_be_added_anywhere_in_the_list(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, clips=[0, 2, 5, 8, 9])
    build(out, raw, clips=range(12), append=True)
    assert [row.key for row in read_planned(out)] == [
        f"clip-{n}" for n in (0, 2, 5, 8, 9, 1, 3, 4, 6, 7, 10, 11)
    ]
    assert faults(out) == ()


def test_the_same_additions_give_the_same_bytes(tmp_path, raw):
    for name in ("one", "other"):
        for clips in (5, 17, 43):
            build(tmp_path / name, raw, clips=clips, append=True)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert faults(tmp_path / "one") == ()
    assert len(read_dataset(tmp_path / "one").additions) == 3


def test_append_to_nothing_is_a_first_run(tmp_path, raw):
    build(tmp_path / "out", raw, clips=12, append=True)
    build(tmp_path / "whole", raw, clips=12)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_append_of_nothing_changes_nothing(out, raw):
    before = files(out)
    assert build(out, raw, clips=12, append=True).was_complete
    assert files(out) == before
    build(out, raw, clips=17, append=True)
    before = files(out)
    assert build(out, raw, clips=17, append=True).was_complete
    assert files(out) == before


def test_retry_and_append_go_together(tmp_path, out, raw):
    (raw / "clip-5.bad").unlink()
    untouched = {name: f for name, f in shard_files(out).items() if name != "shards/train-000000.tar"}
    outcome = build(out, raw, clips=17, append=True, retry_quarantined=True)
    assert (outcome.written, outcome.quarantined) == (17, 0)
    assert {name: f for name, f in shard_files(out).items() if name in untouched} == untouched
    for clips in (12, 17):
        build(tmp_path / "whole", raw, clips=clips, append=True)
    assert contents(out) == contents(tmp_path / "whole")


def test_all_additions_can_be_retried_and_repaired(tmp_path, raw):
    (raw / "clip-14.bad").touch()
    out = tmp_path / "out"
    for clips in (12, 17, 43):
        build(out, raw, clips=clips, append=True)
    assert build(out, raw, retry_quarantined=False).was_complete
    whole = contents(out)
    build(out, raw, retry_quarantined=True)  # they fail again
    assert contents(out) == whole
    flip(out / "shards" / "train-000002.tar")
    (out / "shards" / "val-000000.tar").unlink()
    before = files(out)
    build(out, raw, repair=True)
    assert contents(out) == whole
    changed = {name for name, file in files(out).items() if file != before.get(name)}
    assert changed == {"shards/train-000002.tar", "shards/val-000000.tar"}
    for bad in raw.glob("*.bad"):
        bad.unlink()
    build(out, raw, retry_quarantined=True)
    for clips in (12, 17, 43):
        build(tmp_path / "whole", raw, clips=clips, append=True)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    "name", ["manifest.parquet", "quarantine.parquet", "planned.parquet", "dataset.json"]
)
def test_a_lost_table_of_several_additions_is_repaired(out, raw, name):
    build(out, raw, clips=17, append=True)
    whole = contents(out)
    if name == "dataset.json":
        content = json.loads((out / name).read_text())
        content["audio"]["fbank_128"]["mean"] += 1
        (out / name).write_text(json.dumps(content))
    else:
        flip(out / name, byte=200)
    with pytest.raises(InputError, match=rf"{name} is missing or damaged; repeat with the option repair"):
        build(out, raw, clips=17)
    build(out, raw, clips=17, repair=True)
    assert contents(out) == whole


@pytest.mark.parametrize("name", ["manifest.parquet", "quarantine.parquet"])
@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_append_and_repair_of_a_lost_table(out, raw, name, harm):
    def damage():
        (out / name).unlink() if harm == "missing" else flip(out / name, byte=200)

    options = {"append": True, "repair": True, "sources": lambda _: []}
    whole = contents(out)
    damage()
    with pytest.raises(InputError, match=rf"{name} is missing or damaged, .*first repeat .* without append"):
        build(out, raw, clips=17, **options)
    build(out, raw, clips=12, **options)
    assert contents(out) == whole
    build(out, raw, clips=17, **options)
    whole = contents(out)
    damage()
    build(out, raw, clips=17, **options)
    assert contents(out) == whole
    damage()
    (out / "planned.parquet").unlink()
    with pytest.raises(InputError, match=rf"{name} and planned\.parquet are both missing or damaged"):
        build(out, raw, clips=17, repair=True)


def test_a_description_of_several_additions_that_cannot_be_read_is_not_guessed(out, raw):
    build(out, raw, clips=17, append=True)
    (out / "dataset.json").write_text("{")
    before = files(out)
    with pytest.raises(InputError, match=r"restore dataset\.json from a copy, or use the option overwrite"):
        build(out, raw, clips=17, repair=True)
    assert files(out) == before


def test_an_addition_that_has_not_ended_goes_on_with_its_list_only(tmp_path, out, raw, monkeypatch):
    shutil.copytree(out, tmp_path / "whole")
    build(tmp_path / "whole", raw, clips=17, append=True)
    stopped(out, raw, monkeypatch, clips=17)
    before = files(out)
    for clips in (12, 43):
        with pytest.raises(
            OtherSettingsError, match="an addition of 5 clips has not ended, and the list of clips"
        ):
            build(out, raw, clips=clips, append=True)
    assert files(out) == before
    (out / "shards" / "train-000000.tar").write_bytes(b"cut")
    (out / "shards" / "train-000002.tar").unlink()
    build(out, raw, clips=17)
    assert contents(out) == contents(tmp_path / "whole")


def test_clips_are_not_added_to_a_first_run_that_has_not_ended(out, raw):
    stand_in.unfinish(out)
    with pytest.raises(
        OtherSettingsError, match=r"labels changed \(the option append adds new ones to a finished"
    ):
        build(out, raw, clips=17, append=True)
    build(out, raw, clips=12, append=True)
    build(out, raw, clips=17, append=True)
    assert faults(out) == ()


def test_sources_that_changed_are_named(tmp_path):
    made = {"same.mp4": b"same", "longer.mp4": b"longer", "other.mp4": b"other", "gone.mp4": b"gone"}
    records = [
        ClipRecord(
            name.removesuffix(".mp4"), "train", "train-000000.tar", 1, "", name, 1.0, 25.0, True, "pyav", (),
            (name,), (len(content),), (hashlib.sha256(content).hexdigest(),),
        )
        for name, content in made.items()
    ]  # fmt: skip
    for name, content in (made | {"longer.mp4": b"longer than", "other.mp4": b"OTHER"}).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "gone.mp4").unlink()
    stay = "they stay as they were written"
    changed = [
        f"longer.mp4 is 11 bytes long, 6 were read; clips made of it: longer; {stay}",
        f"gone.mp4 is missing; clips made of it: gone; {stay}",
    ]
    assert list(source_notes(records, raw=tmp_path, hashes=False)) == changed
    by_hash = "other.mp4 has changed, its hash is not the one that was read; clips made of it: other"
    assert set(source_notes(records, raw=tmp_path, hashes=True)) == {*changed, f"{by_hash}; {stay}"}


@pytest.mark.slow
def test_real_clips_are_added_and_changed_sources_stay(tmp_path, capsys):
    real_clips.make_collection(tmp_path / "raw", clips=12)
    out = tmp_path / "out"
    preprocess("ave", tmp_path / "raw", out, REAL(limit=9))
    before = shard_files(out)
    sources = [tmp_path / "raw" / record.source for record in read_manifest(out)][:2]
    content = sources[0].read_bytes()
    sources[0].write_bytes(content + b"\0")
    sources[1].unlink()
    preprocess("ave", tmp_path / "raw", out, REAL(append=True))
    said = capsys.readouterr().err
    assert f"{sources[0].name} is {len(content) + 1} bytes long, {len(content)} were read; clips made" in said
    assert f"{sources[1].name} is missing; clips made of it" in said
    assert {name: file for name, file in shard_files(out).items() if name in before} == before
    assert (read_dataset(out).counts["train"], len(keys(out))) == ({"written": 7, "quarantined": 1}, 11)
    assert faults(out) == ()


def test_a_directory_of_an_earlier_version_can_be_added_to(
    tmp_path, raw, earlier_shards, monkeypatch, collection
):
    out = tmp_path / "out"
    shutil.copytree(earlier_shards / "0.1-format-2" / "ave", out)
    info, before = read_dataset(out), shard_files(out)
    monkeypatch.setattr(stand_in, "VERSIONS", info.versions)
    collection(lambda made: dataclasses.replace(made, name=info.name, classes=info.classes))
    build(out, raw, clips=range(12, 17), append=True, features=info.features)
    grown = read_dataset(out)
    assert {name: file for name, file in shard_files(out).items() if name in before} == before
    assert grown.additions[0].plan_sha256 == info.plan_sha256
    assert grown.additions[0].counts == info.counts
    assert len(keys(out)) == 9
    assert add_column(out).written == 9
    assert not [fault for fault in faults(out) if fault.file.startswith("columns")]


def test_nothing_is_added_to_a_directory_of_format_1(tmp_path, raw, earlier_shards, collection):
    shutil.copytree(earlier_shards / "0.1" / "ave", tmp_path / "out")
    info = read_dataset(tmp_path / "out")
    collection(lambda made: dataclasses.replace(made, name=info.name, classes=info.classes))
    with pytest.raises(OtherSettingsError, match="of format version 1, this stgcma makes version 2"):
        build(tmp_path / "out", raw, clips=range(12, 17), append=True, features=info.features)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_anywhere_while_appending(finish, tmp_path, raw):
    build(tmp_path / "before", raw, clips=7)
    check_kills(finish, tmp_path, raw, True, "--append", operations=50)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_anywhere_while_appending_and_retrying(finish, tmp_path, raw):
    for clips in (4, 7):
        build(tmp_path / "before", raw, clips=clips, append=True)
    (raw / "clip-5.bad").unlink()
    check_kills(finish, tmp_path, raw, True, "--append", "--retry-quarantined", operations=50)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"additions": 5}, r"additions is int '5', expected a list"),
        ({"additions": [5]}, r"additions\[0\]: lacks plan_sha256"),
        ({"shards": {"train": {"first": -1, "count": 1}}}, r"shards\.train is .*, expected first and count"),
        ({"shards": {"dev": {"first": 0, "count": 1}}}, r"shards is .*, expected first and count by split"),
        ({"counts": {"train": {"written": 1}}}, r"counts\.train is .*, expected written and quarantined"),
        ({"sums": {"fbank_128": [0.0, "x", 1]}}, r"sums is .*, expected sum, sum of squares and count"),
        ({"clips_per_shard": 0}, r"clips_per_shard is '0', expected a number from 1 on"),
    ],
)
def test_records_of_additions_are_checked(out, raw, change, message):
    build(out, raw, clips=17, append=True)
    content = json.loads((out / "dataset.json").read_text())
    content |= change if "additions" in change else {"additions": [content["additions"][0] | change]}
    content["content_sha256"] = content_sha256(content)
    (out / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_dataset(out)


@pytest.mark.timeout(60)
def test_numbers_of_shards_without_clips_take_no_memory(out, raw):
    build(out, raw, clips=17, append=True)
    content = json.loads((out / "dataset.json").read_text())
    content["additions"][1]["shards"]["test"]["count"] = 1 << 39
    content["content_sha256"] = content_sha256(content)
    (out / "dataset.json").write_bytes(dataset_bytes(content))
    former = Former(open_store(out), begun=False)
    amendment = amendment_of(former, FormerShards())
    assert sum(len(result.written) for result in amendment.kept) == 16


def test_a_planned_clip_of_no_addition_is_named():
    planned = [PlannedRecord("a", "train", 1, "")]
    with pytest.raises(InputError, match=r"planned\.parquet has clips of addition 2, which does not exist"):
        match([], planned, [Addition("", 4, {"train": ShardRange(0, 1)})])


def test_the_addition_of_a_shard():
    def addition(first, count):
        return Addition("", 4, {"train": ShardRange(first, count), "val": ShardRange(first // 2, 1)})

    number_of = shard_numbers([addition(0, 2), addition(2, 3), addition(8, 1)])
    numbers = [number_of(f"train-{index:06d}.tar") for index in range(10)]
    assert numbers == [0, 0, 1, 1, 1, None, None, None, 2, None]
    assert [number_of(f"{split}-000001.tar") for split in ("val", "test")] == [1, None]


def test_append_and_overwrite_exclude_each_other():
    with pytest.raises(InputError, match="overwrite makes every clip again; leave out append"):
        Options(overwrite=True, append=True)
