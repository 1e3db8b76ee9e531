"""The import of release checkpoints: everything read off, everything accounted for."""

from __future__ import annotations

import json

import pytest
import torch
from stgcma.errors import InputError
from stgcma.model import ModelConfig, build_from_config, import_reference, load_model
from stgcma.model.reference_names import reference_names


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


PUBLISHED_AUDIO = (102, 128)
CASES = [
    ("clip_fields", {"frames": 7, "classes": 3, "adapter_ratio": 0.45, "depths": (3,)}),
    ("clip_fields", {"patch": 14, "image_size": 56, "width": 64, "heads": (1,)}),
    ("clip_fields", {"patch": 16, "modality": "video"}),
    ("clip_fields", {"patch": 16, "audio_shape": (160, 128), "modality": "audio"}),
    ("clip_fields", {"modality": "av-nofusion", "spatial": False}),
    ("swin_fields", {"frames": 4, "adapter_ratio": (0.5, 0.25, 0.2, 0.1), "depths": (2, 1, 4, 2)}),
    ("swin_fields", {"modality": "video", "global_": False}),
    ("swin_fields", {"modality": "audio"}),
    ("swin_fields", {"task": "avs", "modality": "av-nofusion"}),
    ("swin_fields", {"task": "avqa", "vocabulary": 17, "answers": 9, "spatial": False}),
]


@pytest.mark.parametrize(("family", "overrides"), CASES)
def test_configurations_are_read_off(helpers, tmp_path, family, overrides):
    if family == "swin_fields":  # the release's Swin sees 224 × 224
        overrides = {**overrides, "image_size": 224, "audio_shape": (224, 224), "patch": 14}
    else:
        overrides = {"audio_shape": PUBLISHED_AUDIO, **overrides}
    config = ModelConfig(**getattr(helpers, family)(**overrides))
    model = helpers.teach(build_from_config(config)).eval()
    torch.save({f"module.{n}": t for n, t in release_checkpoint(model).items()}, tmp_path / "file.pth")
    heads = config.heads[0] if family == "clip_fields" else None
    modality = config.modality if config.modality == "av-nofusion" else None
    imported = import_reference(tmp_path / "file.pth", tmp_path / "out", heads, modality)

    unseen = {"adapter_ratio"}  # a ratio that gives the same bottleneck is as good
    unseen |= {"ave": {"vocabulary", "answers"}, "avs": {"classes", "vocabulary", "answers"}}.get(
        config.task, {"classes"}
    )
    fields = imported.to_dict().items()
    assert {f: v for f, v in fields if f not in unseen} == {
        f: v for f, v in config.to_dict().items() if f not in unseen
    }
    inputs = helpers.draw_inputs(config, 1)
    expected, outputs = model(**inputs), load_model(tmp_path / "out")(**inputs)
    assert all(torch.equal(outputs[name], expected[name]) for name in expected)


@pytest.fixture
def clip(helpers):
    config = ModelConfig(**helpers.clip_fields(audio_shape=PUBLISHED_AUDIO))
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
    with pytest.raises(InputError, match="missing mlp_head"):
        run_import({"conv1.weight": torch.zeros(1)}, tmp_path)


def test_options_that_do_not_fit_are_refused(helpers, clip, tmp_path):
    with pytest.raises(InputError, match="heads: not given, and width 16 is no multiple of 64"):
        run_import(clip, tmp_path)
    with pytest.raises(InputError, match="modality: 'video', expected av or av-nofusion"):
        run_import(clip, tmp_path, heads=2, modality="video")
    odd = build_from_config(ModelConfig(**helpers.clip_fields(audio_shape=(64, 96))))
    with pytest.raises(InputError, match="audio_shape: not given"):
        run_import(release_checkpoint(odd), tmp_path, heads=2)
    imported = run_import(release_checkpoint(odd), tmp_path, heads=2, audio_shape=(64, 96))
    assert imported.audio_shape == (64, 96)
