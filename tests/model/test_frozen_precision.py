"""Frozen weights that are cast once, in place of a cast in every pass."""

import copy

import pytest
import torch
from stgcma.model import ModelConfig, build_from_config
from stgcma.model.frozen_precision import cast_frozen
from torch.utils._python_dispatch import TorchDispatchMode

FAMILIES = {"clip_fields": (2,), "swin_fields": (1, 1, 2, 1), "vit_fields": (2,)}
CASES = [
    ("clip_fields", "stg-cma"),
    ("swin_fields", "stg-cma"),
    ("vit_fields", "lora"),
    ("clip_fields", "cola"),
    ("clip_fields", "side"),
    *(
        pytest.param(family, method, marks=pytest.mark.slow)
        for family in FAMILIES
        for method in ("stg-cma", "layernorm", "lora", "cola", "lavish", "side", "none")
    ),
]


class Casts(TorchDispatchMode):
    """Lists casts of the tensors `watched`, and sums the bytes of the casts that are kept for a gradient."""

    def __init__(self, watched):
        super().__init__()
        self.names = {tensor.data_ptr(): name for name, tensor in watched.items()}
        self.found, self.copies, self.kept = [], {}, {}

    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and args[0].data_ptr() in self.names:
            self.found.append(self.names[args[0].data_ptr()])
            self.copies[result.untyped_storage().data_ptr()] = result  # held, so that no other has its place
        return result

    def note_saved(self, tensor):
        place = tensor.untyped_storage().data_ptr()
        if place in self.copies:
            self.kept[place] = tensor.untyped_storage().nbytes()
        return tensor


def step(model, inputs, dtype):
    """Outputs, gradients by name, the frozen weights that were cast, and the bytes of kept casts."""
    torch.manual_seed(3)
    with Casts(model.frozen_tensors()) as casts:
        saved = torch.autograd.graph.saved_tensors_hooks(casts.note_saved, lambda tensor: tensor)
        with torch.autocast("cpu", dtype=dtype), saved:
            outputs = model(**inputs)
        sum(output.float().square().mean() for output in outputs.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return outputs, gradients, casts.found, sum(casts.kept.values())


@pytest.mark.parametrize(("family", "method"), CASES)
def test_a_step_is_the_same_and_casts_no_frozen_weight(helpers, family, method):
    fields = getattr(helpers, family)(
        adapter=method, depths=FAMILIES[family], rank=2, reduction=4, side_tokens=3
    )
    torch.manual_seed(0)
    model = build_from_config(ModelConfig.from_dict(fields)).train()
    with torch.no_grad():
        for parameters in model.parameter_groups().values():
            for parameter in parameters.values():  # zeros would hide a part of the gradient
                parameter.add_(0.02 * torch.randn_like(parameter))
    inputs = helpers.draw_inputs(model.config)
    other = copy.deepcopy(model)
    cast_frozen(other, torch.bfloat16, keep=False)
    outputs, gradients, casts, kept = step(model, inputs, torch.bfloat16)
    assert casts
    assert kept > 0 or method in ("side", "none")
    same, same_gradients, casts, kept = step(other, inputs, torch.bfloat16)
    assert (casts, kept) == ([], 0)
    assert outputs.keys() == same.keys()
    assert all(torch.equal(outputs[name], same[name]) for name in outputs)
    assert gradients.keys() == same_gradients.keys()
    assert gradients
    different = [n for n in gradients if not torch.equal(gradients[n], same_gradients[n])]
    assert different == []
