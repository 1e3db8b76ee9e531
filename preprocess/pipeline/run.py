"""Preprocess a collection: read its annotations, then make its shards."""

from __future__ import annotations

from ...shards.storage import Location
from ..collections import COLLECTIONS
from ..collections.preflight import inspect
from ..collections.specification import FeatureSettings
from ..samples.sample import SampleMaker
from .build import Outcome, build
from .options import Options
from .raw_storage import ClipMaker, opened_raw
from .shard_plan import limited


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
    read = COLLECTIONS[name].read
    with opened_raw(raw, name) as (folder, url):
        folder = folder.absolute() if options.engine == "ray" else folder
        collection = whole = read(folder, allow_links=options.allow_links)
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
        }
        return build(
            collection,
            ClipMaker(make, url, folder.parent),
            features,
            out,
            options,
            preflight=lambda: inspect(whole, folder, allow_links=options.allow_links).lines(),
        )
