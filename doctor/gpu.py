"""Check that torch can use the GPUs, or find the reason why it cannot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.reasons import ClipError
from .findings import Finding, Level

TIMEOUT_SECONDS = 180.0
_MEMORY_BYTES = 1 << 40  # CUDA reserves addresses for all of the GPU's memory
_NVIDIA = "0x10de"  # PCI vendor
_DISPLAY = "0x03"  # PCI class: display controllers, which data centre cards are too
_CPU_TRAINING = "training runs on the CPU"


@dataclass(frozen=True)
class Device:
    """A GPU as torch reports it. `failure` is the error of a small multiplication on it, or None."""

    name: str
    free_bytes: int
    total_bytes: int
    capability: str
    bf16: bool
    failure: str | None


@dataclass(frozen=True)
class Torch:
    """The report of torch: its CUDA (or ROCm) version, the GPUs, and the first warning."""

    platform: str | None
    devices: tuple[Device, ...]
    complaint: str | None


def ask_torch(_: object = None) -> Torch:
    """Start CUDA and query the GPUs. Run it in a separate process: drivers can hang, and keep memory."""
    import warnings

    import torch

    platform = f"CUDA {torch.version.cuda}" if torch.version.cuda else None
    if getattr(torch.version, "hip", None):
        platform = f"ROCm {torch.version.hip}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    complaint = " ".join(str(caught[0].message).split()) if caught else None
    return Torch(platform, tuple(_ask_device(index) for index in range(count)), complaint)


def _ask_device(index: int) -> Device:
    import torch

    properties = torch.cuda.get_device_properties(index)
    failure = None
    free = 0
    bf16 = False
    try:
        free = torch.cuda.mem_get_info(index)[0]
        with torch.cuda.device(index):
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        ones = torch.ones(8, 8, device=f"cuda:{index}")
        if not bool((ones @ ones == 8).all()):
            failure = "a product of ones is wrong"
    except RuntimeError as error:
        failure = str(error).splitlines()[0]
    capability = f"{properties.major}.{properties.minor}"
    return Device(properties.name, free, properties.total_memory, capability, bf16, failure)


def check_gpu(
    ask_torch: Callable[[object], Torch] = ask_torch,
    *,
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Iterator[Finding]:
    """Yield a finding for every GPU, or one with the reason why torch finds none."""
    driver = _driver(root)
    with IsolatedPool(1, timeout_seconds=timeout_seconds, memory_bytes=_MEMORY_BYTES, tries=1) as pool:
        ((_, answer),) = pool.map(ask_torch, [None])
    if isinstance(answer, ClipError):
        remedy = "repair torch and the driver, or hide the GPUs: CUDA_VISIBLE_DEVICES="
        yield Finding("GPU", Level.PROBLEM, f"torch fails to query the GPUs ({answer.message})", remedy)
    elif answer.devices:
        for index, device in enumerate(answer.devices):
            yield _device(index, device, answer.platform, driver)
    else:
        yield _none(answer, driver, _has_card(root), environment.get("CUDA_VISIBLE_DEVICES"))


def _device(index: int, device: Device, platform: str | None, driver: str | None) -> Finding:
    text = (
        f"{device.name}, {device.free_bytes / 2**30:.1f} of {device.total_bytes / 2**30:.1f} GiB free, "
        f"capability {device.capability}, bf16 {'yes' if device.bf16 else 'no'}, "
        f"driver {driver or 'unknown'}, torch for {platform}"
    )
    if device.failure is None:
        return Finding(f"GPU {index}", Level.OK, text)
    remedy = f"install a torch built for capability {device.capability}, or hide it: CUDA_VISIBLE_DEVICES="
    return Finding(f"GPU {index}", Level.PROBLEM, f"{text}; fails ({device.failure})", remedy)


def _none(answer: Torch, driver: str | None, card: bool, visible: str | None) -> Finding:
    if not card and driver is None:
        return Finding("GPU", Level.NOTE, f"no GPU, or no driver for one; {_CPU_TRAINING}")
    if visible is not None and visible.strip() in ("", "-1"):
        text = f"hidden by CUDA_VISIBLE_DEVICES={visible!r}; {_CPU_TRAINING}"
        return Finding("GPU", Level.WARNING, text, "unset CUDA_VISIBLE_DEVICES")
    if driver is None:
        text = f"there is an NVIDIA card, but its driver is not loaded; {_CPU_TRAINING}"
        return Finding("GPU", Level.WARNING, text, "install the NVIDIA driver; in a container: --gpus all")
    if answer.platform is None:
        text = f"driver {driver}, but this torch is built for the CPU only; {_CPU_TRAINING}"
        return Finding("GPU", Level.WARNING, text, "install a torch that is built for CUDA")
    said = answer.complaint or "no reason given"
    text = f"driver {driver}, but torch for {answer.platform} sees none ({said}); {_CPU_TRAINING}"
    remedy = f"install a driver that suits {answer.platform}; in a container: --gpus all"
    return Finding("GPU", Level.WARNING, text, remedy)


def _driver(root: Path) -> str | None:
    """Return the version of the loaded NVIDIA kernel module, None when there is none."""
    path = root / "proc/driver/nvidia/version"
    if not path.is_file():
        return None
    # NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 …
    words = path.read_text().split("\n")[0].split()
    return next((word for word in words if word[0].isdigit() and "." in word), "unknown")


def _has_card(root: Path) -> bool:
    for vendor in (root / "sys/bus/pci/devices").glob("*/vendor"):
        kind = vendor.with_name("class")
        if vendor.read_text().strip() == _NVIDIA and kind.read_text().startswith(_DISPLAY):
            return True
    return False
