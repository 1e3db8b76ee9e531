"""Augmentation of tensors on the device: the same draws and operations as timm's on pictures."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stgcma.model import preset_config
from stgcma.train.augmentation import FrameAugmentation
from stgcma.train.device_augmentation import DeviceAugmentation
from stgcma.train.frame_operations import OPERATIONS, crop_and_resize
from stgcma.train.run import train
from stgcma.train.sections import DataConfig
from timm.data import auto_augment
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as pictures

from .conftest import item, load
from .outcomes import assert_same, outcome

FILL = (124, 116, 104)
# Arguments of timm's operations over their ranges; those without a line get SHARES.
ARGUMENTS = {
    "AutoContrast": [()],
    "Equalize": [()],
    "Invert": [()],
    "Posterize": [(1,), (4,), (8,)],
    "PosterizeIncreasing": [(2,)],
    "Rotate": [(-21.3,), (0.0,), (30.0,)],
    "ShearX": [(0.21,), (-0.3,)],
    "ShearY": [(0.21,), (-0.3,)],
    "Solarize": [(0,), (100,), (256,)],
    "SolarizeIncreasing": [(77,)],
    "SolarizeAdd": [(0,), (77,), (128,)],
    "TranslateXRel": [(0.2,), (-0.45,)],
    "TranslateYRel": [(0.333,), (-0.45,)],
}
SHARES = [(0.1,), (0.37,), (1.0,), (1.63,), (1.9,)]
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
CROP = "crop and resize"


def stated():
    """The table of performance.md: the mean and the largest difference to Pillow, by operation."""
    rows = re.findall(r"^\| ([\w, ]+) \| ([\d.]+) \| (\d) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: (float(mean), int(most)) for names, mean, most in rows for name in names.split(", ")}


STATED = stated()


def clip(seed=0, size=(72, 60)):
    """Two frames `[2, 3, H, W]` uint8 of smooth regions, saturated ones and noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, 5, 5, generator=generator) * 400 - 70
    frames = torch.nn.functional.interpolate(coarse, size, mode="bicubic")
    return (frames + torch.randn(2, 3, *size, generator=generator) * 6).clamp(0, 255).to(torch.uint8)


def as_pictures(frames):
    return [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in frames]


def as_frames(images):
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


def difference(found, wanted):
    return (found.int() - wanted.int()).abs().float()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_is_pillows(name):
    operation = auto_augment.NAME_TO_OP[name]
    options = {"fillcolor": FILL, "resample": Image.Resampling.BICUBIC}
    for arguments in ARGUMENTS.get(name, SHARES):
        for frames in (clip(), torch.full((1, 3, 9, 9), 77, dtype=torch.uint8)):
            wanted = as_frames([operation(image, *arguments, **options) for image in as_pictures(frames)])
            apart = difference(OPERATIONS[name](frames, FILL, *arguments), wanted)
            mean, most = STATED[name.removesuffix("Increasing")]
            assert apart.mean() <= mean, arguments
            assert apart.max() <= most, arguments


@pytest.mark.parametrize("crop", [(0, 0, 72, 60), (3, 5, 40, 25), (10, 0, 9, 60)])
def test_a_crop_is_resized_as_pillow_does(crop):
    frames = clip()
    wanted = as_frames(
        [
            pictures.resized_crop(image, *crop, (32, 32), InterpolationMode.BICUBIC)
            for image in as_pictures(frames)
        ]
    )
    apart = difference(crop_and_resize(frames, crop, 32), wanted)
    mean, most = STATED[CROP]
    assert apart.mean() <= mean
    assert apart.max() <= most


def test_every_operation_that_timm_may_draw_is_there():
    drawn = {*auto_augment._RAND_TRANSFORMS, *auto_augment._RAND_INCREASING_TRANSFORMS}
    assert drawn == set(OPERATIONS)
    assert {name.removesuffix("Increasing") for name in drawn} == STATED.keys() - {CROP}
    assert set(ARGUMENTS) <= drawn


def test_means_that_are_stated_are_within_the_goal():
    """A level of 255, and two of those that rotate."""
    assert {name for name, (mean, _) in STATED.items() if mean > (2 if name == "Rotate" else 1)} == set()


@pytest.mark.parametrize("policy", ["rand-m7-n4-mstd0.5-inc1", "rand-m10-n6-inc1-p0.9"])
def test_a_draw_is_what_the_loader_applies(policy):
    backbone = preset_config("ave-demo", image_size=32).backbone
    data = DataConfig(rand_augment=policy, erasing=0.5)
    loader, device = FrameAugmentation(data, backbone), DeviceAugmentation(backbone)
    frames = clip()
    deviation = 255 * torch.tensor(backbone.image_std).view(3, 1, 1)
    apart, seen = [], set()
    for seed in range(40):
        wanted = loader(as_pictures(frames), seed)
        draw = loader.draw(*frames.shape[-2:], seed)
        (found,) = device(frames[None], [draw])
        assert found.shape == wanted.shape
        apart.append(float(((found - wanted) * deviation).abs().mean()))
        seen |= {name for name, _ in draw.operations} | {f"flip {draw.flip}", f"erased {len(draw.erased)}"}
    assert len(seen) == 15 + 4
    assert np.median(apart) < 0.3
    assert max(apart) < 8, "operations after a crop may stretch its roundings"


def test_posterize_may_leave_no_bits():
    """As timm draws them at the highest magnitude; Pillow refuses 0 bits."""
    backbone = preset_config("ave-demo", image_size=32).backbone
    augment = FrameAugmentation(DataConfig(rand_augment="rand-m10-n8-inc1-p1.0", erasing=0), backbone)
    frames = clip(size=(16, 16))
    seeds = [s for s in range(20) if ("PosterizeIncreasing", (0,)) in augment.draw(16, 16, s).operations]
    assert seeds
    for seed in seeds:
        assert augment(as_pictures(frames), seed).shape == (2, 3, 32, 32)


def test_the_loader_sends_pixels_and_their_draws(dataset, ave_shards):
    settings = {"seed": 5, "augment": True, "erasing": 1.0, "mixup": 0.5}
    (here, *_), (there, *_) = (
        load(dataset(ave_shards, augment_on=where, **settings)) for where in ("loader", "device")
    )
    assert torch.equal(here.inputs["audio"], there.inputs["audio"])
    assert (here.draws, there.inputs["video"].dtype) == ((), torch.uint8)
    assert len(there.draws) == len(there.keys)
    noise = [values for draw in there.draws for _, _, values in draw.erased]
    assert len(noise) == len(there.keys)
    assert all(any(one is other for other in there.tensors) for one in noise)
    for values in (draw.erased[0][2] for draw in there.to(torch.device("meta")).draws):
        assert values.is_meta


def test_nothing_is_drawn_from_the_global_generators(dataset, ave_shards):
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    _ = dataset(ave_shards, seed=5, augment=True, augment_on="device")[item(0)]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_a_run_is_the_same_with_loader_processes(few, small_config, tmp_path):
    settings = ("data.augment=true", "data.augment_on=device", "optim.epochs=1", "optim.batch_size=4")
    for name, more in (("one", ()), ("two", ("data.workers=2",))):
        train(few, tmp_path / name, small_config("ave", *settings, *more))
    assert_same(outcome(tmp_path / "one"), outcome(tmp_path / "two"))


def test_operations_do_not_change_their_frames():
    frames = clip()
    kept = frames.clone()
    for name, operation in OPERATIONS.items():
        (arguments, *_) = ARGUMENTS.get(name, SHARES)
        operation(frames, FILL, *arguments)
        assert torch.equal(frames, kept), name
