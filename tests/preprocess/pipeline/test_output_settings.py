"""An output folder continues with the same settings only."""

import dataclasses
import json
import re

import pytest
from stgcma.errors import InputError, OtherSettingsError
from stgcma.preprocess import Limits, Options, preprocess
from stgcma.preprocess.pipeline.output import OutputFolder
from stgcma.shards.manifest import read_dataset, write_dataset
from stgcma.shards.subset import write_subset

from . import stand_in
from .stand_in import FEATURES, build, contents, faults, unfinish


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": 11}, "the list of clips or their labels changed"),
        (
            {"features": FEATURES | {"jpeg_quality": 60}},
            "features.jpeg_quality is 95 there, 60 here",
        ),
        ({"features": FEATURES | {"decoder": "pyav"}}, 'features.decoder is not set there, "pyav" here'),
    ],
)
def test_other_settings_are_refused(tmp_path, raw, complete, change, message):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    if not complete:
        unfinish(out)
    before = contents(out)
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        build(out, raw, **{"clips": 12, **change})
    assert str(refused.value).endswith("choose another OUT, or the option overwrite to start anew")
    assert contents(out) == before
    build(out, raw, **{"clips": 12, **change}, overwrite=True)
    build(tmp_path / "whole", raw, **{"clips": 12, **change})
    assert contents(out) == contents(tmp_path / "whole")


def test_another_decoder_version_is_refused(tmp_path, raw, monkeypatch):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    monkeypatch.setattr(stand_in, "VERSIONS", {"stgcma": "1", "pyav": "19.0.0"})
    with pytest.raises(InputError, match=r'versions\.pyav is "18\.1\.0" there, "19\.0\.0" here'):
        build(out, raw, clips=12)


IDLE = {"ffmpeg": "5.1.9", "decord": "0.5"}


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        ("pyav", None),
        ("ffmpeg", r'versions\.ffmpeg is "5\.1\.9" there, "9\.0" here; choose'),
        ("decord", r'versions\.decord is "0\.5" there, "0\.6" here; choose'),
        ("pyav+ffmpeg", r'versions\.ffmpeg is "5\.1\.9" there, "9\.0" here; choose'),
    ],
)
def test_the_version_of_a_decoder_that_decoded_nothing_may_change(
    tmp_path, raw, monkeypatch, complete, decoder, message
):
    out = tmp_path / "out"
    versions = dict(stand_in.VERSIONS)
    monkeypatch.setattr(stand_in, "DECODER", decoder)
    monkeypatch.setattr(stand_in, "VERSIONS", versions | IDLE)
    build(out, raw, clips=12)
    used = {name: IDLE[name] for name in decoder.split("+") if name in IDLE}
    assert read_dataset(out).versions == versions | used
    if not complete:
        unfinish(out)
        # As a run of its own leaves it: all decoders that the run might have called.
        plan = out / ".progress" / "plan.json"
        plan.write_text(json.dumps(json.loads(plan.read_text()) | {"versions": versions | IDLE}))
    monkeypatch.setattr(stand_in, "VERSIONS", versions | {"ffmpeg": "9.0", "decord": "0.6"})
    if message is None:
        assert build(out, raw, clips=12).was_complete is complete
        assert read_dataset(out).versions == versions
        assert faults(out) == ()
    else:
        with pytest.raises(InputError, match=message):
            build(out, raw, clips=12)


def test_a_directory_of_a_release_that_noted_every_decoder_still_opens(tmp_path, raw, monkeypatch):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    info = read_dataset(out)
    write_dataset(out, dataclasses.replace(info, versions=info.versions | IDLE))
    monkeypatch.setattr(stand_in, "VERSIONS", stand_in.VERSIONS | {"ffmpeg": "9.0", "decord": "0.6"})
    assert build(out, raw, clips=12).was_complete


def test_another_version_of_this_program_is_refused_halfway_only(tmp_path, raw, monkeypatch):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    monkeypatch.setattr(stand_in, "VERSIONS", {"stgcma": "2", "pyav": "18.1.0"})
    assert build(out, raw, clips=12).was_complete
    monkeypatch.setattr(stand_in, "VERSIONS", {"stgcma": "1", "pyav": "18.1.0"})
    unfinish(out)
    monkeypatch.setattr(stand_in, "VERSIONS", {"stgcma": "2", "pyav": "18.1.0"})
    with pytest.raises(InputError, match=r'versions\.stgcma is "1" there, "2" here'):
        build(out, raw, clips=12)


@pytest.fixture
def of_version_1(tmp_path, raw):
    """A finished OUT as version 0.1 would have written it: fewer settings, versions of other tools."""
    out = tmp_path / "out"
    build(out, raw, clips=12)
    info = read_dataset(out)
    features = {name: value for name, value in info.features.items() if name != "jpeg_quality"}
    write_dataset(
        out,
        dataclasses.replace(
            info, format_version=1, features=features, versions={"stgcma": "0", "torchaudio": "2.11"}
        ),
    )
    return out


