"""`stgcma synthesize` and `stgcma preprocess`: raw videos, and shards made from them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import continued_by_repeating, message
from ..errors import InputError, StgcmaError, TooManyFailuresError
from ..figures import binary_size, short_duration
from ..preprocess.collections import COLLECTIONS
from ..preprocess.media.video import decoder_choices
from ..preprocess.synthesis import SYNTHESIZERS
from ..strict_json import strict_json
from .collection_options import CollectionCommand, collection_options
from .options import (
    CLIPS_OPTION,
    AudioStream,
    Json,
    MaxFailed,
    MissingAudio,
    MissingAudioPolicy,
    Out,
    Overwrite,
    Raw,
    Repair,
    RetryQuarantined,
    Seed,
    Trim,
    Workers,
    read_share,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..preprocess import Forecast, Options, Outcome


_MOST_DIGITS = 20


class Engine(StrEnum):
    """Engines that run the preprocessing."""

    LOCAL = "local"
    RAY = "ray"


# Options of `preprocess`.
Features = Annotated[
    str, typer.Option("--features", help="Fbanks, comma-separated: clip (fbank_128), swin (fbank_224).")
]
Decoder = Annotated[str, typer.Option("--decoder", help=f"Video decoder: {', '.join(decoder_choices())}.")]
Limit = Annotated[int | None, typer.Option("--limit", help="Process at most this many clips.")]
AllowLinks = Annotated[bool, typer.Option("--allow-links", help="Follow links that leave RAW.")]
Append = Annotated[bool, typer.Option("--append", help="Add the clips that OUT lacks, in new shards.")]
ClipsPerShard = Annotated[
    int | None,
    typer.Option("--clips-per-shard", help="Clips in each shard; by default 32, more beyond 20,000 clips."),
]
PartOfAll = Annotated[
    str | None,
    typer.Option(
        "--part", help="Make part I of N, beside other processes; then `shards finish`.", metavar="I/N"
    ),
]
EngineChoice = Annotated[Engine, typer.Option("--engine", help="Local processes, or a Ray cluster.")]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", help="Address of the Ray cluster; by default RAY_ADDRESS, or a local Ray."),
]
PlanOnly = Annotated[bool, typer.Option("--plan", help="Only decode a few clips and forecast time and size.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(synthesize)
    app.command(cls=CollectionCommand)(preprocess)


def synthesize(
    collection: Annotated[str, typer.Argument(help=f"The layout to write: {', '.join(SYNTHESIZERS)}.")],
    raw: Annotated[Path, typer.Argument(help="The folder to create.", metavar="RAW")],
    clips: Annotated[int, CLIPS_OPTION] = 160,
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Synthesise a small collection of encoded videos.

    It has the layout of the published collection, so every command can be tried on it. The same seed gives
    the same labels and clips.

    Example: stgcma synthesize ave RAW --clips 40 --seed 1
    """
    from ..preprocess import synthesize as write

    write(collection, raw, clips=clips, seed=seed, workers=workers)
    typer.echo(f"{clips} clips in {raw}")


def preprocess(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(help=f"The collection: {', '.join(COLLECTIONS)}.")],
    raw: Raw,
    out: Out,
    features: Features = "clip,swin",
    workers: Workers = 2,
    decoder: Decoder = "auto",
    missing_audio: MissingAudioPolicy = MissingAudio.QUARANTINE,
    audio_stream: AudioStream = "default",
    trim: Trim = False,
    limit: Limit = None,
    max_failed: MaxFailed = "5%",
    allow_links: AllowLinks = False,
    overwrite: Overwrite = False,
    append: Append = False,
    retry_quarantined: RetryQuarantined = False,
    repair: Repair = False,
    clips_per_shard: ClipsPerShard = None,
    part: PartOfAll = None,
    engine: EngineChoice = Engine.LOCAL,
    ray_address: RayAddress = None,
    plan: PlanOnly = False,
    json_: Json = False,
) -> None:
    """Decode every clip of a collection into shards.

    Frames and log-mel features are written to WebDataset tar files. After an interruption, the same command
    continues where it stopped. Some collections have options of their own: see `stgcma preprocess COLLECTION
    --help`.

    Example: stgcma preprocess ave AVE_Dataset shards --features clip --workers 8
    """
    from ..preprocess import Options
    from ..preprocess import preprocess as run

    allowed = read_share(max_failed)
    options = Options(
        features=tuple(dict.fromkeys(name.strip() for name in features.split(","))),
        workers=workers,
        decoder=decoder,
        missing_audio=missing_audio.value,
        allow_links=allow_links,
        audio_stream=audio_stream,
        trim=trim,
        limit=limit,
        overwrite=overwrite,
        append=append,
        retry_quarantined=retry_quarantined,
        repair=repair,
        engine=engine.value,
        ray_address=ray_address,
        clips_per_shard=clips_per_shard,
        part=_read_part(part),
        collection=collection_options(context),
    )
    if plan:
        _forecast(collection, raw, out, options, as_json=json_)
        return
    with continued_by_repeating():
        outcome = run(collection, raw, out, options)
    show_outcome(outcome, out, as_json=json_)
    if part is None:
        check_failures(outcome, out, allowed)
    elif not outcome.was_complete:
        message(f"part {part} is made; after all parts: stgcma shards finish {out}")


