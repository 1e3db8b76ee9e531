"""Published backbones come from the Hub's cache where the Hub must not be asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from stgcma.errors import StgcmaError
from stgcma.model import build_model
from timm.models import save_for_hf

NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
COMMIT = "1" * 40


@pytest.fixture
def cached(clean_cache, monkeypatch):  # noqa: ARG001
    """`cached("timm/NAME")` is the folder of a repository's files in the cache; the Hub is not asked."""

    def make(repository: str) -> Path:
        folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(COMMIT)
        (folder / "snapshots" / COMMIT).mkdir(parents=True)
        return folder / "snapshots" / COMMIT

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return make


def small(**options):
    torch.manual_seed(7)
    return timm.create_model(NAME, depth=1, **options)


def test_weights_by_timms_name_come_from_the_cache(cached):
    source = small()
    folder = cached(f"timm/{NAME}")
    save_file(source.state_dict(), folder / "model.safetensors")
    model = build_model("ave-demo", "timm", backbone=NAME, depths=[1])
    assert model.backbone_source["kind"] == "timm"
    expected = dict(source.named_parameters())["blocks.0.attn.qkv.weight"]
    assert torch.equal(dict(model.encoder.backbone.named_parameters())["blocks.0.attn.qkv.weight"], expected)
    (folder / "model.safetensors").unlink()
    with pytest.raises(StgcmaError, match="is not to be had"):
        build_model("ave-demo", "timm", backbone=NAME, depths=[1])


def test_timms_names_of_repositories_work_from_the_cache(cached):
    source = small()
    save_for_hf(source, cached("eva/tiny"), model_args={"depth": 1}, safe_serialization=True)
    found = timm.create_model("hf_hub:eva/tiny", pretrained=True)
    for name, parameter in source.named_parameters():
        assert torch.equal(dict(found.named_parameters())[name], parameter), name