def test_a_finished_directory_of_version_1_is_left_as_it_is(of_version_1, raw, capsys):
    before = contents(of_version_1)
    assert build(of_version_1, raw, clips=12).was_complete
    assert (
        f"{of_version_1} is complete in format version 1, which can be used as it is"
        in capsys.readouterr().err
    )
    assert contents(of_version_1) == before
    assert not faults(of_version_1)
    with pytest.raises(InputError, match="the list of clips or their labels changed"):
        build(of_version_1, raw, clips=11)
    with pytest.raises(InputError, match=r"features\.frame_pixels is 224 there, 112 here"):
        build(of_version_1, raw, clips=12, features=FEATURES | {"frame_pixels": 112})


def test_no_clip_is_added_to_a_directory_of_version_1(of_version_1, raw):
    before = contents(of_version_1)
    with pytest.raises(OtherSettingsError, match="of format version 1, this stgcma makes version 2"):
        build(of_version_1, raw, clips=12, retry_quarantined=True)
    assert contents(of_version_1) == before
    build(of_version_1, raw, clips=12, overwrite=True)
    assert read_dataset(of_version_1).format_version == 2


def test_a_half_finished_directory_of_version_1_is_refused(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    unfinish(out)
    path = out / ".progress" / "plan.json"
    plan = json.loads(path.read_text())
    assert plan.pop("format_version") == 2
    path.write_text(json.dumps(plan))
    with pytest.raises(OtherSettingsError) as refused:
        build(out, raw, clips=12)
    assert str(refused.value).endswith(
        "holds shards of format version 1, this stgcma makes version 2, whose fbanks have other bytes; "
        "choose another OUT, or the option overwrite to start anew"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"decoder": "pyav"},
        {"missing_audio": "silence"},
        {"allow_links": True},
        {"features": ("swin",)},
        {"audio_stream": "loudest"},
        {"trim": True},
    ],
)
def test_every_option_that_decides_bytes_is_part_of_the_plan(tmp_path, monkeypatch, change):
    plans = [plan_of(tmp_path, monkeypatch, **options) for options in ({}, change)]
    assert plans[0] != plans[1]


@pytest.mark.parametrize("change", [{"workers": 3}, {"engine": "ray"}, {"limits": Limits(timeout_seconds=9)}])
def test_no_other_option_is_part_of_the_plan(tmp_path, monkeypatch, change):
    plans = [plan_of(tmp_path, monkeypatch, **options) for options in ({}, change)]
    assert plans[0] == plans[1]


def plan_of(tmp_path, monkeypatch, **options):
    """The plan that `preprocess` makes of a folder of one file under these options."""
    raw = tmp_path / "raw" / "Cat"
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "a.mp4").touch()
    plans = []

    class PlannedError(Exception):
        pass

    def begin(_self, plan, *, overwrite, **_):
        plans.append((plan, overwrite))
        raise PlannedError

    monkeypatch.setattr(OutputFolder, "begin", begin)
    with pytest.raises(PlannedError):
        preprocess("folder", raw.parent, tmp_path / "out", Options(**{"features": ("clip",), **options}))
    return plans[0]


@pytest.mark.parametrize("option", ["append", "repair", "retry_quarantined"])
def test_a_subset_is_made_by_its_command_alone(tmp_path, raw, option):
    build(tmp_path / "out", raw, clips=12)
    write_subset(tmp_path / "out", tmp_path / "new", "split == 'train'")
    before = contents(tmp_path / "new")
    what = "it is a subset of another directory, which only `stgcma shards subset` writes; choose another OUT"
    with pytest.raises(OtherSettingsError, match=what):
        build(tmp_path / "new", raw, clips=12, **{option: True})
    assert contents(tmp_path / "new") == before


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(InputError, match="overwrite makes every clip again; leave out retry_quarantined"):
        Options(overwrite=True, retry_quarantined=True)
    with pytest.raises(InputError, match=r"^engine is 'spark', must be local or ray"):
        Options(engine="spark")
    with pytest.raises(InputError, match="ray_address is for engine ray"):
        Options(ray_address="auto")
    with pytest.raises(InputError, match=r"^decoder is 'opencv', must be one of auto, decord, ffmpeg, pyav"):
        Options(decoder="opencv")
    with pytest.raises(InputError, match=r"^audio_stream is 'last', must be default, loudest, or a number"):
        Options(audio_stream="last")
    with pytest.raises(InputError, match=r"^missing_audio is 'noise', must be one of quarantine, silence"):
        Options(missing_audio="noise")
