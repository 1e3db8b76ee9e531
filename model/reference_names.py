"""The names of the authors' release, and ours. Both sides are listed in full for a configuration, so that an
imported checkpoint can be accounted for entry by entry.
"""

from __future__ import annotations

from collections.abc import Sequence

from .config import ModelConfig

_MODALITY_SUFFIX = {"video": "", "audio": "_Audio"}
_TABLE_SUFFIX = {"video": "", "audio": "_audio"}
_CLIP_STEPS = {"temporal": "T_Adapter", "spatial": "S_Adapter", "global_": "MLP_Adapter"}
# In the release's Swin, S_Adapter is the global step.
_SWIN_STEPS = {"temporal": "T_Adapter", "spatial": "S_Adapter2", "global_": "S_Adapter"}
_CLIP_BLOCK = {
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj.weight": "attn.proj.weight",
    "attn.out_proj.bias": "attn.proj.bias",
    "ln_1.weight": "norm1.weight",
    "ln_1.bias": "norm1.bias",
    "ln_2.weight": "norm2.weight",
    "ln_2.bias": "norm2.bias",
    "mlp.c_fc.weight": "mlp.fc1.weight",
    "mlp.c_fc.bias": "mlp.fc1.bias",
    "mlp.c_proj.weight": "mlp.fc2.weight",
    "mlp.c_proj.bias": "mlp.fc2.bias",
}
_SWIN_ENDS = ("patch_embed.proj", "patch_embed.norm", "norm")
_SWIN_LAYERS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_BIAS_TABLE = "attn.relative_position_bias_table"
_TPAVI = {
    "align_channel": "align_audio",
    "theta": "theta",
    "phi": "phi",
    "g": "g",
    "W_z.0": "out",
    "W_z.1": "batch_norm",
    "norm_layer": "norm",
}
_AVQA = {
    "yb_fc_v": "video",
    "yb_fc_a": "audio",
    "fc_a1": "sound.0",
    "fc_a2": "sound.2",
    "fc_gl": "ground",
    "fc1": "match.0",
    "fc2": "match.2",
    "fc3": "match.4",
    "fc4": "match.6",
    "question_encoder.fc": "question.project",
    "attn_v.out_proj": "attend_video.attention.out_proj",
    "attn_a.out_proj": "attend_audio.attention.out_proj",
    "linear11": "attend_video.linear1",
    "linear12": "attend_video.linear2",
    "norm1": "attend_video.norm",
    "linear21": "attend_audio.linear1",
    "linear22": "attend_audio.linear2",
    "norm2": "attend_audio.norm",
    "fc_fusion": "fusion",
    "fc_ans": "answer",
}
_CLIP_TRUNK = {
    "class_embedding": "cls_token",
    "conv1.weight": "patch_embed.proj.weight",
    "positional_embedding": "pos_embed",
    "ln_pre.weight": "norm_pre.weight",
    "ln_pre.bias": "norm_pre.bias",
    "ln_post.weight": "norm.weight",
    "ln_post.bias": "norm.bias",
}


def clip_trunk_names(depth: int) -> dict[str, str]:
    """OpenAI's names of CLIP's image tower → timm's."""
    names = dict(_CLIP_TRUNK)
    for i in range(depth):
        for theirs, ours in _CLIP_BLOCK.items():
            names[f"transformer.resblocks.{i}.{theirs}"] = f"blocks.{i}.{ours}"
    return names


def swin_trunk_names(depths: Sequence[int]) -> dict[str, str]:
    """Microsoft's names of Swin's trunk → timm's: there a downsampling closes a stage, here it opens one."""
    layers = [f"{layer}.{leaf}" for layer in _SWIN_LAYERS for leaf in ("weight", "bias")]
    names = {f"{layer}.{leaf}": f"{layer}.{leaf}" for layer in _SWIN_ENDS for leaf in ("weight", "bias")}
    for stage, depth in enumerate(depths):
        for i in range(depth):
            block = f"layers.{stage}.blocks.{i}."
            names.update({block + layer: block + layer for layer in layers})
            names[block + _BIAS_TABLE] = block + _BIAS_TABLE
        if stage + 1 < len(depths):
            for entry in ("norm.weight", "norm.bias", "reduction.weight"):
                names[f"layers.{stage}.downsample.{entry}"] = f"layers.{stage + 1}.downsample.{entry}"
    return names


def reference_names(config: ModelConfig) -> dict[str, str]:
    """The release's names → ours, for every entry that our model of this configuration has."""
    names = _clip_names(config) if config.backbone == "clip" else _swin_names(config)
    heads = {"ave": _ave_names, "avs": _avs_names, "avqa": _avqa_names}
    names.update(heads[config.task](config))
    return names


