"""The image and the services name what is really there: packages, commands, options."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import stgcma as package
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from stgcma.model import PRESET_NAMES

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
VARIANTS = ("cpu", "cuda")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def read_lock(variant):
    """{name: (version, hashes)}"""
    found = {}
    text = (DOCKER / f"requirements-{variant}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            pin, *hashes = line.split()
            name, version = pin.split("==")
            found[name] = (version, frozenset(hashes))
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_lock_agrees_with_what_is_declared(variant):
    lock = read_lock(variant)
    declared = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["s3"]
    there = {"sys_platform": "linux", "platform_machine": "x86_64"}
    for line in map(Requirement, declared):
        if line.marker is not None and not line.marker.evaluate(there):
            continue
        version, _ = lock[canonicalize_name(line.name)]
        assert line.specifier.contains(version), f"{line} is locked as {version}: run `make docker-lock`"
    # The package is built with what the image has.
    (build,) = PROJECT["build-system"]["requires"]
    assert Requirement(build).specifier.contains(lock["setuptools"][0])
    for name, (_, hashes) in lock.items():
        assert hashes, f"{name} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", value) for value in hashes)


def test_the_cpu_lock_is_the_other_without_what_only_gpus_need():
    cpu, cuda = map(read_lock, VARIANTS)
    (listed,) = re.findall(r"^ONLY_FOR_GPUS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(cuda) - set(cpu) == set(listed.split())
    assert all(cuda[name] == pin for name, pin in cpu.items())


def test_no_index_is_named():
    files = [
        path for path in (*DOCKER.iterdir(), ROOT / ".dockerignore", ROOT / "Makefile") if path.is_file()
    ]
    assert len(files) >= 6
    for path in files:
        assert "://" not in path.read_text(), path


def test_the_dockerfile_says_what_the_package_says():
    lines = (DOCKER / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    assert "ARG BASE=python:3.11-slim-bookworm\n" in text
    assert "ARG VARIANT=cpu\n" in text
    assert f'org.opencontainers.image.version="{package.__version__}"' in text
    assert f'org.opencontainers.image.licenses="{PROJECT["project"]["license"]}"' in text
    assert "--require-hashes -r /source/docker/requirements-${VARIANT}.txt" in text
    assert re.findall(r"^USER (\d+):", text, re.MULTILINE) == ["1000"]
    assert 'ENTRYPOINT ["stgcma"]' in text
    assert "stgcma" in PROJECT["project"]["scripts"]


def test_the_build_gets_all_of_the_package():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    folders = {name.split(".")[1] for name in PROJECT["tool"]["setuptools"]["packages"] if "." in name}
    assert not folders & set(ignored)
    assert {".git", ".venv", "docker/*", "!docker/requirements-*.txt"} <= set(ignored)


def services():
    text = (DOCKER / "compose.yaml").read_text()
    return yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))["services"]


@pytest.mark.parametrize("name", services())
def test_a_service_runs_a_real_command(name, stgcma):
    verb, *arguments = services()[name]["command"]
    explained = stgcma(verb, "--help")
    assert (explained.status, name.removesuffix("-gpu")) == (0, verb)
    for option in (word for word in arguments if word.startswith("--")):
        assert re.search(rf"{option}\b", explained.stdout), f"{verb} has no {option}"
    if "--preset" in arguments:
        assert arguments[arguments.index("--preset") + 1] in PRESET_NAMES


@pytest.mark.parametrize("name", services())
def test_a_service_has_what_it_needs(name):
    service = services()[name]
    on_gpu = name.endswith("-gpu")
    variant = "cuda" if on_gpu else "cpu"
    assert service["image"] == f"stgcma:{variant}"
    assert service["build"]["args"] == {"VARIANT": variant}
    assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["shm_size"] == "2gb"
    assert service["user"] == "1000:1000"
    assert service.get("profiles") == (["gpu"] if on_gpu else None)
    if on_gpu:
        (devices,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert devices["capabilities"] == ["gpu"]
    # Every folder that the command names is mounted.
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    for word in service["command"]:
        if word.startswith("/"):
            assert "/" + word.split("/")[1] in mounted, word


def test_verify_explains_itself():
    script = DOCKER / "verify.sh"
    done = subprocess.run(
        [shutil.which("bash"), script, "--clip", "3"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--clip is unknown" in done.stderr
