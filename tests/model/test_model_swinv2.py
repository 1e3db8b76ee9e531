"""Swin V2: equal to timm's, read off timm, and adapters in a block whose norms follow attention and MLP."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from stgcma.errors import InputError
from stgcma.model import FAMILIES, ModelConfig, build_from_config, find_backbone, preset_config
from stgcma.preprocess.collections.specification import FBANK_KINDS

TRIED = list(FAMILIES["swinv2"].records)
# Coordinates inside a window are divided by its side, or by the sides of an earlier training.
KINDS = ["swinv2_tiny_window8_256", "swinv2_base_window12to16_192to256", "swinv2_large_window12to24_192to384"]
SIZES = {"embed_dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4), "patch_size": 1}


def shake(model, seed=0):
    """Give the frozen weights values that no initialisation has, biases and norms too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.encoder.backbone.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model.encoder.derive_audio()
    return model.eval()


@pytest.fixture
def make(helpers):
    """`make(…)` is a tiny model with shaken frozen weights."""
    return lambda **fields: shake(build_from_config(ModelConfig.from_dict(helpers.swinv2_fields(**fields))))


def timms(model, **options):
    """timm's own model of the same weights."""
    theirs = timm.create_model(model.config.backbone.timm_name, num_classes=0, **options)
    theirs.load_state_dict(model.encoder.backbone.state_dict())
    return theirs.eval()


@pytest.mark.parametrize(("kind", "window"), [(KINDS[0], 2), (KINDS[1], 2), (KINDS[2], 7)])
def test_untrained_equals_timms_model_bit_for_bit(helpers, make, kind, window):
    """timm's model is built for pictures twice as large, and then set to the size of the frames."""
    side = 8 * window
    shape = {"image_size": side, "audio_shape": (side, side), "window": window}
    model = make(timm_name=kind, task="avqa", **shape)
    theirs = timms(model, **SIZES, img_size=2 * side, window_size=2 * window)
    theirs.set_input_size((side, side))
    inputs = helpers.draw_inputs(model.config)
    encoded, frames = model.encoder(inputs), inputs["video"].flatten(0, 1)
    features = theirs.forward_features(frames)
    assert features.std() > 0.1
    assert torch.equal(encoded.tokens["video"].flatten(0, 1), features.flatten(1, 2))
    assert torch.equal(encoded.pooled["video"].flatten(0, 1), theirs.forward_head(features, pre_logits=True))
    assert torch.equal(model.encoder.encode_frozen(inputs["video"]).flatten(0, 1), features.flatten(1, 2))
    _, maps = theirs.forward_intermediates(frames)
    for ours, expected in zip(encoded.stages[:3], maps[:3], strict=True):
        assert torch.equal(ours, expected.permute(0, 2, 3, 1))


def test_sound_is_a_gray_picture_of_the_same_grid(helpers, make):
    model = make()
    audio = helpers.draw_inputs(model.config)["audio"]
    encoded = model.encoder({"audio": audio, "video": (audio / 3)[:, :, None].expand(-1, -1, 3, -1, -1)})
    torch.testing.assert_close(encoded.pooled["audio"], encoded.pooled["video"], rtol=1e-3, atol=1e-4)


def merged(model, change):
    """timm's model with the frames' changes of a trained adapter added to its weights."""
    theirs = timms(model, **SIZES, img_size=16, window_size=2)
    with torch.no_grad():
        for stage, adapters in zip(theirs.layers, model.encoder.adapters, strict=True):
            for block, adapter in zip(stage.blocks, adapters, strict=True):
                change(block, adapter)
    return theirs


def test_trained_norms_are_those_after_attention_and_mlp(helpers, make):
    model = helpers.teach(make(adapter="layernorm"))

    def change(block, adapter):
        for name, norm in adapter.norms["video"].items():
            for leaf in ("weight", "bias"):
                getattr(block.get_submodule(name), leaf).add_(getattr(norm, leaf))

    inputs = helpers.draw_inputs(model.config)
    expected = merged(model, change)(inputs["video"].flatten(0, 1))
    torch.testing.assert_close(model.encoder(inputs).pooled["video"].flatten(0, 1), expected)


def test_low_rank_changes_are_those_of_the_linear_layers(helpers, make):
    model = helpers.teach(make(adapter="lora", rank=2))
    layers = {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}

    def change(block, adapter):
        changes = adapter.changes["video"]
        assert set(changes) == set(layers)
        for name, low in changes.items():
            weight = block.get_submodule(layers[name]).weight
            for part, up, down in zip(
                weight.chunk(len(low.enabled)),
                low.up.chunk(len(low.enabled)),
                low.down.chunk(len(low.enabled)),
                strict=True,
            ):
                part.add_(low.scale * up @ down)

    inputs = helpers.draw_inputs(model.config)
    expected = merged(model, change)(inputs["video"].flatten(0, 1))
    torch.testing.assert_close(model.encoder(inputs).pooled["video"].flatten(0, 1), expected)


