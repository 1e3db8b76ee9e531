"""Every task, backbone family and adapter is exported to every format, and agrees with the model."""

from functools import partial

import pytest
from stgcma.export import FORMATS, service
from stgcma.export.program import DeployedModel
from stgcma.model import ModelConfig, build_from_config
from stgcma.model.adapters import ADAPTERS
from stgcma.model.backbones import FAMILIES
from stgcma.model.heads import HEADS
from stgcma.shards.schema import DatasetInfo
from stgcma.train.inputs import Normalisation

from ..model.conftest import clip_fields, swin_fields, swinv2_fields, teach, vit_fields

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
# One block, or one a stage: tracing takes a second a block. The first stage of Swin has a shifted block too.
BACKBONES = {
    "clip": partial(clip_fields, depths=(1,)),
    "swin": partial(swin_fields, depths=(2, 1, 1, 1)),
    "swinv2": partial(swinv2_fields, depths=(2, 1, 1, 1)),
    "vit": partial(vit_fields, depths=(1,)),
    "vit-eva": partial(vit_fields, depths=(1,), timm_name="eva02_base_patch14_224"),
}
# Options of heads; a field that a task does not have is left out.
OF_TASKS = {"avs": {"mask_channels": 8}, "avss": {"mask_channels": 8}}
OF_ADAPTERS = {"stg-cma": {"adapter_ratio": 0.25}, "lavish": {"groups": 1}}
MODALITIES = ("av-nofusion", "video", "audio")


def model_of(task, backbone, adapter="stg-cma", **options):
    fields = {**BACKBONES[backbone](task=task), **OF_TASKS.get(task, {}), "adapter": adapter, **options}
    del fields["adapter_ratio"]
    fields |= OF_ADAPTERS.get(adapter, {})
    known = HEADS[task].config.__dataclass_fields__
    of_heads = {"classes", "vocabulary", "answers", "mask_channels"}
    config = ModelConfig.from_dict({n: v for n, v in fields.items() if n not in of_heads or n in known})
    return teach(build_from_config(config)).eval()


def check(model, tmp_path):
    """Export to every format; disagreement or a fixed number of clips is an error."""
    features = {"sampling": {}, "fbanks": {}}
    info = DatasetInfo(model.config.task, model.config.task, features, (), {}, {}, {}, "")
    prepared = service.prepare(DeployedModel(model, Normalisation(-5.0, 4.0)).eval(), info)
    for ending, format_ in FORMATS.items():
        done = service.write_checked(prepared, format_, tmp_path / f"model.{ending}")
        assert done.largest_difference <= service.TOLERANCE
        assert done.description.outputs.keys() == model.config.head.outputs().keys()
        assert all(tensor.meaning for tensor in done.description.inputs.values())


def test_every_family_has_a_backbone_here():
    assert {name.split("-")[0] for name in BACKBONES} == set(FAMILIES)


@pytest.mark.parametrize("backbone", list(BACKBONES))
@pytest.mark.parametrize("task", list(HEADS))
def test_every_task_on_every_backbone(task, backbone, tmp_path):
    check(model_of(task, backbone), tmp_path)


@pytest.mark.parametrize(("backbone", "task"), [("vit", "avs"), ("swin", "ave")])  # one large head is enough
@pytest.mark.parametrize("adapter", [name for name in ADAPTERS if name != "stg-cma"])
def test_every_adapter(adapter, backbone, task, tmp_path):
    check(model_of(task, backbone, adapter), tmp_path)


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_modality(modality, tmp_path):
    check(model_of("ave", "clip", modality=modality), tmp_path)