def _clip_names(config: ModelConfig) -> dict[str, str]:
    names = {n: f"encoder.backbone.{ours}" for n, ours in clip_trunk_names(config.depths[0]).items()}
    if "audio" in config.modalities:
        names["conv1_audio.weight"] = "encoder.audio_stem.weight"
        names["positional_embedding_audio"] = "encoder.audio_positions"
    for modality in config.modalities if config.temporal else ():
        names[f"temporal_embedding{_TABLE_SUFFIX[modality]}"] = f"encoder.temporal_embedding.{modality}"
    for i in range(config.depths[0]):
        names.update(
            _block_names(config, f"transformer.resblocks.{i}.", f"encoder.adapters.{i}.", _CLIP_STEPS)
        )
    return names


def _swin_names(config: ModelConfig) -> dict[str, str]:
    names = {n: f"encoder.backbone.{ours}" for n, ours in swin_trunk_names(config.depths).items()}
    if "audio" in config.modalities:
        for leaf in ("weight", "bias"):
            names[f"patch_embed_audio.proj.{leaf}"] = f"encoder.audio_stem.{leaf}"
            names[f"patch_embed_audio.norm.{leaf}"] = f"encoder.audio_norm.{leaf}"
    for stage, depth in enumerate(config.depths):
        for i in range(depth):
            theirs, ours = f"layers.{stage}.blocks.{i}.", f"encoder.adapters.{stage}.{i}."
            steps = dict(_SWIN_STEPS)
            if i % 2:
                del steps["temporal"]
            elif config.temporal:
                for modality in config.modalities:
                    table = f"attn.temporal_position_bias_table{_TABLE_SUFFIX[modality]}"
                    names[theirs + table] = f"{ours}temporal_bias.{modality}"
            names.update(_block_names(config, theirs, ours, steps))
    return names


def _block_names(config: ModelConfig, theirs: str, ours: str, steps: dict[str, str]) -> dict[str, str]:
    names = {}
    for modality in config.modalities:
        for step, adapter in steps.items():
            if not getattr(config, step):
                continue
            for layer in ("fc1", "fc2"):
                for leaf in ("weight", "bias"):
                    source = f"{theirs}{adapter}{_MODALITY_SUFFIX[modality]}.D_{layer}.{leaf}"
                    names[source] = f"{ours}{step}.{modality}.{layer}.{leaf}"
    if config.fused and (config.spatial or config.global_):
        names[f"{theirs}gate_v"] = f"{ours}gates.video"
        names[f"{theirs}gate_a"] = f"{ours}gates.audio"
    return names


def _ave_names(config: ModelConfig) -> dict[str, str]:
    layers = (0, 1) if len(config.modalities) == 1 else (0, 2)
    return {f"mlp_head.{i}.{leaf}": f"head.layers.{i}.{leaf}" for i in layers for leaf in ("weight", "bias")}


def _layers(pairs: dict[str, str]) -> dict[str, str]:
    return {
        f"{theirs}.{leaf}": f"head.{ours}.{leaf}"
        for theirs, ours in pairs.items()
        for leaf in ("weight", "bias")
    }


def _avs_names(_config: ModelConfig) -> dict[str, str]:
    pairs = {
        "avstask_audio_linear": "audio",
        "avstask_output_conv.0": "to_half",
        "avstask_output_conv.2": "to_eighth",
        "avstask_output_conv.4": "to_mask",
    }
    buffers = {}
    for stage in range(4):
        n = stage + 1
        pairs[f"avstask_x{n}_linear"] = f"reduce.{stage}"
        for i in range(4):
            pairs[f"avstask_conv{n}.conv2d_list.{i}"] = f"context.{stage}.convolutions.{i}"
        for theirs, ours in _TPAVI.items():
            pairs[f"avstask_tpavi_b{n}.{theirs}"] = f"tpavi.{stage}.{ours}"
        for conv in ("conv1", "conv2"):
            pairs[f"avstask_path{n}.resConfUnit2.{conv}"] = f"fuse.{stage}.unit.{conv}"
            if stage < 3:
                pairs[f"avstask_path{n}.resConfUnit1.{conv}"] = f"fuse.{stage}.skip_unit.{conv}"
        for leaf in ("running_mean", "running_var"):
            buffers[f"avstask_tpavi_b{n}.W_z.1.{leaf}"] = f"head.tpavi.{stage}.batch_norm.{leaf}"
    return {**_layers(pairs), **buffers}


def _avqa_names(_config: ModelConfig) -> dict[str, str]:
    names = _layers({f"avqatask_{theirs}": ours for theirs, ours in _AVQA.items()})
    names["avqatask_question_encoder.word2vec.weight"] = "head.question.embedding.weight"
    for leaf in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        names[f"avqatask_question_encoder.lstm.{leaf}"] = f"head.question.lstm.{leaf}"
    for theirs, ours in (("attn_v", "attend_video"), ("attn_a", "attend_audio")):
        for leaf in ("in_proj_weight", "in_proj_bias"):
            names[f"avqatask_{theirs}.{leaf}"] = f"head.{ours}.attention.{leaf}"
    return names
