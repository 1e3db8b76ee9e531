"""The package as it is published: one version, its citation, and the wheel's contents and commands."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
import stgcma as package
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_version_has_one_place():
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "stgcma.__version__"}
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == package.__version__


def test_the_newest_version_of_the_changelog_is_the_packages_or_still_unreleased():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1:2] in ([], [package.__version__])


def test_the_citation_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()  # required by the format's schema
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors"} <= paper.keys()
    assert paper["title"].startswith("Towards Efficient Audio-Visual Learners")
    assert citation["license"] == PYPROJECT["project"]["license"]


BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, made_once):
    """The wheel, built from the files that git tracks with the installed setuptools."""
    (path,) = made_once("wheel", lambda out: build(tmp_path_factory.mktemp("source"), out)).glob("*.whl")
    return path


def build(source, out):
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to(ROOT / name)
    command = [sys.executable, "-c", BUILD, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    """The folder that the wheel's files are in after an installation."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_the_packages_and_their_data_and_nothing_else(wheel):
    assert wheel.name == f"stgcma-{package.__version__}-py3-none-any.whl"
    info = f"stgcma-{package.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        texts = b"".join(archive.read(name) for name in names)
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
    expected = {"stgcma/py.typed"}
    for name in PYPROJECT["tool"]["setuptools"]["packages"]:
        folder = ROOT.joinpath(*name.split(".")[1:])
        patterns = ["*.py", *PYPROJECT["tool"]["setuptools"]["package-data"].get(name, [])]
        found = (path for pattern in patterns for path in folder.glob(pattern))
        expected |= {f"stgcma/{path.relative_to(ROOT)}" for path in found if path.is_file()}
    assert {name for name in names if not name.startswith(info)} == expected
    assert not any(part in name for name in names for part in ("/tests/", "/docs/", "/benchmarks/"))
    for private in (str(ROOT), str(Path.home()) + "/", "localhost:"):
        assert private.encode() not in texts, private
    assert metadata["Version"] == package.__version__
    assert metadata["Requires-Python"] == PYPROJECT["project"]["requires-python"]
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    assert {str(line) for line in required if "extra" not in str(line.marker)} == {
        str(Requirement(line)) for line in PYPROJECT["project"]["dependencies"]
    }


def run_installed(target, *arguments, folder):
    """Runs `stgcma` of the folder `target` with the other packages of this environment."""
    code = (
        "import sys; sys.path[1:1] = [sys.argv.pop(1), sys.argv.pop(1)]; sys.argv[0] = 'stgcma';"
        "import stgcma; assert stgcma.__file__.startswith(sys.path[1]), stgcma.__file__;"
        "from stgcma.cli import main; main()"
    )
    # -S leaves out .pth files, through which the environment finds the checkout.
    packages = sysconfig.get_path("purelib")
    command = [sys.executable, "-I", "-S", "-c", code, str(target), packages, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_wheels_command_runs(unpacked, tmp_path):
    shown = run_installed(unpacked, "--help", folder=tmp_path)
    assert (shown.returncode, shown.stdout.startswith("Usage: stgcma")) == (0, True), shown.stderr


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A new environment with the wheel, as pip installs it, that finds the other packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    found = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(found, check=True, capture_output=True, text=True).stdout.strip())
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_runs_from_the_installed_wheel(environment, tmp_path):
    program = str(environment / "bin" / "stgcma")
    listed = subprocess.run([program, "presets"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (listed.returncode, "ave-clip-b16-base" in listed.stdout) == (0, True), listed.stderr
    doctor = subprocess.run([program, "doctor"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert doctor.returncode in (0, 1)  # a machine may have its own problems
    assert f"stgcma           {package.__version__}" in doctor.stdout
    done = subprocess.run(
        [program, "demo", "--workdir", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo/run-ave-av/report.html").is_file()
