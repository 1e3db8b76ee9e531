"""`stgcma report` and `stgcma inspect`: pages for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import FoundWeights, Split


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command()(report)
    app.command()(inspect)


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Evaluated runs; clips are shown of the first.", metavar="RUN…")
    ],
    split: Annotated[Split, typer.Option(help="The split they were evaluated on.")] = Split.TEST,
    page: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Where to write; RUN/report.html if not given, comparison.html in the first of several.",
        ),
    ] = None,
    clips: Annotated[int, typer.Option(help="Clips to show, half best, half worst.", min=0)] = 8,
    weights: FoundWeights = None,
) -> None:
    """Write an HTML page of a run, or of several.

    Several stand side by side. The page needs no other file and no network.

    Example: stgcma report run-av run-video run-audio
    """
    from ..pages.report import write_report

    typer.echo(str(write_report(runs, split=split.value, page=page, clips=clips, weights=weights)))


def inspect(
    out: Annotated[str, typer.Argument(help="The shard directory, a path or a URL.", metavar="OUT")],
    split: Annotated[Split | None, typer.Option(help="Only clips of this split.")] = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="Only clips with this class, or type of question.")
    ] = None,
    warning: Annotated[
        str | None, typer.Option(help='Only clips with a warning that contains this; "" for any.')
    ] = None,
    clips: Annotated[int, typer.Option(help="Clips to show at most.", min=1)] = 24,
    seed: Annotated[int, typer.Option(help="Another seed draws other clips.")] = 0,
    page: Annotated[
        Path | None, typer.Option(help="Where to write; OUT-inspect.html beside OUT if not given.")
    ] = None,
) -> None:
    """Write an HTML page of what is in the shards.

    It shows counts, failures and some clips, and needs no other file and no network.

    Example: stgcma inspect shards --split train --class "Church bell"
    """
    from ..pages.samples import Wanted, write_samples

    wanted = Wanted(split.value if split else None, class_, warning, clips, seed)
    typer.echo(str(write_samples(out, wanted, page=page)))
