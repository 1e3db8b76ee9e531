"""Plain vision transformers of timm: equal to timm's, read off timm, and every task on them."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from stgcma.errors import InputError, StgcmaError
from stgcma.model import (
    FAMILIES,
    HEADS,
    ModelConfig,
    build_from_config,
    find_backbone,
    load_model,
    preset_config,
    save_checkpoint,
)
from stgcma.model.backbones.flat import taken_layers
from stgcma.preprocess.collections.specification import FBANK_KINDS
from timm.layers import resample_abs_pos_embed

TRIED = list(FAMILIES["vit"].records)
# Of each kind of part one: pre-norm, LayerScale, registers, no class token, rotary positions of all types,
# SwiGLU with and without a norm, norms of queries and keys, a last norm after the pooling, and none at all.
KINDS = {
    "augreg": "vit_base_patch16_224.augreg_in21k",
    "clip": "vit_base_patch16_clip_224.laion2b",
    "siglip2": "vit_base_patch16_siglip_224.v2_webli",
    "dinov2": "vit_base_patch14_dinov2.lvd142m",
    "dinov2-swiglu": "vit_giant_patch14_reg4_dinov2.lvd142m",
    "deit3": "deit3_base_patch16_224.fb_in22k_ft_in1k",
    "gap": "vit_little_patch16_reg4_gap_256.sbb_in1k",
    "qk-norm": "vit_betwixt_patch16_rope_reg4_gap_256.sbb_in1k",
    "dinov3": "vit_base_patch16_dinov3.lvd1689m",
    "dinov3-swiglu": "vit_huge_plus_patch16_dinov3.lvd1689m",
    "eva02": "eva02_base_patch14_224.mim_in22k",
    "eva02-clip": "eva02_base_patch16_clip_224.merged2b",
    "pe": "vit_pe_core_base_patch16_224.fb",
    "pe-spatial": "vit_pe_spatial_base_patch16_512.fb",
    "rope-mixed": "vit_base_patch16_rope_mixed_224.naver_in1k",
}


def tiny(helpers, name, **overrides):
    """The configuration of timm's model `name` with two narrow blocks."""
    patch = int(re.search(r"patch(\d+)", name)[1])
    sizes = {"patch": patch, "image_size": 4 * patch, "audio_shape": (3 * patch + 1, 5 * patch)}
    return ModelConfig.from_dict(helpers.vit_fields(timm_name=name, **{**sizes, **overrides}))


def shake(model, seed=0):
    """Gives the frozen weights values that no initialisation has, biases and scales too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.encoder.backbone.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.encoder.derive_audio()
    return model.eval()


def timms(config, model, **options):
    """timm's own model, built by its name, with the weights of ours."""
    record = config.backbone
    theirs = timm.create_model(record.timm_name, num_classes=0, **{**record.timm_options, **options})
    missing, unknown = theirs.load_state_dict(model.encoder.backbone.state_dict(), strict=False)
    assert not unknown
    assert all(name.startswith("attn_pool.") for name in missing)
    return theirs.eval()


def timms_features(theirs, frames):
    """timm's pooled features and patch tokens; in place of attention pooling the class token or the mean."""
    features = theirs.forward_features(frames)
    patches = features[:, theirs.num_prefix_tokens :]
    if theirs.attn_pool is not None:
        return (features[:, 0] if theirs.cls_token is not None else patches.mean(1)), patches
    return theirs.forward_head(features, pre_logits=True), theirs.fc_norm(patches)


@pytest.mark.parametrize("kind", KINDS)
def test_untrained_equals_timms_model_bit_for_bit(helpers, kind):
    # Inner widths are multiples of 32: values at the end that do not fill a vector get another SiLU.
    config = tiny(helpers, KINDS[kind], task="avqa", width=48)
    model = shake(build_from_config(config))
    inputs = helpers.draw_inputs(config)
    encoded = model.encoder(inputs)
    frames = inputs["video"].flatten(0, 1)
    pooled, patches = timms_features(timms(config, model), frames)
    assert torch.equal(encoded.pooled["video"].flatten(0, 1), pooled)
    assert torch.equal(encoded.tokens["video"].flatten(0, 1), patches)
    assert torch.equal(model.encoder.encode_frozen(inputs["video"]).flatten(0, 1), patches)


@pytest.mark.parametrize("kind", ["dinov2", "dinov3", "eva02", "pe", "rope-mixed", "gap"])
def test_a_gray_picture_of_the_frames_grid_sounds_as_it_looks(helpers, kind):
    """Stem, positions, rotary positions, prefix tokens and blocks treat sound as a picture of its grid."""
    name = KINDS[kind]
    side = 4 * int(re.search(r"patch(\d+)", name)[1])
    model = shake(build_from_config(tiny(helpers, name, audio_shape=(side, side))))
    audio = helpers.draw_inputs(model.config)["audio"]
    encoded = model.encoder({"audio": audio, "video": audio[:, :, None].expand(-1, -1, 3, -1, -1)})
    torch.testing.assert_close(encoded.pooled["audio"], encoded.pooled["video"], rtol=1e-3, atol=1e-4)


