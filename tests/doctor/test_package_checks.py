"""Packages that are missing, of another version, or broken; weights that are there or not."""

import sys

import pytest
from stgcma import __version__
from stgcma.doctor.findings import Level
from stgcma.doctor.packages import check_extras, check_itself, check_loading, check_pins, version_of
from stgcma.doctor.requirements import declared, install, required
from stgcma.doctor.weights import check_weights, find_cached
from stgcma.preprocess.media.video import DECORD_DISTRIBUTIONS


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_the_declared_dependencies_are_those_of_pyproject():
    names = {line.name for line in required()}
    assert {"torch", "av", "pebble", "packaging"} <= names
    assert {line.name for line in required("s3")} == {"s3fs"}
    assert "pytest" not in names
    assert "ray" not in names


def test_a_missing_package_is_a_problem_and_another_version_a_warning():
    versions = {"timm": "0.9.0", "torch": "2.11.0+cpu"}
    found = by_name(check_pins(lambda name: versions.get(name, version_of(name) if name != "av" else None)))
    assert found["av"].level is Level.PROBLEM
    assert found["av"].remedy == install("av")
    assert found["av"].remedy.startswith("pip install av==")
    assert found["timm"].level is Level.WARNING
    assert found["timm"].text.startswith("0.9.0 is installed, tested is ==")
    assert found["torch"].level is Level.OK  # built for another platform, but that version


def test_an_environment_of_an_earlier_release_gets_one_command_that_updates_it():
    versions = {"timm": "0.9.0", "av": "15.1.0", "torch": "2.11.3", "pyyaml": "7.0"}
    found = by_name(check_pins(lambda name: versions.get(name, version_of(name))))
    assert found["pins"].level is Level.WARNING
    assert found["pins"].text == f"stgcma {__version__} pins newer versions of timm, av than are installed"
    assert found["pins"].remedy == install("timm", "av")
    assert found["pyyaml"].level is Level.WARNING  # newer than its pin
    assert "pins" not in by_name(check_pins())


def test_an_installation_of_an_earlier_checkout_is_noted():
    (same,) = check_itself(lambda _: __version__)
    (other,) = check_itself(lambda _: "0.0.9")
    assert (same.level, other.level) == (Level.OK, Level.NOTE)
    assert "installed when it was 0.0.9" in other.text


SYSTEMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64"))


def test_each_system_gets_the_decord_that_has_wheels_for_it():
    lines = [line for line in declared() if line.name.startswith("decord")]
    assert {line.name for line in lines} == set(DECORD_DISTRIBUTIONS)
    names = {}
    for system, machine in SYSTEMS:
        there = {"sys_platform": system, "platform_machine": machine, "extra": ""}
        names[system, machine] = [line.name for line in lines if line.marker.evaluate(there)]
    assert list(names.values()) == [["decord"], ["decord2"], ["decord2"], ["decord2"]]


def test_optional_packages_are_only_noted():
    found = by_name(check_extras(lambda _: None))
    assert {finding.level for finding in found.values()} == {Level.NOTE}
    assert "--engine ray" in found["ray"].text
    assert "pip install s3fs==" in found["s3fs"].remedy
    assert found["uvicorn"].text == "not installed; only needed for serve"
    assert found.keys().isdisjoint({"pytest", "mkdocs"})  # for development


def test_a_package_that_does_not_load_is_named(tmp_path, monkeypatch):
    (tmp_path / "h5py.py").write_text("raise ImportError('libhdf5.so: cannot open shared object file')")
    (tmp_path / "decord.py").write_text("import os; os.abort()")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = by_name(check_loading(("h5py", "decord", "numpy")))
    assert found["h5py"].level is Level.PROBLEM
    assert "libhdf5.so: cannot open shared object file" in found["h5py"].text
    assert found["h5py"].remedy.startswith("pip install --force-reinstall --no-deps h5py==")
    assert found["decord"].level is Level.WARNING  # nothing else needs it
    assert "SIGABRT" in found["decord"].text
    assert found["compiled code"].text.startswith("1 of 3")


def test_weights_that_are_there_and_not(failing):
    missing, there = check_weights(failing.no_weights)
    assert missing.level is Level.NOTE
    assert missing.text == "not on this machine, for preset-1, preset-2"
    assert "--weights FILE" in missing.remedy
    assert there.level is Level.OK
    assert "/cache/b/model.safetensors" in there.text


def test_weights_are_found_where_the_hub_keeps_them(tmp_path, monkeypatch):
    import huggingface_hub.constants

    repository = tmp_path / "models--timm--vit_base_patch16_clip_224.openai"
    snapshot = repository / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("0123")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    cached = find_cached()
    presets, path = cached["vit_base_patch16_clip_quickgelu_224.openai"]
    assert presets == ["ave-clip-b16-tiny", "ave-clip-b16-base", "avc-clip-b16"]
    assert path == str(snapshot / "model.safetensors")
    assert cached["swin_base_patch4_window7_224.ms_in22k"][1] is None


@pytest.mark.parametrize("package", ["no-such-package-of-this-test"])
def test_a_package_that_nobody_installed_has_no_version(package):
    assert version_of(package) is None
    assert version_of("numpy") == sys.modules["numpy"].__version__