def test_half_precision_equals_timms_model(helpers, make):
    """A fused kernel: there the logits are not rounded."""
    model = make(adapter="none", modality="video", window=4)
    frames = helpers.draw_inputs(model.config)["video"]
    expected = model.encoder({"video": frames}).pooled["video"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = model.encoder({"video": frames}).pooled["video"].float()
        theirs = timms(model, **SIZES, img_size=16, window_size=4)(frames.flatten(0, 1)).view(ours.shape)
    assert (ours - expected).norm() <= max((theirs - expected).norm(), 0.02 * expected.norm())


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("swinv2_base_window8_256", 7),
        pytest.param("swinv2_large_window12to24_192to384", 14, marks=pytest.mark.slow),
    ],
)
def test_a_record_is_read_off_timm(name, window):
    record = find_backbone(name)
    heads = (6, 12, 24, 48) if "large" in name else (4, 8, 16, 32)
    assert (record.width, record.depths, record.heads) == (heads[0] * 32, (2, 2, 18, 2), heads)
    assert (record.patch, record.window, record.image_size) == (4, window, 224)
    assert record.timm_name.startswith(f"{name}.ms_in")
    config = preset_config("avs-swin-b", backbone=name)
    assert config.backbone == record
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert config.adapter.ratio == (0.25, 0.25, 0.125, 0.125)  # four stages, as before


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRIED, "swinv2_base_window12to24_192to384.ms_in22k_ft_in1k"])
def test_every_record_is_timms_and_full_size_equals_timm(helpers, name):
    record = find_backbone(name)
    assert record.audio_shape[0] == FBANK_KINDS[record.fbank].target_frames
    published = timm.get_pretrained_cfg(record.timm_name)
    assert (record.image_mean, record.image_std) == (published.mean, published.std)
    config = preset_config("ave-swin-b-base", backbone=name, frames=1)
    model = build_from_config(config, weights="random").eval()
    theirs = timm.create_model(record.timm_name, num_classes=0)
    theirs.set_input_size((224, 224))
    theirs.load_state_dict(model.encoder.backbone.state_dict())
    inputs = helpers.draw_inputs(config, 1)
    with torch.no_grad():
        expected = theirs.eval()(inputs["video"].flatten(0, 1))
        assert torch.equal(model.encoder(inputs).pooled["video"].flatten(0, 1), expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"timm_name": "swin_base_patch4_window7_224"}, "expected the name of a Swin V2 in timm"),
        ({"timm_name": "swinv2_cr_base_224"}, "expected the name of a Swin V2 in timm"),
        ({"window": 3}, "windows of 3 tile; stage 1 has 16×16 tokens"),
        ({"audio_shape": (16, 8)}, "windows cover audio and frames alike"),
    ],
)
def test_wrong_fields_are_named(helpers, fields, message):
    with pytest.raises(InputError, match=re.escape(message)):
        ModelConfig.from_dict(helpers.swinv2_fields(**fields))
    with pytest.raises(InputError, match="'swinv2_cr_base_224' is a timm model of another kind"):
        find_backbone("swinv2_cr_base_224")


def microsoft(tensors):
    """Microsoft's layout: a downsampling at the end of a stage, computed buffers, a classifier."""
    layout = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"layers\.(\d)\.downsample(.*)", name)
        layout[f"layers.{int(found[1]) - 1}.downsample{found[2]}" if found else name] = tensor
    buffers = ("attn_mask", "attn.relative_position_index", "attn.relative_coords_table")
    layout |= {f"layers.0.blocks.1.{name}": torch.zeros(1) for name in buffers}
    return {"model": {**layout, "head.weight": torch.zeros(3, 3), "head.bias": torch.zeros(3)}}


@pytest.mark.parametrize("source", ["name", "timm", "microsoft"])
def test_published_weights_are_loaded(helpers, monkeypatch, tmp_path, source):
    """By timm's name with timm's loader, which gets the file in place of a download; and from files."""
    config = ModelConfig.from_dict(helpers.swinv2_fields())
    sizes = {**SIZES, "img_size": 32, "window_size": 4, "num_classes": 7 if source != "microsoft" else 0}
    theirs = timm.create_model(config.backbone.timm_name, **sizes)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.1)
    file = tmp_path / ("model.pth" if source == "microsoft" else "model.safetensors")
    if source == "microsoft":
        torch.save(microsoft(theirs.state_dict()), file)
    else:
        save_file(theirs.state_dict(), file)
    if source == "name":
        resolve = timm.models._builder.resolve_pretrained_cfg

        def resolve_to_file(*args, **options):
            found = resolve(*args, **options)
            found.file, found.num_classes = str(file), 7
            return found

        monkeypatch.setattr("timm.models._builder.resolve_pretrained_cfg", resolve_to_file)
    model = build_from_config(config, weights="timm" if source == "name" else file)
    given = dict(theirs.named_parameters())
    for name, parameter in model.encoder.backbone.named_parameters():
        assert torch.equal(parameter, given[name]), name
