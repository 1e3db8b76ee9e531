"""`stgcma report` and `stgcma inspect`: HTML pages of runs and of shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    OUT_FILE_OPTION,
    FoundWeights,
    InspectedClips,
    Out,
    ScoredSplit,
    Seed,
    ShownClips,
    ShownSplit,
    Split,
    TrainedRuns,
)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(report)
    app.command()(inspect)


def report(
    runs: TrainedRuns,
    split: ScoredSplit = Split.TEST,
    page: Annotated[Path | None, OUT_FILE_OPTION] = None,
    clips: ShownClips = 8,
    weights: FoundWeights = None,
) -> None:
    """Write an HTML page about one run, or about several runs.

    The page is RUN/report.html, or comparison.html in the first folder when there are several, unless --out
    is given. It shows curves, scores, and the clips with the best and the worst scores, and loads nothing
    from other files or the network.

    Example: stgcma report run-av run-video run-audio
    """
    from ..pages.report import write_report

    typer.echo(str(write_report(runs, split=split.value, page=page, clips=clips, weights=weights)))


def inspect(
    out: Out,
    split: ShownSplit = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="Show only clips with this class or type of question.")
    ] = None,
    warning: Annotated[
        str | None, typer.Option(help='Show only clips with a warning that contains this text; "" for any.')
    ] = None,
    clips: InspectedClips = 24,
    seed: Seed = 0,
    page: Annotated[
        Path | None,
        typer.Option(help="The file to write; by default OUT-inspect.html beside OUT.", metavar="FILE"),
    ] = None,
) -> None:
    """Write an HTML page about a shard directory.

    The page shows counts, failures and some clips drawn at random, and loads nothing from other files or the
    network.

    Example: stgcma inspect shards --split train --class "Church bell"
    """
    from ..pages.samples import ClipFilter, write_samples

    clip_filter = ClipFilter(split.value if split else None, class_, warning, clips, seed)
    typer.echo(str(write_samples(out, clip_filter, page=page)))
