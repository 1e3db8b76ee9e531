"""Clips of different lengths in one batch: padding changes neither outputs nor gradients nor statistics.

The reference runs the encoder and the head on the shorter clip alone, without padding or a mask.
"""

from __future__ import annotations

import pytest
import stgcma
import torch
from stgcma.errors import InputError
from stgcma.model import ModelConfig, TrainedOn, build_from_config
from stgcma.model.inputs import pad_clip
from stgcma.model.records import FRAME_MASK

FRAMES, SHORT = 4, 2


def build(helpers, **overrides):
    fields = helpers.swin_fields(task="avss", frames=FRAMES, classes=3, mask_channels=8, drop_path=0.0)
    model = helpers.teach(build_from_config(ModelConfig.from_dict({**fields, **overrides})))
    with torch.no_grad():  # zero at first, so that nothing would show what the normalisation does
        for module in model.head.tpavi:
            module.batch_norm.weight.uniform_(0.5, 1.5)
    return model


def clips(model):
    """Return the inputs of a whole clip and of a short one."""
    torch.manual_seed(3)
    shapes = model.config.input_shapes(1)
    full = {name: torch.randn(shapes[name]) for name in ("video", "audio")}
    short = {name: torch.randn(shapes[name])[:, :SHORT] for name in ("video", "audio")}
    return full, short


def batch_of(model, *singles):
    padded = [pad_clip({name: x[0] for name, x in clip.items()}, model.config) for clip in singles]
    return {name: torch.stack([one[name] for one in padded]) for name in padded[0]}


def unpadded(model, inputs):
    return model.head(model.encoder(inputs))["mask_logits"]


@pytest.mark.parametrize("modality", ["av", "av-nofusion"])
def test_outputs_are_those_without_padding(helpers, modality):
    model = build(helpers, modality=modality).eval()
    full, short = clips(model)
    with torch.no_grad():
        together = model(**batch_of(model, short, full))["mask_logits"]
        torch.testing.assert_close(together[0, :SHORT], unpadded(model, short)[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together[1], unpadded(model, full)[0], rtol=1e-5, atol=1e-5)
        # Without the mask, the zeros do change the clip.
        batch = batch_of(model, short)
        assert not torch.allclose(model(video=batch["video"], audio=batch["audio"])["mask_logits"][0, :SHORT],
                                  together[0, :SHORT], atol=1e-2)  # fmt: skip


def trained(model, logits):
    """Return gradients of a loss of `logits` and the buffers after the pass."""
    weights = torch.linspace(-1, 1, logits.numel()).view_as(logits)
    (logits.sigmoid() * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return gradients, {name: b.clone() for name, b in model.head.named_buffers()}


def test_gradients_and_statistics_are_those_without_padding(helpers):
    """In float64, which the model's check of inputs refuses: encoder and head are called."""
    alone, padded = build(helpers).double().train(), build(helpers).double().train()
    padded.load_state_dict(alone.state_dict())
    short = {name: x.double() for name, x in clips(alone)[1].items()}
    expected, buffers = trained(alone, unpadded(alone, short))
    batch = batch_of(padded, short)
    logits = padded.head.run(padded.encoder(batch), batch, padded.encoder.encode_frozen)["mask_logits"]
    found, statistics = trained(padded, logits[:, :SHORT])
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-9, msg=name)
    for name, buffer in buffers.items():
        torch.testing.assert_close(statistics[name], buffer, msg=name)


def test_what_lies_in_padding_frames_changes_nothing(helpers):
    model = build(helpers).train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batch = batch_of(model, *clips(model))
    first = model(**batch)["mask_logits"]
    moved = {name: buffer.clone() for name, buffer in model.head.named_buffers()}
    for name in ("video", "audio"):
        batch[name][1, SHORT:] = 50.0
    model.load_state_dict(state)
    second = model(**batch)["mask_logits"]
    mask = batch[FRAME_MASK]
    torch.testing.assert_close(first[mask], second[mask], rtol=0, atol=0)
    for name, buffer in model.head.named_buffers():
        torch.testing.assert_close(moved[name], buffer, rtol=0, atol=0)


def test_clip_attends_over_time_to_its_frames_only(helpers):
    """The temporal embedding, and attention without a bias table."""
    model = helpers.teach(build_from_config(ModelConfig.from_dict(helpers.clip_fields(frames=FRAMES)))).eval()
    torch.manual_seed(1)
    inputs = {name: torch.randn(shape) for name, shape in model.config.input_shapes(1).items()}
    short = {name: x[:, :SHORT] for name, x in inputs.items()}
    mask = torch.arange(FRAMES)[None] < SHORT
    with torch.no_grad():
        expected = model.encoder(short).pooled
        found = model.encoder({**inputs, FRAME_MASK: mask}).pooled
    for name, pooled in expected.items():
        torch.testing.assert_close(found[name][:, :SHORT], pooled, rtol=1e-5, atol=1e-5)


def test_masks_are_checked(helpers):
    model = build(helpers).eval()
    batch = batch_of(model, *clips(model))
    mask = batch.pop(FRAME_MASK)
    model(**batch)  # all clips have T frames
    with pytest.raises(InputError, match=r"frame_mask: dtype float32, expected bool"):
        model(**batch, frame_mask=mask.float())
    with pytest.raises(InputError, match=r"frame_mask: shape \[2, 3\], expected \[2, 4\]"):
        model(**batch, frame_mask=mask[:, :3])
    mask[1] = False
    with pytest.raises(InputError, match=r"frame_mask: clip 1 has no frame"):
        model(**batch, frame_mask=mask)
    other = build_from_config(ModelConfig.from_dict(helpers.swin_fields(task="avs", mask_channels=8)))
    with pytest.raises(InputError, match=r"frame_mask: given, but this avs model takes video, audio"):
        other(**batch, frame_mask=mask)


@pytest.mark.parametrize(("video", "audio", "said"), [(2, 3, "video 2, audio 3"), (5, 5, "video 5, audio 5")])
def test_clips_of_wrong_lengths_are_refused(helpers, video, audio, said):
    config = ModelConfig.from_dict(helpers.swin_fields(task="avss", frames=FRAMES))
    shapes = config.input_shapes(1)
    inputs = {
        name: torch.zeros(count, *shapes[name][2:]) for name, count in (("video", video), ("audio", audio))
    }
    with pytest.raises(InputError, match=f"a clip of {said} steps, expected as many of each, from 1 to 4"):
        pad_clip(inputs, config)


def test_prepared_short_clip_has_its_mask(helpers):
    model = build(helpers).eval()
    model.trained_on = TrainedOn(
        collection="avss",
        preset="avss-demo",
        classes=("background", "a", "b"),
        vocabulary={},
        features={},
        clip_seconds=10.0,
        fbank="fbank_16",
        fbank_mean=0.0,
        fbank_std=0.5,
        image_mean=(0.5,) * 3,
        image_std=(0.5,) * 3,
    )
    frames = torch.zeros(SHORT, 3, 16, 16, dtype=torch.uint8)
    inputs = stgcma.prepare_inputs(model, frames=frames, fbank=torch.ones(SHORT, 16, 16))
    assert inputs[FRAME_MASK].tolist() == [[True, True, False, False]]
    assert inputs["video"].shape == (1, FRAMES, 3, 16, 16)
    assert model(**inputs)["mask_logits"].shape[:3] == (1, FRAMES, 3)
