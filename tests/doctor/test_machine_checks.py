"""Scarce, missing or wrongly set resources of a machine are reported with a remedy."""

import imageio_ffmpeg
import pytest
from stgcma.doctor.clips import CLIPS
from stgcma.doctor.decoding import check_decoding
from stgcma.doctor.findings import Finding, Level
from stgcma.doctor.gpu import check_gpu
from stgcma.doctor.machine import check_cores, check_disk, check_memory, check_shared_memory
from stgcma.doctor.tools import check_encoding, check_ffmpeg

GIB = 1 << 30


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("free", "level"), [(GIB // 4, Level.PROBLEM), (5 * GIB, Level.WARNING), (80 * GIB, Level.OK)]
)
def test_disk(tmp_path, free, level):
    (finding,) = check_disk({"disk": tmp_path}, usage=lambda _: (free, 100 * GIB))
    assert finding.level is level
    assert f"of 100.0 GiB free in {tmp_path}" in finding.text
    assert (finding.remedy or "").startswith("free some space" if level is not Level.OK else "")


def test_temporary_files_have_their_own_remedy(tmp_path):
    (finding,) = check_disk({"temporary files": tmp_path}, usage=lambda _: (GIB // 4, GIB))
    assert finding.level is Level.PROBLEM
    assert "TMPDIR" in finding.remedy


def test_the_64_mib_of_a_container_are_too_little_shared_memory(tmp_path):
    (finding,) = check_shared_memory(tmp_path, usage=lambda _: (64 << 20, 64 << 20))
    assert finding.level is Level.WARNING
    assert "64 MiB of 64 MiB" in finding.text
    assert "--shm-size" in finding.remedy
    assert "data.workers=0" in finding.remedy
    (finding,) = check_shared_memory(tmp_path / "none")
    assert finding.level is Level.NOTE


CGROUPS = {
    "v1": ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    "v2": ("memory.max", "memory.current"),
}


@pytest.mark.parametrize("version", CGROUPS)
def test_memory_is_what_the_control_group_leaves(tmp_path, version):
    write(tmp_path / "proc/meminfo", f"MemTotal: 1 kB\nMemAvailable:   {8 * GIB // 1024} kB\n")
    (finding,) = check_memory(tmp_path)
    assert (finding.level, finding.text) == (Level.OK, "8.0 GiB free")
    for name, amount in zip(CGROUPS[version], (4 * GIB, 3 * GIB), strict=True):
        write(tmp_path / "sys/fs/cgroup" / name, f"{amount}\n")
    (finding,) = check_memory(tmp_path)
    assert (finding.level, finding.text) == (Level.WARNING, "1.0 GiB free")
    assert "--workers" in finding.remedy


def test_a_control_group_without_limit_changes_nothing(tmp_path):
    write(tmp_path / "proc/meminfo", f"MemAvailable: {8 * GIB // 1024} kB\n")
    write(tmp_path / "sys/fs/cgroup/memory.max", "max\n")
    write(tmp_path / "sys/fs/cgroup/memory.current", "123\n")
    (finding,) = check_memory(tmp_path)
    assert finding.text == "8.0 GiB free"


@pytest.mark.parametrize(
    ("environment", "remedy"),
    [
        ({}, None),
        ({"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}, None),
        ({"OMP_NUM_THREADS": "9999"}, "unset OMP_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "many"}, "unset OMP_NUM_THREADS"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "unset OMP_WAIT_POLICY"),
    ],
)
def test_openmp(tmp_path, environment, remedy):
    cores, openmp = check_cores(environment, root=tmp_path)
    assert cores.level is Level.OK
    assert openmp.level is (Level.OK if remedy is None else Level.WARNING)
    assert (openmp.remedy or "").startswith(remedy or "")
    assert all(value in openmp.text for value in environment.values())


def test_a_quota_of_cores_is_told(tmp_path):
    write(tmp_path / "sys/fs/cgroup/cpu.max", "50000 100000\n")
    cores, _ = check_cores({}, root=tmp_path)
    assert "quota allows 0.5" in cores.text


def test_a_missing_ffmpeg_has_a_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("STGCMA_FFMPEG", raising=False)
    monkeypatch.setattr(imageio_ffmpeg, "__file__", str(tmp_path / "__init__.py"))
    (finding,) = check_ffmpeg()
    assert finding.level is Level.PROBLEM
    assert finding.text.startswith("imageio-ffmpeg brings no ffmpeg for this platform; name one with")
    assert "imageio-ffmpeg==" in finding.remedy


def test_the_ffmpeg_that_is_used_is_told_with_its_origin(tmp_path, monkeypatch, fake_ffmpeg):
    program = fake_ffmpeg(tmp_path / "bin/ffmpeg", release="8.1-distro", libavcodec="62. 11.100")
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.delenv("STGCMA_FFMPEG", raising=False)
    (finding,) = check_ffmpeg()
    assert finding.level is Level.OK
    assert "the bundled one: " in finding.text
    assert str(program) not in finding.text
    monkeypatch.setenv("STGCMA_FFMPEG", "ffmpeg")
    (finding,) = check_ffmpeg()
    assert (finding.level, finding.text) == (Level.OK, f"8.1-distro, named by STGCMA_FFMPEG: {program}")


def test_a_named_ffmpeg_that_cannot_be_used_has_a_remedy(tmp_path, monkeypatch, fake_ffmpeg):
    old = fake_ffmpeg(tmp_path / "ffmpeg", release="5.1.9-0+deb12u1", libavcodec="59. 37.100")
    monkeypatch.setenv("STGCMA_FFMPEG", str(old))
    (finding,) = check_ffmpeg()
    assert (finding.level, finding.remedy) == (Level.PROBLEM, "unset STGCMA_FFMPEG")
    assert "5.1.9-0+deb12u1, FFmpeg 7.0 or later is needed" in finding.text
    (finding,) = check_decoding(CLIPS[:1], decoders=("pyav", "ffmpeg"))
    assert (finding.level, finding.remedy) == (
        Level.WARNING,
        "name an ffmpeg with all decoders in STGCMA_FFMPEG, or unset it for the bundled one",
    )
    assert "FFmpeg 7.0 or later is needed" in finding.text
    assert "right with pyav" in finding.text


def test_an_ffmpeg_without_h264_cannot_make_the_demo(tmp_path, monkeypatch, fake_ffmpeg):
    program = fake_ffmpeg(tmp_path / "ffmpeg", then="echo \"Unknown encoder 'libx264'\" >&2\nexit 1")
    monkeypatch.setenv("STGCMA_FFMPEG", str(program))
    (finding,) = check_encoding()
    assert finding.level is Level.WARNING
    assert "Unknown encoder 'libx264'" in finding.text
    assert "libx264" in finding.remedy


def test_an_encoder_that_hangs_is_given_up(failing):
    (finding,) = check_encoding(failing.hang, timeout_seconds=3)
    assert finding.level is Level.WARNING
    assert "not done after 3 s" in finding.text


def gpu_finding(root, ask, **options):
    (finding,) = check_gpu(ask, root=root, environment=options.pop("environment", {}), **options)
    return finding


DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC\n"


def test_a_machine_without_a_gpu_is_fine(tmp_path, failing):
    finding = gpu_finding(tmp_path, failing.cpu_build)
    assert finding.level is Level.NOTE
    assert "runs on the CPU" in finding.text


def test_a_card_without_its_driver(tmp_path, failing):
    write(tmp_path / "sys/bus/pci/devices/0/vendor", "0x10de\n")
    write(tmp_path / "sys/bus/pci/devices/0/class", "0x030200\n")
    finding = gpu_finding(tmp_path, failing.cpu_build)
    assert finding.level is Level.WARNING
    assert "driver is not loaded" in finding.text
    assert "--gpus all" in finding.remedy


@pytest.mark.parametrize(
    ("ask", "environment", "text", "remedy"),
    [
        ("cpu_build", {}, "driver 535.104.05, but this torch is built for the CPU only", "built for CUDA"),
        ("old_driver", {}, "driver on your system is too old", "install a driver that suits CUDA 13.0"),
        ("cpu_build", {"CUDA_VISIBLE_DEVICES": ""}, "hidden by", "unset CUDA_VISIBLE_DEVICES"),
    ],
)
def test_why_torch_sees_no_gpu(tmp_path, failing, ask, environment, text, remedy):
    write(tmp_path / "proc/driver/nvidia/version", DRIVER)
    finding = gpu_finding(tmp_path, getattr(failing, ask), environment=environment)
    assert finding.level is Level.WARNING
    assert text in finding.text
    assert remedy in finding.remedy


def test_a_gpu_is_described_and_one_that_fails_is_a_problem(tmp_path, failing):
    write(tmp_path / "proc/driver/nvidia/version", DRIVER)
    finding = gpu_finding(tmp_path, failing.small_gpu)
    assert (finding.name, finding.level) == ("GPU 0", Level.OK)
    assert "Tiny, 1.0 of 2.0 GiB free, capability 7.5, bf16 no, driver 535.104.05" in finding.text
    finding = gpu_finding(tmp_path, failing.unsupported_gpu)
    assert finding.level is Level.PROBLEM
    assert "fails (no kernel image)" in finding.text
    assert "capability 3.5" in finding.remedy


def test_a_driver_that_hangs_is_given_up(tmp_path, failing):
    finding = gpu_finding(tmp_path, failing.hang, timeout_seconds=3)
    assert finding.level is Level.PROBLEM
    assert "not done after 3 s" in finding.text


@pytest.mark.parametrize("level", [Level.WARNING, Level.PROBLEM])
def test_what_is_wrong_never_comes_without_a_remedy(level):
    with pytest.raises(ValueError, match=f"x: a {level} needs a remedy"):
        Finding("x", level, "text")
    with pytest.raises(ValueError, match="one line"):
        Finding("x", level, "two\nlines", "do something")