def test_sound_of_another_grid_equals_timms_model_of_that_grid(helpers):
    """DINOv3 takes pictures of any size, so timm's own model of 3 × 5 patches computes our audio tower."""
    config = tiny(helpers, KINDS["dinov3"])
    model = shake(build_from_config(config))
    inputs = helpers.draw_inputs(config)
    audio = inputs["audio"].flatten(0, 1)[:, None, :48]  # a remainder smaller than a patch is not read
    theirs = timms(config, model)
    expected, _ = timms_features(theirs, audio.expand(-1, 3, -1, -1))
    ours = model.encoder(inputs).pooled["audio"].flatten(0, 1)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_attention_over_time_has_no_rotary_positions(helpers):
    """Clips whose frames are all alike: the temporal step sees T equal keys, so its output is their value."""
    config = tiny(helpers, KINDS["dinov3"], spatial=False, global_=False)
    model = helpers.teach(shake(build_from_config(config)))
    still = helpers.draw_inputs(config)
    still = {name: x[:, :1].expand_as(x) for name, x in still.items()}
    with torch.no_grad():
        for embedding in model.encoder.temporal_embedding.values():
            embedding.zero_()
    pooled = model.encoder(still).pooled["video"]
    torch.testing.assert_close(pooled[:, 0], pooled[:, 1])


@pytest.mark.parametrize("task", HEADS.names)
def test_every_task_trains_on_a_plain_transformer(helpers, task):
    config = tiny(helpers, KINDS["dinov2-swiglu"], task=task)
    model = helpers.teach(build_from_config(config)).train()
    outputs = model(**helpers.draw_inputs(config, negative=True))
    if "mask_logits" in outputs:
        assert outputs["mask_logits"].shape[-2:] == (56, 56)
    sum(x.square().sum() for x in outputs.values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize(
    ("patch", "image", "sides"),
    [(8, 64, (16, 8, 4, 2)), (14, 56, (16, 8, 4, 2)), (16, 96, (24, 12, 6, 3)), (32, 64, (16, 8, 4, 2))],
)
def test_the_pyramid_has_four_strides_and_lies_in_the_head(helpers, patch, image, sides):
    shape = {"patch": patch, "image_size": image, "audio_shape": (patch, 2 * patch)}
    config = ModelConfig.from_dict(helpers.vit_fields(task="avs", timm_name=KINDS["augreg"], **shape))
    model, maps = build_from_config(config).eval(), []
    for level in model.head.reduce:
        level.register_forward_hook(lambda _, __, output: maps.append(output))
    inputs = helpers.draw_inputs(config)
    assert model(**inputs)["mask_logits"].shape[-2:] == (image, image)
    assert [x.shape[1:3] for x in maps] == [(side, side) for side in sides]
    stages = model.encoder(inputs).stages
    assert [tuple(x.shape) for x in stages] == [(4, image // patch, image // patch, 32)] * 4
    assert not torch.equal(stages[0], stages[2])
    finer = any(name.startswith("head.reduce.0.resample") for name in model.trained_tensors())
    assert finer == (patch > 4)


def test_maps_are_evenly_spaced_in_depth():
    assert taken_layers(12) == [2, 5, 8, 11]
    assert taken_layers(24) == [5, 11, 17, 23]
    assert taken_layers(2) == [0, 0, 1, 1]
    assert taken_layers(1) == [0, 0, 0, 0]


def test_a_record_is_read_off_timm():
    record = find_backbone("vit_base_patch16_dinov3")
    assert record == find_backbone("vit-b16-dinov3")
    assert (record.width, record.depths, record.heads, record.patch) == (768, (12,), (12,), 16)
    assert record.timm_name == "vit_base_patch16_dinov3.lvd1689m"
    published = timm.get_pretrained_cfg(record.timm_name)
    assert (record.image_mean, record.image_std) == (published.mean, published.std)
    assert record.image_size == 224  # the shards' frames; timm's own are 256 pixels wide
    config = preset_config("avs-swin-b", backbone="vit-b16-dinov3")
    assert config.backbone == record
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert config.adapter.ratio == (0.125,)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_every_record_is_timms_and_full_size_equals_timm(helpers, name):
    record = find_backbone(name)
    assert record.audio_shape[0] == FBANK_KINDS[record.fbank].target_frames
    published = timm.get_pretrained_cfg(record.timm_name)
    assert (record.image_mean, record.image_std) == (published.mean, published.std)
    config = preset_config("ave-clip-b16-base", backbone=name, frames=1)
    model = build_from_config(config, weights="random").eval()
    inputs = helpers.draw_inputs(config, 1)
    pooled, _ = timms_features(timms(config, model), inputs["video"].flatten(0, 1))
    assert torch.equal(model.encoder(inputs).pooled["video"].flatten(0, 1), pooled)


@pytest.mark.slow
@pytest.mark.parametrize("task", HEADS.names)
@pytest.mark.parametrize(
    "name",
    [
        "clip-b16",
        "swin-b",
        "swinv2-s",
        "vit-b16-siglip2",
        "vit-b14-dinov2-reg",
        "vit-b16-dinov3",
        "vit-b16-pe",
    ],
)
def test_one_training_step_of_every_task_on_seven_backbones(helpers, task, name):
    ratio = (0.25, 0.25, 0.125, 0.125) if name.startswith("swin") else 0.0625
    config = preset_config(f"{task}-demo", backbone=name, adapter_ratio=ratio, frames=2, checkpointing=True)
    model = build_from_config(config, weights="random").train()
    groups = model.parameter_groups()
    before = {n: p.clone() for group in groups.values() for n, p in group.items()}
    optimiser = torch.optim.Adam([p for group in groups.values() for p in group.values()], lr=1e-3)
    outputs = model(**helpers.draw_inputs(config, 1, negative=True))
    sum(x.float().square().mean() for x in outputs.values()).backward()
    optimiser.step()
    for names, group in (("adapter", groups["adapter"]), ("head", groups["head"])):
        assert any(not torch.equal(p, before[n]) for n, p in group.items()), names
        assert all(p.isfinite().all() for p in group.values()), names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "timm model of another kind; expected one of: swinv2, vit"),
        ("vit_dlittle_patch16_reg1_gap_256", "attention of the kind DiffAttention"),
        ("vit_small_r26_s32_224", "timm model of another kind"),
        ("vit_base_patch16_dinov4", "is not known; choose from|did you mean"),
    ],
)
def test_what_is_no_plain_transformer_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        find_backbone(name)


