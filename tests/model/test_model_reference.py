"""The import of release checkpoints: everything read off, everything accounted for."""

from __future__ import annotations

import json

import pytest
import torch
from stgcma.errors import InputError
from stgcma.model import ModelConfig, build_from_config, import_reference, load_model
from stgcma.model.reference.importing import reference_names


def release_checkpoint(model) -> dict[str, torch.Tensor]:
    """A model's tensors under the release's names and in its shapes."""
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    entries = {theirs: own[ours].detach().clone() for theirs, ours in reference_names(model.config).items()}
    for name, entry in entries.items():
        if name.startswith("patch_embed") and entry.ndim == 4:
            entries[name] = entry[:, :, None]  # its patches are cut by a convolution over one frame
        elif name == "class_embedding":
            entries[name] = entry.flatten()
        elif name.startswith("positional_embedding"):
            entries[name] = entry.flatten(0, 1)
        elif any(part in name for part in (".theta.weight", ".phi.weight", ".g.weight", ".W_z.0.weight")):
            entries[name] = entry[:, :, None, None, None]
    return entries


# One block of each family, as MODEL.md spells the release's names; a second opinion on reference_names.
CLIP_BLOCK = """
    attn.in_proj_weight attn.in_proj_bias attn.out_proj.weight attn.out_proj.bias
    ln_1.weight ln_1.bias ln_2.weight ln_2.bias
    mlp.c_fc.weight mlp.c_fc.bias mlp.c_proj.weight mlp.c_proj.bias gate_v gate_a
"""
SWIN_BLOCK = """
    norm1.weight norm1.bias attn.qkv.weight attn.qkv.bias attn.proj.weight attn.proj.bias
    attn.relative_position_bias_table norm2.weight norm2.bias mlp.fc1.weight mlp.fc1.bias mlp.fc2.weight
    mlp.fc2.bias gate_v gate_a
"""
SWIN_TABLES = ["attn.temporal_position_bias_table", "attn.temporal_position_bias_table_audio"]


def adapter_names(*adapters):
    leaves = ("D_fc1.weight", "D_fc1.bias", "D_fc2.weight", "D_fc2.bias")
    return {f"{adapter}{twin}.{leaf}" for adapter in adapters for twin in ("", "_Audio") for leaf in leaves}


def test_names_of_a_block_are_the_releases(helpers):
    clip = reference_names(ModelConfig.from_dict(helpers.clip_fields()))
    block = "transformer.resblocks.1."
    assert {n.removeprefix(block) for n in clip if n.startswith(block)} == (
        set(CLIP_BLOCK.split()) | adapter_names("T_Adapter", "S_Adapter", "MLP_Adapter")
    )
    swin = reference_names(ModelConfig.from_dict(helpers.swin_fields()))
    for index, temporal in ((0, {*SWIN_TABLES, *adapter_names("T_Adapter")}), (1, set())):
        block = f"layers.2.blocks.{index}."
        assert {n.removeprefix(block) for n in swin if n.startswith(block)} == (
            set(SWIN_BLOCK.split()) | adapter_names("S_Adapter2", "S_Adapter") | temporal
        )


@pytest.mark.parametrize(
    ("family", "theirs", "ours"),
    [
        ("clip_fields", "transformer.resblocks.1.T_Adapter.D_fc1.bias", "1.temporal.video.fc1.bias"),
        ("clip_fields", "transformer.resblocks.1.S_Adapter_Audio.D_fc2.bias", "1.spatial.audio.fc2.bias"),
        ("clip_fields", "transformer.resblocks.0.MLP_Adapter.D_fc1.weight", "0.global_.video.fc1.weight"),
        ("clip_fields", "transformer.resblocks.0.gate_a", "0.gates.audio"),
        ("swin_fields", "layers.3.blocks.0.T_Adapter_Audio.D_fc1.bias", "3.0.temporal.audio.fc1.bias"),
        ("swin_fields", "layers.3.blocks.1.S_Adapter2.D_fc1.bias", "3.1.spatial.video.fc1.bias"),
        ("swin_fields", "layers.3.blocks.1.S_Adapter.D_fc1.bias", "3.1.global_.video.fc1.bias"),
        ("swin_fields", "layers.1.blocks.0.gate_v", "1.0.gates.video"),
        ("swin_fields", f"layers.1.blocks.0.{SWIN_TABLES[0]}", "1.0.temporal_bias.video"),
        ("swin_fields", f"layers.1.blocks.0.{SWIN_TABLES[1]}", "1.0.temporal_bias.audio"),
    ],
)
def test_names_mean_what_the_release_means(helpers, family, theirs, ours):
    names = reference_names(ModelConfig.from_dict(getattr(helpers, family)()))
    assert names[theirs] == f"encoder.adapters.{ours}"


