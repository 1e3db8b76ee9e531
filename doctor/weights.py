"""Check that published weights are in the local cache. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..preprocess.media.isolation import IsolatedPool
from ..preprocess.media.reasons import ClipError
from .findings import Finding, Level

TIMEOUT_SECONDS = 180.0
_MEMORY_BYTES = 1 << 40
# In the order in which timm requests them, for models that do not name a file.
_FILES = ("model.safetensors", "pytorch_model.bin")

# timm's name of a backbone to the presets that use it, and the cached file of its weights, or None.
Cached = dict[str, tuple[list[str], "str | None"]]


def find_cached(_: object = None) -> Cached:
    """Search the cache of the hub. Run it in a separate process: timm and torch take seconds to load."""
    import timm

    from ..model import PRESET_NAMES, preset_config

    found: Cached = {}
    for preset in PRESET_NAMES:
        name = preset_config(preset).backbone.timm_name
        if name is None:
            continue
        if name not in found:
            published = timm.get_pretrained_cfg(name)
            found[name] = ([], _cached_file(published.hf_hub_id, published.hf_hub_filename))
        found[name][0].append(preset)
    return found


def _cached_file(hub_id: str, filename: str | None) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = hub_id.partition("@")
    for name in (filename,) if filename else _FILES:
        path = try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(path, str):  # else it is not there, or known not to exist
            return path
    return None


def check_weights(find_cached: Callable[[object], Cached] = find_cached) -> Iterator[Finding]:
    """Yield a finding for every published backbone."""
    with IsolatedPool(1, timeout_seconds=TIMEOUT_SECONDS, memory_bytes=_MEMORY_BYTES, tries=1) as pool:
        ((_, cached),) = pool.map(find_cached, [None])
    if isinstance(cached, ClipError):
        remedy = "see the packages above; the weights come through timm and huggingface_hub"
        yield Finding("weights", Level.WARNING, f"the cache cannot be read ({cached.message})", remedy)
        return
    for name, (presets, path) in cached.items():
        users = ", ".join(presets)
        if path is None:
            text = f"not on this machine, for {users}"
            remedy = "the first training downloads it; without a network: --weights FILE"
            yield Finding(name, Level.NOTE, text, remedy)
        else:
            yield Finding(name, Level.OK, f"{path}, for {users}")
