"""Checks of the installed packages: present, in the tested version, and loadable."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.reasons import ClipError
from .findings import Finding, Level
from .requirements import install, reinstall, required

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# Packages with compiled code can fail to load although they are installed. Dependencies come first.
MODULES = {
    "numpy": "numpy",
    "torch": "torch",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "timm": "timm",
    "webdataset": "webdataset",
    "av": "av",
    "decord": "decord",
    "pillow": "PIL.Image",
    "pyarrow": "pyarrow.parquet",
    "h5py": "h5py",
    "safetensors": "safetensors.torch",
    "pydantic": "pydantic",
    "tensorboard": "torch.utils.tensorboard",
}
# Only the decoder of that name needs it.
_DISPENSABLE = {"decord"}
_LOADING_SECONDS = 180.0
_LOADING_BYTES = 1 << 40  # CUDA's libraries reserve large address ranges

# Extra to the option that needs it.
_EXTRAS = {"ray": "preprocess --engine ray", "s3": "s3:// as RAW and OUT"}

# The version of an installed package, or None.
VersionOf = Callable[[str], "str | None"]


def version_of(package: str) -> str | None:
    """Return the version of `package`, None when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_python() -> Iterator[Finding]:
    """Report the interpreter and the system."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Finding("python", Level.OK, f"{platform.python_version()} on {system}")


def check_pins(version_of: VersionOf = version_of) -> Iterator[Finding]:
    """Check that every declared dependency is installed in the pinned version."""
    for line in required():
        yield _against_pin(line, version_of(line.name)) or Finding(
            line.name, Level.PROBLEM, "not installed", install(line.name)
        )


def check_extras(version_of: VersionOf = version_of) -> Iterator[Finding]:
    """Check the optional dependencies, for clusters and object storage."""
    for extra, use in _EXTRAS.items():
        for line in required(extra):
            yield _against_pin(line, version_of(line.name)) or Finding(
                line.name, Level.NOTE, f"not installed; only needed for {use}", install(line.name)
            )


def _against_pin(line: Requirement, found: str | None) -> Finding | None:
    if found is None:
        return None
    if line.specifier.contains(found, prereleases=True):
        return Finding(line.name, Level.OK, found)
    text = f"{found} is installed, tested is {line.specifier}"
    return Finding(line.name, Level.WARNING, text, install(line.name))


def load(module: str) -> None:
    """Import `module`."""
    importlib.import_module(module)


def check_loading(
    packages: Sequence[str] = tuple(MODULES), *, load: Callable[[str], None] = load
) -> Iterator[Finding]:
    """Yield a finding for every package with compiled code that does not load, and one for all that do."""
    loaded = 0
    with IsolatedPool(1, timeout_seconds=_LOADING_SECONDS, memory_bytes=_LOADING_BYTES, tries=1) as pool:
        modules = [MODULES[name] for name in packages]
        for name, (_, outcome) in zip(packages, pool.map(load, modules), strict=True):
            if isinstance(outcome, ClipError):
                level = Level.WARNING if name in _DISPENSABLE else Level.PROBLEM
                yield Finding(name, level, f"does not load: {outcome.message}", reinstall(name))
            else:
                loaded += 1
    yield Finding("compiled code", Level.OK, f"{loaded} of {len(packages)} packages with such code load")
