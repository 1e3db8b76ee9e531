"""Preprocess a collection: read its annotations, then make its shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...shards.storage import Location
from ..collections import COLLECTIONS
from ..collections.clip_list import collector_paused, packed
from ..collections.preflight import inspect
from ..collections.specification import Collection, FeatureSettings
from ..media.probe import MAX_DURATION_SECONDS
from ..media.video import AUTO, DECODERS
from ..samples.sample import SampleMaker
from .build import build
from .finishing import Outcome
from .forecast import SAMPLED_CLIPS, Forecast, forecast
from .options import Options
from .raw_storage import ClipMaker, opened_raw
from .shard_plan import limited
from .source_changes import source_notes
from .stored_plan import StoredPlan

# Decoding the sound of a recording takes less than this share of its length, on a busy machine as well.
_SECONDS_A_SECOND = 0.25


@dataclass(frozen=True)
class _Request:
    """A collection that was read, and what is asked for.

    Attributes:
        whole: all clips.
        collection: those to be made.
        features: settings that decide the bytes of the samples.
        folder: the raw folder, or an image of it.
        url: location of the collection, when `folder` is an image.
        stored: where the collection is stored while its directory is made; None when it is not.
        lines: of the check against the files, where they are known.
    """

    whole: Collection
    collection: Collection
    make: ClipMaker
    features: dict[str, Any]
    options: Options
    folder: Path
    url: str | None
    stored: StoredPlan | None
    lines: tuple[str, ...] | None

    def preflight(self) -> Sequence[str]:
        """Return the lines of the check against the files; store them with the collection."""
        if self.lines is not None:
            return self.lines
        checked = inspect(self.whole, self.folder, allow_links=self.options.allow_links)
        lines = tuple(checked.lines())
        if self.stored is not None:
            self.stored.keep(self.whole, lines)
        return lines


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
    with _prepared(name, raw, options or Options(), out) as request:
        options = request.options
        return build(
            request.collection,
            request.make,
            request.features,
            out,
            options,
            clips_per_shard=options.clips_per_shard,
            preflight=request.preflight,
            sources=partial(source_notes, raw=request.url or request.folder, hashes=options.repair),
        )


def plan(
    name: str, raw: Location, out: Location, options: Options | None = None, *, sampled: int = SAMPLED_CLIPS
) -> Forecast:
    """Return what `preprocess` with the same arguments is expected to cost. Nothing is written.

    `sampled` clips, spread over the list, are decoded. Raises InputError as `preprocess`.
    """
    with _prepared(name, raw, options or Options()) as request:
        return forecast(
            request.collection, request.make, request.features, out, request.options, sampled=sampled
        )


@contextmanager
def _prepared(name: str, raw: Location, options: Options, out: Location | None = None) -> Iterator[_Request]:
    """Read the collection at `raw`, which is in use until the end; with `out`, it may be stored there."""
    entry = COLLECTIONS[name]
    chosen = entry.parse_options(options.collection)
    recorded = None if chosen is None else chosen.to_json()
    with opened_raw(raw, name) as (folder, url):
        entry.check_raw(url, name)
        folder = folder.absolute() if options.engine == "ray" else folder
        stored = None
        if out is not None and url is None:
            given = {"collection": name, "raw": str(folder), "allow_links": options.allow_links}
            given["options"] = None if chosen is None else asdict(chosen)
            stored = StoredPlan(out, folder, given, every_file=entry.needs_folder)
        found = stored.load() if stored is not None and not options.overwrite else None
        if found is None:
            if stored is not None:
                stored.begin()
            more = {} if chosen is None else {"options": chosen}
            with collector_paused():
                collection = whole = entry.read(folder, allow_links=options.allow_links, **more)
        else:
            collection = whole = found.collection
        if longest := _longest(collection):
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
        maker = ClipMaker(make, url, folder.parent)
        lines = None if found is None else found.preflight
        yield _Request(whole, collection, maker, features, options, folder, url, stored, lines)


def _longest(collection: Collection) -> float:
    """Return the latest end of a span of a recording; 0 when clips are whole files."""
    return packed(collection.clips).latest_end


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
