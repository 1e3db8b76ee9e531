"""`stgcma synthesize` and `stgcma preprocess`: raw videos, and shards of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import message
from ..errors import InputError, TooManyFailuresError
from ..strict_json import strict_json
from .options import AudioStream, Trim

if TYPE_CHECKING:
    from ..preprocess.pipeline.run import Outcome


class MissingAudio(StrEnum):
    """Policies for a clip without an audio stream."""

    QUARANTINE = "quarantine"
    SILENCE = "silence"


class Engine(StrEnum):
    """Engines that make the shards."""

    LOCAL = "local"
    RAY = "ray"


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command()(synthesize)
    app.command()(preprocess)


def synthesize(
    collection: Annotated[str, typer.Argument(help="The layout to write: ave, avs-s4 or music-avqa.")],
    raw: Annotated[Path, typer.Argument(help="A new folder.", metavar="RAW")],
    clips: Annotated[int, typer.Option(help="Number of videos.")] = 160,
    seed: Annotated[int, typer.Option(help="The same seed gives the same labels and clips.")] = 0,
    workers: Annotated[int, typer.Option(help="Encoding processes.", min=1)] = 2,
) -> None:
    """Make up a small collection of encoded videos.

    It has the layout that the collection's authors ship, so that every command can be tried on it.

    Example: stgcma synthesize ave RAW --clips 40 --seed 1
    """
    from ..preprocess import synthesis

    synthesis.synthesize(collection, raw, clips=clips, seed=seed, workers=workers)
    typer.echo(f"{clips} clips in {raw}")


def preprocess(
    collection: Annotated[str, typer.Argument(help="ave, avs-s4, music-avqa; or folder: RAW/CLASS/*.mp4.")],
    raw: Annotated[str, typer.Argument(help="The collection's folder, a path or a URL.", metavar="RAW")],
    out: Annotated[str, typer.Argument(help="The shard directory to make, likewise.", metavar="OUT")],
    features: Annotated[str, typer.Option(help="Fbanks to make: clip, swin or clip,swin.")] = "clip,swin",
    workers: Annotated[int, typer.Option(help="Decoding processes.")] = 2,
    decoder: Annotated[str, typer.Option(help="Video decoder: auto, pyav, ffmpeg or decord.")] = "auto",
    missing_audio: Annotated[
        MissingAudio, typer.Option(help="What becomes of a clip without sound.")
    ] = MissingAudio.QUARANTINE,
    audio_stream: AudioStream = "default",
    trim: Trim = False,
    limit: Annotated[int | None, typer.Option(help="Make at most this many clips.")] = None,
    max_failed: Annotated[str, typer.Option(help="Exit with 3 when more clips than this fail.")] = "5%",
    allow_links: Annotated[bool, typer.Option("--allow-links", help="Follow links out of RAW.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard what OUT holds.")] = False,
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Make the shards again that lack a clip.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make again what is missing or fails its hash, and no more.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="Where the work is done.")] = Engine.LOCAL,
    ray_address: Annotated[
        str | None, typer.Option(help="The Ray cluster; without it RAY_ADDRESS, or a local Ray.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Decode every clip of a collection into shards.

    Frames and log-mel features go into WebDataset tar files. Interrupted at any moment, the same command goes
    on where it stopped.

    Example: stgcma preprocess ave AVE_Dataset shards --features clip --workers 8
    """
    from ..preprocess.pipeline.run import Options
    from ..preprocess.pipeline.run import preprocess as run

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
        retry_quarantined=retry_quarantined,
        repair=repair,
        engine=engine.value,
        ray_address=ray_address,
    )
    try:
        outcome = run(collection, raw, out, options)
    except KeyboardInterrupt:
        message("stgcma: interrupted; the same command goes on from here")
        raise
    show_outcome(outcome, out, as_json=json_)
    check_failures(outcome, out, allowed)


def check_failures(outcome: Outcome, out: str, allowed: float) -> None:
    """Raises TooManyFailuresError when a larger share than `allowed` is in quarantine."""
    if outcome.failed_share > allowed:
        raise TooManyFailuresError(
            f"{outcome.quarantined} of {outcome.written + outcome.quarantined} clips were quarantined, "
            f"more than --max-failed {100 * allowed:g}%; see {out}/quarantine.parquet"
        )


def read_share(text: str) -> float:
    """Reads the `5%` or `0.05` of `--max-failed`. Raises InputError for anything else."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"--max-failed is {text!r}, must be a share such as 5% or 0.05")
    return value


def show_outcome(outcome: Outcome, out: str, *, as_json: bool) -> None:
    """Prints what preprocessing came to."""
    if as_json:
        content = {"out": str(out), "counts": outcome.info.counts, "failures": outcome.failures}
        typer.echo(strict_json(content, indent=2))
        return
    if outcome.was_complete:
        message(f"{out} was complete already")
    failures = ", ".join(f"{count} {reason}" for reason, count in sorted(outcome.failures.items()))
    reasons = f" ({failures})" if failures else ""
    typer.echo(f"{outcome.written} clips written, {outcome.quarantined} quarantined{reasons}")