def unread_entries(config) -> dict[str, torch.Tensor]:
    """Return the tensors of a release checkpoint that its forward pass does not read."""
    clip = config.backbone.family == "clip"
    names = []
    blocks = [(s, i) for s, depth in enumerate(config.backbone.depths) for i in range(depth)]
    for stage, index in blocks:
        block = f"transformer.resblocks.{index}." if clip else f"layers.{stage}.blocks.{index}."
        if not config.fused or not (config.adapter.spatial or config.adapter.global_):
            names += [block + "gate_v", block + "gate_a"]
    missing = {"video", "audio"} - set(config.modalities)
    if "audio" in missing and clip:
        names += ["conv1_audio.weight"]
    elif "audio" in missing:
        names += [
            f"patch_embed_audio.{layer}.{leaf}" for layer in ("proj", "norm") for leaf in ("weight", "bias")
        ]
    if config.task == "avs":
        names += [f"avstask_path4.resConfUnit1.conv{i}.{leaf}" for i in (1, 2) for leaf in ("weight", "bias")]
    entries = {**dict.fromkeys(names, torch.zeros(1)), **unread_temporal(config)}
    if "audio" in missing and clip:
        patches = config.backbone.audio_grid[0] * config.backbone.audio_grid[1]
        entries["positional_embedding_audio"] = torch.zeros(1 + patches, config.backbone.width)
    return entries


def unread_temporal(config) -> dict[str, torch.Tensor]:
    """Temporal embeddings and tables of a modality that is not there, or of a step that is not."""
    unread = {"video", "audio"} - set(config.modalities if config.adapter.temporal else ())
    suffixes = {"video": "", "audio": "_audio"}
    entries = {}
    for modality in unread:
        if config.backbone.family == "clip":
            entries["temporal_embedding" + suffixes[modality]] = torch.zeros(
                1, config.frames, config.backbone.width
            )
            continue
        for stage, depth in enumerate(config.backbone.depths):
            for index in range(0, depth, 2):
                name = f"layers.{stage}.blocks.{index}.attn.temporal_position_bias_table{suffixes[modality]}"
                entries[name] = torch.zeros(2 * config.frames - 1, config.backbone.heads[stage])
    return entries