def test_sizes_that_timm_cannot_build_are_refused(helpers):
    with pytest.raises(InputError, match=r"timm_name: .* expected the name of a model in timm"):
        tiny(helpers, "vit_of_nobody_patch16")
    config = tiny(helpers, KINDS["rope-mixed"], width=20, heads=(2,))
    with pytest.raises(InputError, match=r"cannot be built with .*head_dim must be divisible by 4"):
        build_from_config(config)


def test_a_checkpoint_of_a_plain_transformer_is_loaded(helpers, tmp_path):
    model = helpers.teach(build_from_config(tiny(helpers, KINDS["eva02"], task="avs"))).eval()
    save_checkpoint(model, tmp_path)
    inputs = helpers.draw_inputs(model.config)
    assert torch.equal(load_model(tmp_path)(**inputs)["mask_logits"], model(**inputs)["mask_logits"])


def published_file(config, path, image_size):
    """Writes timm's weights of a model for frames of another size, as the hub has them, and returns it."""
    record = config.backbone
    classes = 7 if "eva" in record.timm_name else 0
    options = {**record.timm_options, "img_size": image_size, "num_classes": classes}
    theirs = timm.create_model(record.timm_name, **options)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.1)
    save_file(theirs.state_dict(), path)
    return theirs


@pytest.mark.parametrize("kind", ["dinov2", "siglip2", "eva02-clip"])
@pytest.mark.parametrize("source", ["name", "file"])
def test_published_weights_are_loaded_and_positions_resized(helpers, monkeypatch, tmp_path, kind, source):
    """By timm's name with timm's loader, which gets the file in place of a download; and from the file."""
    config, file = tiny(helpers, KINDS[kind]), tmp_path / "model.safetensors"
    theirs = published_file(config, file, 6 * config.backbone.patch)
    if source == "name":
        resolve = timm.models._builder.resolve_pretrained_cfg

        def resolve_to_file(*args, **options):
            found = resolve(*args, **options)
            found.file = str(file)
            return found

        monkeypatch.setattr("timm.models._builder.resolve_pretrained_cfg", resolve_to_file)
    model = build_from_config(config, weights="timm" if source == "name" else file)
    assert model.backbone_source["kind"] == ("timm" if source == "name" else "file")
    given = dict(theirs.named_parameters())
    prefix = 0 if theirs.no_embed_class else theirs.num_prefix_tokens
    given["pos_embed"] = resample_abs_pos_embed(theirs.pos_embed, [4, 4], [6, 6], prefix)
    for name, parameter in model.encoder.backbone.named_parameters():
        assert torch.equal(parameter, given[name]), name


def test_weights_that_cannot_be_had_are_said(helpers, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to the hub")

    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    with pytest.raises(StgcmaError, match=r"vit_base_patch14_dinov2.lvd142m is not to be had \(no route"):
        build_from_config(tiny(helpers, KINDS["dinov2"]), weights="timm")
