"""The bytes of a shard do not depend on the processor's math path, nor on the number of threads."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stgcma.preprocess.media.cpu_features import X86_64_V2_FLAGS, common_features, is_x86

CHILD = Path(__file__).with_name("math_path.py")
NOISE = "aevalsrc=0.3*sin(880*PI*t)+0.1*random(0)|0.2*sin(1700*PI*t):s=44100:d=3"
FMA_OFF = "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F,-AVX512DQ,-AVX512VL"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# Each chooses other code in a library: torch's, numpy's, OpenBLAS's, the C library's, FFmpeg's.
PATHS = {
    "torch": ({"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"}, 0),
    "numpy": ({"NPY_DISABLE_CPU_FEATURES": " ".join(np._core._multiarray_umath.__cpu_dispatch__)}, 0),
    "others": ({"OPENBLAS_CORETYPE": "Prescott", "GLIBC_TUNABLES": FMA_OFF}, 0),
    "ffmpeg": ({}, X86_64_V2_FLAGS if is_x86() else 0),
    "three threads": (dict.fromkeys(THREADS, "3"), 0),
}
TOGETHER = (
    {name: value for environment, _ in PATHS.values() for name, value in environment.items()},
    max(features for _, features in PATHS.values()),
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with three seconds of noise and tones in two codecs."""
    import imageio_ffmpeg

    folder = tmp_path_factory.mktemp("clips")
    for name, audio in (("a.mp4", "aac"), ("b.mkv", "libmp3lame")):
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-v", "error"]
        command += ["-f", "lavfi", "-i", "testsrc2=s=162x120:r=25:d=3", "-f", "lavfi", "-i", NOISE]
        command += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", audio]
        subprocess.run([*command, str(folder / name)], check=True)
    return folder


def members(folder, environment, features):
    kept = {name: value for name, value in os.environ.items() if name not in THREADS}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", CHILD, folder, str(features)],
        env=kept | dict.fromkeys(THREADS, "1") | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def expected(clips):
    found = members(clips, {}, 0)
    assert len(found) == 2 * (10 + 2 + 1)  # frames, fbanks, sums
    return found


def test_the_bytes_are_the_same_on_all_other_paths_together(clips, expected):
    assert members(clips, *TOGETHER) == expected


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_the_bytes_are_the_same(clips, expected, path):
    """Names the library whose bytes differ."""
    assert members(clips, *PATHS[path]) == expected


@pytest.mark.skipif(platform.machine() != "x86_64", reason="on other processors nothing is chosen")
def test_ffmpegs_choice_is_restored():
    import ctypes

    import av.buffer

    library = ctypes.CDLL(av.buffer.__file__)
    before = library.av_get_cpu_flags()
    with common_features():
        assert library.av_get_cpu_flags() == before & X86_64_V2_FLAGS
    assert library.av_get_cpu_flags() == before