PUBLISHED_AUDIO = (102, 128)
NO_STEPS = {"temporal": False, "spatial": False, "global_": False}
CASES = [
    ("clip_fields", {"frames": 7, "classes": 3, "adapter_ratio": 0.45, "depths": (3,)}),
    ("clip_fields", {"patch": 14, "image_size": 56, "width": 64, "heads": (1,)}),
    ("clip_fields", {"patch": 16, "modality": "video"}),
    ("clip_fields", {"patch": 16, "audio_shape": (160, 128), "modality": "audio"}),
    ("clip_fields", {"modality": "av-nofusion", "spatial": False}),
    ("swin_fields", {"frames": 4, "adapter_ratio": (0.5, 0.25, 0.2, 0.1), "depths": (2, 1, 4, 2)}),
    ("swin_fields", {"modality": "video", "global_": False}),
    ("swin_fields", {"modality": "audio"}),
    ("swin_fields", {"task": "avs", "modality": "av-nofusion", "depths": (1, 1, 1, 1)}),
    ("swin_fields", {"task": "avqa", "vocabulary": 17, "answers": 9, "spatial": False}),
    ("clip_fields", {"temporal": False, "frames": 4}),
    ("clip_fields", {"temporal": False, "frames": 4, "modality": "audio"}),
    ("clip_fields", {"temporal": False, "frames": 4, "modality": "av-nofusion"}),
    ("clip_fields", {**NO_STEPS, "frames": 6}),
    ("clip_fields", {**NO_STEPS, "frames": 6, "modality": "audio"}),
    ("swin_fields", {"temporal": False, "frames": 4}),
    ("swin_fields", {"temporal": False, "frames": 4, "modality": "video"}),
    ("swin_fields", {**NO_STEPS, "frames": 6}),
    ("swin_fields", {**NO_STEPS, "frames": 6, "modality": "video"}),
]
# The same again, without the embeddings or tables that would tell the number of time steps.
CASES_WITHOUT_TABLES = [
    ("clip_fields", {"temporal": False, "frames": 10}),
    ("clip_fields", {**NO_STEPS, "frames": 10, "modality": "video"}),
    ("swin_fields", {"temporal": False, "frames": 10}),
    ("swin_fields", {**NO_STEPS, "frames": 5, "task": "avs"}),
    ("swin_fields", {**NO_STEPS, "frames": 10, "task": "avqa"}),
]


# The quick cases have each entry that a release checkpoint may lack or not read, and each task.
MORE_OF_THE_SAME = (6, 11, 12, 14, 16, 17, 20, 22)
ALL_CASES = [(*case, True) for case in CASES] + [(*case, False) for case in CASES_WITHOUT_TABLES]


@pytest.mark.parametrize(
    ("family", "overrides", "tables"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (number in MORE_OF_THE_SAME))
        for number, case in enumerate(ALL_CASES)
    ],
)
def test_configurations_are_read_off(helpers, tmp_path, family, overrides, tables):
    if family == "swin_fields":  # the release's Swin sees 224 × 224, and its AVS head has 256 channels
        overrides = {"depths": (2, 1, 1, 1), "mask_channels": 256, **overrides}
        overrides |= {"image_size": 224, "audio_shape": (224, 224), "patch": 14}
    else:
        overrides = {"audio_shape": PUBLISHED_AUDIO, **overrides}
    config = ModelConfig.from_dict(getattr(helpers, family)(**overrides))
    model = helpers.teach(build_from_config(config)).eval()
    unread = unread_entries(config)
    if not tables:
        unread = {name: entry for name, entry in unread.items() if name not in unread_temporal(config)}
    entries = {**release_checkpoint(model), **unread}
    torch.save({f"module.{n}": t for n, t in entries.items()}, tmp_path / "file.pth")
    heads = config.backbone.heads[0] if family == "clip_fields" else None
    told = config.modality == "av-nofusion" or not (
        config.adapter.temporal or config.adapter.spatial or config.adapter.global_
    )
    modality = config.modality if told else None
    imported = import_reference(tmp_path / "file.pth", tmp_path / "out", heads, modality)

    # A ratio that gives the same bottleneck is as good.
    assert imported.replace(adapter_ratio=config.adapter.ratio) == config
    inputs = helpers.draw_inputs(config, 1)
    expected, outputs = model(**inputs), load_model(tmp_path / "out")(**inputs)
    assert all(torch.equal(outputs[name], expected[name]) for name in expected)


@pytest.fixture
def clip(helpers):
    config = ModelConfig.from_dict(helpers.clip_fields(audio_shape=PUBLISHED_AUDIO))
    return release_checkpoint(helpers.teach(build_from_config(config)))


def run_import(entries, tmp_path, **options):
    torch.save(entries, tmp_path / "file.pth")
    return import_reference(tmp_path / "file.pth", tmp_path / "out", **options)


