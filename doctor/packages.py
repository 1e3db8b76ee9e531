"""Checks of the installed packages: present, in the tested version, and loadable."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from .. import __version__
from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.reasons import ClipError
from ..preprocess.media.video import DECORD_DISTRIBUTIONS
from .findings import Finding, Level
from .requirements import extras, install, reinstall, required

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
    **dict.fromkeys(DECORD_DISTRIBUTIONS, "decord"),
    "pillow": "PIL.Image",
    "pyarrow": "pyarrow.parquet",
    "h5py": "h5py",
    "safetensors": "safetensors.torch",
    "pydantic": "pydantic",
    "tensorboard": "torch.utils.tensorboard",
}
# Only the decoder of that name needs it.
_DISPENSABLE = frozenset(DECORD_DISTRIBUTIONS)
_LOADING_SECONDS = 180.0
_LOADING_BYTES = 1 << 40  # CUDA's libraries reserve large address ranges

# Extra to the command or option that needs it.
_USES = {
    "ray": "preprocess --engine ray",
    "s3": "s3:// as RAW and OUT",
    "hub": "push and hf: names",
    "export": "export FILE.onnx",
    "app": "serve",
    "wandb": "--set train.trackers=[wandb]",
    "mlflow": "--set train.trackers=[mlflow]",
}
_FOR_DEVELOPMENT = {"dev", "docs"}

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


def check_itself(version_of: VersionOf = version_of) -> Iterator[Finding]:
    """Compare the version of the code with that of the installation, which a checkout can be ahead of."""
    found = version_of("stgcma")
    if found in (None, __version__):
        yield Finding("stgcma", Level.OK, __version__)
    else:
        text = f"{__version__}, installed when it was {found}; dependencies may have changed since"
        yield Finding("stgcma", Level.NOTE, text, "pip install -e .")


def check_pins(version_of: VersionOf = version_of) -> Iterator[Finding]:
    """Check that every declared dependency is installed in the pinned version.

    Packages that are older than their pins get one more finding with the command that updates all of them:
    the environment was made for an earlier release.
    """
    older = []
    for line in required():
        found = version_of(line.name)
        yield _against_pin(line, found) or Finding(
            line.name, Level.PROBLEM, "not installed", install(line.name)
        )
        if found is not None and _is_older(found, line):
            older.append(line.name)
    if older:
        text = f"stgcma {__version__} pins newer versions of {', '.join(older)} than are installed"
        yield Finding("pins", Level.WARNING, text, install(*older))


def _is_older(found: str, line: Requirement) -> bool:
    from packaging.version import Version

    pins = [Version(pin.version.removesuffix(".*")) for pin in line.specifier if pin.operator == "=="]
    return any(Version(found) < pin for pin in pins)


def check_extras(version_of: VersionOf = version_of) -> Iterator[Finding]:
    """Check the dependencies of every extra but those for development."""
    for extra in (name for name in extras() if name not in _FOR_DEVELOPMENT):
        for line in required(extra):
            text = f"not installed; only needed for {_USES.get(extra, f'the extra {extra}')}"
            yield _against_pin(line, version_of(line.name)) or Finding(
                line.name, Level.NOTE, text, install(line.name)
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
    packages: Sequence[str] | None = None, *, load: Callable[[str], None] = load
) -> Iterator[Finding]:
    """Yield a finding for every package with compiled code that does not load, and one for all that do.

    packages: keys of `MODULES`; by default those that this machine requires.
    """
    if packages is None:
        names = {line.name for line in required()}
        packages = [name for name in MODULES if name in names]
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
