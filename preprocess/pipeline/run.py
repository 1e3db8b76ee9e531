"""Preprocess a collection: read its annotations, then make its shards."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ...errors import InputError
from ...shards.storage import Location
from ..collections import COLLECTIONS
from ..collections.preflight import inspect
from ..collections.specification import FeatureSettings
from ..media.probe import MAX_DURATION_SECONDS
from ..media.video import AUTO, DECODERS
from ..samples.sample import SampleMaker
from .build import build
from .finishing import Outcome
from .options import Options
from .raw_storage import ClipMaker, opened_raw
from .shard_plan import limited
from .source_changes import source_notes

# Decoding the sound of a recording takes less than this share of its length, on a busy machine as well.
_SECONDS_A_SECOND = 0.25


def preprocess(name: str, raw: Location, out: Location, options: Options | None = None) -> Outcome:
    """Make a shard directory of a collection. A clip that cannot be read is quarantined.

    An interrupted run continues when it is repeated; a complete directory is left as it is.

    Args:
        name: one of `COLLECTIONS.names`.
        raw: the collection as its authors ship it, a folder or an fsspec URL.
        out: the directory to write, a folder or an fsspec URL.
        options: features, workers and policies.

    Raises:
        InputError: for a wrong request, a collection in another layout, or `out` with other content.
        StgcmaError: when `out` cannot be written.
    """
    options = options or Options()
    entry = COLLECTIONS[name]
    chosen = entry.parse_options(options.collection)
    recorded = None if chosen is None else chosen.to_json()
    with opened_raw(raw, name) as (folder, url):
        if entry.needs_folder and url is not None:
            raise InputError(
                f"RAW {url} is a URL; {name} reads the lengths of recordings first: give a folder"
            )
        folder = folder.absolute() if options.engine == "ray" else folder
        more = {} if chosen is None else {"options": chosen}
        collection = whole = entry.read(folder, allow_links=options.allow_links, **more)
        longest = max((clip.end_seconds or 0.0 for clip in collection.clips), default=0.0)
        if longest:
            options = for_recordings(options, longest)
        if options.limit is not None:
            collection = limited(collection, options.limit)
        settings = FeatureSettings(collection.sampling, options.features)
        make = SampleMaker(
            folder,
            settings,
            options.decoder,
            options.missing_audio,
            allow_links=options.allow_links,
            audio_stream=options.audio_stream,
            trim=options.trim,
        )
        features = {
            **settings.to_json(),
            "decoder": options.decoder,
            "missing_audio": options.missing_audio,
            "allow_links": options.allow_links,
            "audio_stream": options.audio_stream,
            "trim": options.trim,
            **collection.features,
            **({"collection_options": recorded} if recorded else {}),
        }
        return build(
            collection,
            ClipMaker(make, url, folder.parent),
            features,
            out,
            options,
            preflight=lambda: inspect(whole, folder, allow_links=options.allow_links).lines(),
            # The files of an image are empty: `shards verify --sources` compares those behind a URL.
            sources=partial(source_notes, raw=folder, hashes=options.repair) if url is None else None,
        )


def for_recordings(options: Options, longest_seconds: float) -> Options:
    """Return options for clips that are spans of recordings: the first span decodes all of the sound.

    Raises InputError for a decoder that reads whole files only.
    """
    if options.decoder != AUTO and not DECODERS[options.decoder].reads_spans:
        able = ", ".join([AUTO, *(name for name, entry in DECODERS.items() if entry.reads_spans)])
        raise InputError(
            f"decoder is {options.decoder!r}, which reads whole files; for windows of recordings use {able}"
        )
    seconds = options.limits.timeout_seconds + _SECONDS_A_SECOND * min(longest_seconds, MAX_DURATION_SECONDS)
    return replace(options, limits=replace(options.limits, timeout_seconds=seconds))