def test_what_the_release_never_reads_is_dropped(clip, tmp_path):
    computed = {
        "transformer.resblocks.0.attn_mask": torch.zeros(1),
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(1, dtype=torch.int64),
        "layers.0.blocks.0.attn.t_relative_coords": torch.zeros(1),
        "avstask_tpavi_b1.W_z.1.num_batches_tracked": torch.tensor(1),
    }
    plain = {n: t for n, t in clip.items() if "gate" not in n}
    assert run_import({**clip, **computed}, tmp_path, heads=2).modality == "av"
    assert run_import(clip, tmp_path, heads=2, modality="av-nofusion").modality == "av-nofusion"
    assert run_import(plain, tmp_path, heads=2).modality == "av-nofusion"
    source = json.loads((tmp_path / "out/model.json").read_text())["backbone"]
    assert source["kind"] == "imported"
    assert len(source["file_sha256"]) == len(source["sha256"]) == 64


def test_unknown_and_missing_entries_are_listed(clip, tmp_path):
    broken = {**clip, "surprise.weight": torch.zeros(1)}
    del broken["transformer.resblocks.1.mlp.c_fc.bias"], broken["transformer.resblocks.0.gate_a"]
    with pytest.raises(InputError, match=r"surprise\.weight") as caught:
        run_import(broken, tmp_path, heads=2)
    assert "missing transformer.resblocks.1.mlp.c_fc.bias" in str(caught.value)
    assert "missing transformer.resblocks.0.gate_a" in str(caught.value)
    assert not (tmp_path / "out").exists()
    misshapen = {**clip, "ln_pre.weight": torch.zeros(3)}
    with pytest.raises(InputError, match=r"ln_pre\.weight has shape \[3\], expected \[16\]"):
        run_import(misshapen, tmp_path, heads=2)
    with pytest.raises(InputError, match="missing the entries of a head for avc, ave, avqa, avs, avss, avvp"):
        run_import({"conv1.weight": torch.zeros(1)}, tmp_path)
    many = {f"surprise.{i}": torch.zeros(1) for i in range(150)}
    with pytest.raises(InputError, match=r"unknown surprise\.0; .*unknown surprise\.149$"):
        run_import({**clip, **many}, tmp_path, heads=2)
    wrong = {name: torch.zeros(3) for name in clip if name.endswith("D_fc1.bias")}
    with pytest.raises(InputError, match=r"D_fc1\.bias has shape") as caught:
        run_import({**clip, **wrong}, tmp_path, heads=2)
    assert len(wrong) == 12
    first, *_, last = (name for name in clip if name in wrong)
    for name in (first, last):  # a message of more than 500 characters loses its middle
        assert f"{name} has shape [3], expected [4]" in str(caught.value)
    more = {"ln_pre.weight": torch.zeros(3), "ln_pre.bias": torch.zeros(3)}
    with pytest.raises(InputError, match=r"ln_pre\.bias has shape") as caught:
        run_import({**clip, **wrong, **more}, tmp_path, heads=2)
    assert len(str(caught.value)) <= 500


def test_options_that_do_not_fit_are_refused(helpers, clip, tmp_path):
    with pytest.raises(InputError, match="heads: not given, and width 16 is no multiple of 64"):
        run_import(clip, tmp_path)
    with pytest.raises(InputError, match="modality: 'video', expected av or av-nofusion"):
        run_import(clip, tmp_path, heads=2, modality="video")
    bare = build_from_config(ModelConfig.from_dict(helpers.clip_fields(modality="video", **NO_STEPS)))
    with pytest.raises(
        InputError, match="modality: not given, and no adapter tells; expected video or audio"
    ):
        run_import(release_checkpoint(bare), tmp_path, heads=2)
    with pytest.raises(InputError, match="modality: 'av', expected video or audio for this checkpoint"):
        run_import(release_checkpoint(bare), tmp_path, heads=2, modality="av")
    odd = build_from_config(ModelConfig.from_dict(helpers.clip_fields(audio_shape=(64, 96))))
    with pytest.raises(
        InputError, match="6 patches of 32 are not 128 mel bins wide; from Python, give audio_shape="
    ):
        run_import(release_checkpoint(odd), tmp_path, heads=2)
    imported = run_import(release_checkpoint(odd), tmp_path, heads=2, audio_shape=(64, 96))
    assert imported.audio_shape == (64, 96)
