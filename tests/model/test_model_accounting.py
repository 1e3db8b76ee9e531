"""The parameter table of the publication, and estimates that make sense."""

from __future__ import annotations

import pytest
from stgcma.errors import InputError
from stgcma.model import ADAPTERS, PRESET_NAMES, ModelConfig, describe, preset_config
from stgcma.model.accounting import count_parameters

# The published table. AVS: less the release's first RCU of path4, 1,180,160 parameters that it never reads.
PUBLISHED = {
    "ave-clip-b16-tiny": (3_529_973, 89_562_101),
    "ave-clip-b16-base": (6_185_909, 92_218_037),
    "ave-clip-l14-tiny": (10_675_789, 314_119_757),
    "ave-clip-l14-base": (20_117_581, 323_561_549),
    "ave-swin-b-tiny": (5_599_957, 92_345_613),
    "ave-swin-b-base": (10_068_597, 96_814_253),
    "ave-swin-l-tiny": (11_740_697, 206_739_821),
    "ave-swin-l-base": (19_026_857, 214_025_981),
    "avs-swin-b": (29_739_753 - 1_180_160, 116_485_409 - 1_180_160),
    "avs-swin-l": (38_601_925 - 1_180_160, 233_601_049 - 1_180_160),
    "avqa-swin-l": (26_339_000, 221_338_124),
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_published_counts(preset):
    groups = count_parameters(preset_config(preset))
    assert (groups["adapter"] + groups["head"], sum(groups.values())) == PUBLISHED[preset]


def test_every_preset_survives_json():
    for preset in PRESET_NAMES:  # the page on commands builds and counts each
        config = preset_config(preset)
        assert type(config).from_dict(config.to_dict()) == config


NO_STEPS = {"temporal": False, "spatial": False, "global_": False}  # an account follows every operation


@pytest.mark.slow
@pytest.mark.parametrize("task", ["avs", "avqa"])
def test_other_tasks_are_described(helpers, task):
    fields = helpers.swin_fields(task=task, depths=(1, 1, 1, 1), **NO_STEPS)
    summary = describe(ModelConfig.from_dict(fields))
    assert 4 * summary.total < summary.forward_bytes < summary.training_bytes
    assert summary.forward_gflops > 0


def test_description_adds_up(helpers):
    config = ModelConfig.from_dict(helpers.clip_fields(temporal=False, global_=False))
    summary = describe(config)
    assert summary.total == sum(summary.parameters.values())
    assert summary.total == summary.trainable + summary.parameters["frozen"]
    assert 4 * summary.total < summary.forward_bytes < summary.training_bytes
    assert describe(config, checkpointing=True).training_bytes < summary.training_bytes
    assert summary.to_dict()["config"]["task"] == "ave"


def test_arithmetic_is_that_of_the_matrices():
    """Without adapters: 2 · (4 + 8)·D² per token and block; attention and stems are little beside it."""
    config = preset_config("ave-demo", width=1024, depths=[1], **NO_STEPS)
    tokens = config.frames * (1 + 49 + 1 + 12)
    blocks = 2 * 12 * 1024**2 * tokens
    assert blocks < describe(config).forward_gflops * 1e9 < 1.5 * blocks


def test_weights_are_counted_once():
    """One step of 14 tokens beside a block of 25 million weights."""
    account = describe("ave-demo", width=1024, depths=[2], frames=1, **NO_STEPS)
    assert 4 * account.total < account.forward_bytes < 1.1 * 4 * account.total


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"frame": 3}, "'frame' does not exist; did you mean 'frames'"),
        ({"frames": 33}, "frames: 33, expected 1 to 32"),
        ({"frames": 0}, "frames: 0, expected 1 to 32"),
        ({"modality": "sound"}, "modality: 'sound', expected one of av, av-nofusion, video, audio"),
        ({"adapter_ratio": 0}, "adapter_ratio: 0, expected one number above 0"),
        ({"adapter_ratio": 0.001}, "adapter_ratio: 0.001, expected at least 1/128 of width 128"),
        ({"drop_path": 1.0}, "drop_path: 1.0, expected"),
        ({"heads": (5,)}, r"heads: \(5,\), expected divisors"),
        ({"classes": "29"}, "classes: '29', expected a positive integer"),
        ({"spatial": 1}, "spatial: 1, expected true or false"),
        ({"audio_shape": (10, 128)}, r"audio_shape: \(10, 128\), expected"),
    ],
)
def test_wrong_options_are_named(overrides, message):
    with pytest.raises(InputError, match=message):
        preset_config("ave-demo", **overrides)


def test_wrong_presets_and_combinations_are_named():
    with pytest.raises(InputError, match="did you mean 'ave-swin-b-base'"):
        preset_config("ave-swinb-base")
    with pytest.raises(InputError, match="modality: 'video', expected av or av-nofusion: avs needs both"):
        preset_config("avs-demo", modality="video")
    assert preset_config("ave-demo", task="avs").backbone == preset_config("ave-demo").backbone
    with pytest.raises(InputError, match="image_size: 192"):
        preset_config("avs-demo", image_size=192, audio_shape=(192, 192))
    with pytest.raises(InputError, match="task, backbone"):
        type(preset_config("ave-demo")).from_dict({})


# Those whose operations no other one has; an account takes seconds.
OPERATIONS = ("cola", "lavish", "side")


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=() if name in OPERATIONS else pytest.mark.slow) for name in ADAPTERS.names],
)
def test_every_adapter_is_accounted_for(method):
    account = describe("ave-demo", adapter=method, depths=[1])
    assert account.trainable == sum(count_parameters(account.config)[group] for group in ("adapter", "head"))
    assert account.forward_gflops > 0
    assert account.forward_bytes < account.training_bytes
