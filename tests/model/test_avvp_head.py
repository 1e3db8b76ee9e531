"""The head of AVVP: shapes, pooling, and both modalities."""

import pytest
import torch
from stgcma.errors import InputError
from stgcma.model.backbones.encoder import Encoded
from stgcma.model.heads.avvp import AvvpHead, pool
from stgcma.model.presets import preset_config

CLIPS, SECONDS, CLASSES = 2, 10, 5


def build(**options):
    torch.manual_seed(0)
    return AvvpHead(preset_config("avvp-demo", classes=CLASSES, **options)).eval()


def encoded(head):
    torch.manual_seed(1)
    width = head.audio.in_features
    pooled = {name: torch.randn(CLIPS, SECONDS, width) for name in ("video", "audio")}
    return Encoded(pooled=pooled, tokens={}, stages=[])


@pytest.mark.parametrize("normalised", [False, True])
def test_outputs_are_the_logits_of_seconds_and_their_pooling(normalised):
    head = build(normalised_pooling=normalised)
    inputs = encoded(head)
    with torch.no_grad():
        outputs = head(inputs)
        x = torch.stack([head.audio(inputs.pooled["audio"]), head.video(inputs.pooled["video"])], 2)
        expected = pool(outputs["logits"].sigmoid(), head.time(x), head.modality(x), normalised=normalised)
    assert outputs["logits"].shape == (CLIPS, SECONDS, 2, CLASSES)
    for name in ("audio", "visual", "clip"):
        assert torch.equal(outputs[name], getattr(expected, name))
        assert outputs[name].shape == (CLIPS, CLASSES)


def test_audible_logits_come_from_the_sound_and_visible_ones_from_the_frames():
    head = build()
    inputs = encoded(head)
    other = Encoded(inputs.pooled | {"audio": inputs.pooled["audio"] + 1}, {}, [])
    with torch.no_grad():
        one, two = head(inputs)["logits"], head(other)["logits"]
    assert torch.equal(one[:, :, 1], two[:, :, 1])
    assert not torch.equal(one[:, :, 0], two[:, :, 0])


def test_a_normalised_probability_is_at_most_1_and_the_released_one_is_not():
    highest = {}
    for normalised in (False, True):
        head = build(normalised_pooling=normalised)
        with torch.no_grad():
            for layer in (head.classes, head.time, head.modality):
                layer.weight.mul_(40)
            highest[normalised] = float(head(encoded(head))["clip"].max())
    assert highest[False] > 1
    assert highest[True] <= 1 + 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pooling_is_in_float32_under_autocast(dtype):
    head = build()
    with torch.autocast("cpu", dtype=dtype), torch.no_grad():
        outputs = head(encoded(head))
    assert {value.dtype for value in outputs.values()} == {torch.float32}


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_one_modality_alone_is_refused(modality):
    with pytest.raises(
        InputError, match=f"modality: '{modality}', expected av or av-nofusion: avvp needs both"
    ):
        preset_config("avvp-demo", modality=modality)
