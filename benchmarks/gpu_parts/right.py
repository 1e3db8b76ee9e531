"""Part `right`: the parity numbers on the device, lower precision beside them, and timm's own features."""

from __future__ import annotations

import math
import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from gpu_parts.common import Report, Setting
from stgcma.model import STGCMA, build_model, import_reference, load_model
from stgcma.model.reference.importing import reference_names
from stgcma.train.objective import set_tf32
from training_step import make_inputs

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "model" / "parity"))
import parity_numbers

FILES = (
    "ave_clip_fusion", "ave_clip_audio_only", "ave_swin_fusion", "ave_swin_video_only", "avs_swin_fusion",
    "avqa_swin_fusion",
)  # fmt: skip
TINY_FILES = FILES[:2]
# Largest relative difference (L2) of an output from the parity numbers. fp32: another order of summation.
# bf16 and fp16 keep 8 and 11 significant bits; on a CPU: 0.006 to 0.022, and 0.0007 to 0.0011 (CLIP, AVE).
OUTPUT_TOLERANCES = {"fp32": 1e-4, "bf16": 4e-2, "fp16": 6e-3}
# Of a single gradient norm in fp32; AVS: the signs of a few ReLU inputs near zero hang on rounding.
GRADIENT_TOLERANCES = {"avs_swin_fusion": 5e-2}
GRADIENT_TOLERANCE = 2e-3
# An untrained model against timm's features, fp32, relative; on a CPU the difference is at most 4e-7. A GPU
# takes other kernels for other batches; TF32 would differ by 1e-3.
TIMM_TOLERANCE = 5e-5
TIMM_PRESETS = ("ave-clip-b16-base", "ave-clip-l14-base", "ave-swin-b-base", "ave-swin-l-base")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def run(setting: Setting, report: Report) -> None:
    """Adds a row for each parity file and precision, then for each backbone beside timm's."""
    set_tf32(allowed=False)
    for name in TINY_FILES if setting.tiny else FILES:
        parity = parity_numbers.load_parity(name)
        model = cache(partial(_imported, parity, setting.device))  # at its first use, in a row of its own
        report.attempt(
            f"{name}, fp32 with gradients", lambda n=name, p=parity, model=model: _fp32(n, p, model())
        )
        for precision in DTYPES:
            report.attempt(
                f"{name}, {precision}", lambda d=precision, p=parity, model=model: _lower(p, model(), d)
            )
    # Large backbones are drawn on the CPU, which takes long: they come last.
    for preset in ("ave-demo", "avs-demo") if setting.tiny else TIMM_PRESETS:
        report.attempt(f"untrained {preset} against timm", lambda preset=preset: _timm(setting, preset))


def _imported(parity: Any, device: str) -> STGCMA:
    """The model of a parity file, through a published checkpoint, on the device."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "published.pth"
        torch.save({f"module.{entry}": tensor for entry, tensor in parity.state_dict().items()}, file)
        heads = parity.config["heads"] if parity.config["backbone"] == "clip" else None
        import_reference(file, Path(scratch) / "imported", heads=heads, modality=parity.modality)
        model = load_model(Path(scratch) / "imported").to(device)
    for module in model.modules():
        if isinstance(module, torch.nn.LSTM):
            module.train()  # cuDNN's has no gradient in evaluation mode; one layer computes the same in both
    return model


def _inputs(parity: Any, model: STGCMA) -> dict[str, torch.Tensor]:
    device = next(model.parameters()).device
    return {key: tensor.to(device) for key, tensor in parity.inputs.items()}


def _fp32(name: str, parity: Any, model: STGCMA) -> dict[str, Any]:
    outputs = model(**_inputs(parity, model))
    loss = torch.zeros((), device=next(model.parameters()).device)
    for key, expected in parity.outputs.items():
        probe = parity_numbers.draw("probe." + key, expected["shape"]).to(loss.device)
        loss = loss + (outputs[key].reshape(expected["shape"]) * probe).sum()
    loss.backward()
    theirs_of = {ours: theirs for theirs, ours in reference_names(model.config).items()}
    worst, where = 0.0, ""
    for group in model.parameter_groups().values():
        for ours, parameter in group.items():
            expected = parity.grad_norm[theirs_of[ours]]
            found = math.nan if parameter.grad is None else parameter.grad.norm().item()
            off = abs(found - expected) / max(abs(expected), 1e-12)
            if not off <= worst:
                worst, where = off, ours
    output = _difference(parity, outputs)
    allowed = GRADIENT_TOLERANCES.get(name, GRADIENT_TOLERANCE)
    return {
        "ok": output <= OUTPUT_TOLERANCES["fp32"] and worst <= allowed,
        "output_difference": output,
        "output_tolerance": OUTPUT_TOLERANCES["fp32"],
        "gradient_norm_difference": worst,
        "gradient_norm_tolerance": allowed,
        "worst_gradient": where,
    }


def _lower(parity: Any, model: STGCMA, precision: str) -> dict[str, Any]:
    inputs = _inputs(parity, model)
    with torch.inference_mode(), torch.autocast(next(model.parameters()).device.type, DTYPES[precision]):
        outputs = model(**inputs)
    output = _difference(parity, outputs)
    allowed = OUTPUT_TOLERANCES[precision]
    return {"ok": output <= allowed, "output_difference": output, "output_tolerance": allowed}


def _difference(parity: Any, outputs: dict[str, torch.Tensor]) -> float:
    """The largest relative L2 difference of an output's stored values."""
    worst = 0.0
    for key, expected in parity.outputs.items():
        sample = outputs[key].detach().float().cpu().reshape(-1)[:: expected["stride"]]
        off = float((sample - parity.samples[key]).norm() / parity.samples[key].norm())
        if not off <= worst:  # NaN is the worst
            worst = off
    return worst


def _timm(setting: Setting, preset: str) -> dict[str, Any]:
    model = build_model(preset, "random", frames=2, **setting.overrides(preset)).to(setting.device).eval()
    inputs = make_inputs(model.config, 1, setting.device)
    inputs = {name: inputs[name] for name in model.config.modalities}
    with torch.inference_mode():
        ours = model.encoder(inputs).pooled["video"].flatten(0, 1)
        features = model.encoder.backbone.forward_features(inputs["video"].flatten(0, 1))
        theirs = features[:, 0] if features.dim() == 3 else features.flatten(1, 2).mean(1)
    off = float((ours - theirs).norm() / theirs.norm())
    return {"ok": off <= TIMM_TOLERANCE, "difference": off, "tolerance": TIMM_TOLERANCE}
