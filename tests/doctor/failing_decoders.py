"""Decoders that fail in their own ways; child processes find them by the name of this file."""

import os
import time

from stgcma.doctor.decoding import decode
from stgcma.doctor.gpu import Device, Torch


def abort_with_pyav(job):
    return os.abort() if job[1] == "pyav" else decode(job)


def hang_with_decord(job):
    return time.sleep(600) if job[1] == "decord" else decode(job)


def hang(_):
    time.sleep(600)


def small_gpu(_):
    return Torch("CUDA 13.0", (Device("Tiny", 1 << 30, 2 << 30, "7.5", False, None),), None)


def unsupported_gpu(_):
    return Torch("CUDA 13.0", (Device("Old", 1 << 30, 2 << 30, "3.5", False, "no kernel image"),), None)


def old_driver(_):
    return Torch("CUDA 13.0", (), "The NVIDIA driver on your system is too old")


def cpu_build(_):
    return Torch(None, (), None)


def no_weights(_):
    return {"a.tag": (["preset-1", "preset-2"], None), "b.tag": (["preset-3"], "/cache/b/model.safetensors")}