def _forecast(collection: str, raw: str, out: str, options: Options, *, as_json: bool) -> None:
    from ..preprocess import plan

    if options.part is not None:
        raise InputError("--plan forecasts the whole run; leave out --part")
    show_forecast(plan(collection, raw, out, options), out, as_json=as_json)


def _read_part(text: str | None) -> tuple[int, int] | None:
    """Return the numbers of `I/N`. Raises InputError for another text."""
    if text is None:
        return None
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal()) or len(text) > _MOST_DIGITS:
        raise InputError(f"--part is {text!r}, must be I/N with 1 ≤ I ≤ N, such as 3/8")
    return int(number), int(parts)


def show_forecast(forecast: Forecast, out: str, *, as_json: bool) -> None:
    """Print the forecast of a run. Raises StgcmaError when no clip of the sample can be made."""
    if as_json:
        typer.echo(strict_json({"out": str(out), **forecast.to_json()}, indent=2))
    else:
        typer.echo("\n".join(_forecast_lines(forecast, out)))
    for text in forecast.messages:
        message(f"of the sample: {text}")
    if forecast.seconds is None:
        raise StgcmaError(f"none of the {forecast.sampled} clips of the sample can be made; see above")


def _forecast_lines(forecast: Forecast, out: str) -> Iterator[str]:
    yield f"{forecast.clips:,} clips in {forecast.shards:,} shards"
    if forecast.seconds is not None and forecast.bytes is not None:
        yield f"{short_duration(forecast.seconds)} of media, {binary_size(forecast.bytes)} of shards"
    yield (
        f"{out} has {forecast.finished_clips:,} clips in {forecast.finished_shards:,} shards; "
        f"{forecast.clips_left:,} clips are left"
    )
    if forecast.cpu_hours is not None and forecast.hours is not None:
        yield (
            f"{short_duration(3600 * forecast.cpu_hours)} of CPU time for these, "
            f"{short_duration(3600 * forecast.hours)} with {forecast.workers} "
            f"worker{'' if forecast.workers == 1 else 's'}"
        )
    failures = ", ".join(f"{count} {reason}" for reason, count in sorted(forecast.failures.items()))
    failed = f", {sum(forecast.failures.values())} of which cannot be made: {failures}" if failures else ""
    yield f"from {forecast.sampled} clips that were decoded{failed}"


def check_failures(outcome: Outcome, out: str, allowed: float) -> None:
    """Raise TooManyFailuresError when a larger share of clips than `allowed` was quarantined."""
    if outcome.failed_share > allowed:
        raise TooManyFailuresError(
            f"{outcome.quarantined} of {outcome.written + outcome.quarantined} clips were quarantined, "
            f"more than --max-failed {100 * allowed:g}%; see {out}/quarantine.parquet"
        )


def show_outcome(outcome: Outcome, out: str, *, as_json: bool) -> None:
    """Print the counts of a preprocessing run."""
    if as_json:
        content = {"out": str(out), "counts": outcome.info.counts, "failures": outcome.failures}
        typer.echo(strict_json(content, indent=2))
        return
    if outcome.was_complete:
        message(f"{out} was complete already")
    failures = ", ".join(f"{count} {reason}" for reason, count in sorted(outcome.failures.items()))
    reasons = f" ({failures})" if failures else ""
    typer.echo(f"{outcome.written} clips written, {outcome.quarantined} quarantined{reasons}")
