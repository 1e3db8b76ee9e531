"""`stgcma shards`: verify, summarise and show a shard directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import progress_of_total, table
from ..cores import usable_cores
from ..errors import StgcmaError
from ..figures import mebibytes
from ..strict_json import strict_json
from .options import OUT_FOLDER_OPTION, Json, MaxFailed, Out, read_share

if TYPE_CHECKING:
    from ..shards.statistics import SplitStatistics, Statistics

shards_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Verify, show, finish, extend or select from shards.",
)


@shards_app.command("verify")
def shards_verify(
    out: Out,
    sources: Annotated[
        str | None,
        typer.Option(help="Also compare the source files in this folder or URL.", metavar="RAW"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Number of worker processes; by default one for each core.", min=1),
    ] = None,
    json_: Json = False,
) -> None:
    """Compare every byte of the shards with the manifest.

    With --sources, the raw files are compared as well: a file that is missing, or was replaced after its
    clips were written, is a fault. Prints one line per fault; the exit status is then 1.

    Example: stgcma shards verify shards
    """
    from ..shards.verification import verify

    with progress_of_total("bytes", "verify") as (begin, advance):
        result = verify(
            out,
            on_total=begin,
            on_bytes=advance,
            sources=sources,
            workers=workers or usable_cores(),
        )
    if json_:
        typer.echo(strict_json(result.to_json(out), indent=2))
    else:
        for fault in result.faults:
            typer.echo(str(fault))
    summary = f"{result.clips} clips in {result.shards} shards, {mebibytes(result.bytes)}"
    if result.sources is not None:
        summary += f", {result.sources} source files"
    if result.faults:
        raise StgcmaError(f"{out}: {len(result.faults)} faults; {summary}")
    if not json_:
        typer.echo(f"{out}: no faults; {summary}")


@shards_app.command("finish")
def shards_finish(out: Out, max_failed: MaxFailed = "5%", json_: Json = False) -> None:
    """Write the tables after all parts of a collection were made.

    Checks that all shards are there, and names the parts to make again if they are not. RAW is not needed.

    Example: stgcma shards finish shards
    """
    from ..preprocess import finish_parts
    from .data import check_failures, show_outcome

    allowed = read_share(max_failed)
    outcome = finish_parts(out)
    show_outcome(outcome, out, as_json=json_)
    check_failures(outcome, out, allowed)


@shards_app.command("stats")
def shards_stats(
    out: Out,
    json_: Json = False,
) -> None:
    """Count clips, seconds, classes, failures and leaks.

    The counts of a published collection are shown beside the expected ones.

    Example: stgcma shards stats shards --json
    """
    from ..preprocess.collections import published
    from ..shards.statistics import gather_statistics

    statistics = gather_statistics(out, published=published)
    if json_:
        typer.echo(strict_json(statistics.to_json(), indent=2))
    else:
        _show_statistics(statistics)


@shards_app.command("show")
def shards_show(
    out: Out,
    key: Annotated[str, typer.Argument(help="The clip's key.", metavar="KEY")],
    folder: Annotated[Path | None, OUT_FOLDER_OPTION] = None,
    json_: Json = False,
) -> None:
    """Show one clip: its description, members and labels.

    With --out, the members are also written to that folder. Put -- before a KEY that begins with a dash.

    Example: stgcma shards show shards --out clip -- -4IFeHBBLlc
    """
    from ..shards.clip_view import extract_clip, view_clip

    view = view_clip(out, key)
    written = [] if folder is None else extract_clip(out, key, folder)
    if json_:
        content = view.to_json() | {"written": [str(path) for path in written]}
        typer.echo(strict_json(content, indent=2))
        return
    typer.echo(strict_json(view.description, indent=2))
    table(("member", "bytes", "content"), [(m.name, f"{m.bytes:,}", m.content) for m in view.members])
    if view.labels:
        typer.echo("seconds: " + ", ".join(view.labels))
    if view.tags:
        typer.echo("tags: " + ", ".join(view.tags))
    for name, seconds in (("audible", view.audible), ("visible", view.visible)):
        if seconds:
            typer.echo(f"{name}: " + "; ".join(" + ".join(names) or "–" for names in seconds))
    for question in view.questions:
        typer.echo(strict_json(question))
    for path in written:
        typer.echo(str(path))


def _show_measured(part: SplitStatistics) -> None:
    rows = []
    for name, each in part.measured.items():
        quantiles = (each.least, each.low, each.median, each.high, each.most)
        rows.append((name, each.clips, *(f"{value:.4g}" for value in quantiles)))
    if rows:
        table(("statistic", "clips", "least", "5 %", "median", "95 %", "most"), rows)
    for name, count in part.flagged.items():
        typer.echo(f"{name}: {count:,} clips")


def _show_statistics(statistics: Statistics) -> None:
    def against(number: int, published: int | None) -> str:
        return f"{number:,}" if published is None else f"{number:,} of {published:,}"

    rows: list[tuple[str, ...]] = []
    asked = bool(statistics.splits["all"].questions or statistics.questions_published)
    for split, part in statistics.splits.items():
        length = f"{part.seconds_total:,.0f} s, {part.seconds_least:.1f} to {part.seconds_most:.1f} each"
        row = (split, against(part.clips, part.published), str(part.quarantined), length)
        questions = against(part.questions, statistics.questions_published if split == "all" else None)
        rows.append((*row, questions) if asked else row)
    table(("split", "clips", "quarantined", "length", *(["questions"] if asked else [])), rows)
    parts = statistics.splits
    if names := list(parts["all"].labels_by_class) or list(parts["all"].categories):
        labels = bool(parts["all"].labels_by_class)
        counts = {s: part.labels_by_class if labels else part.categories for s, part in parts.items()}
        of_names = [(name, *(counts[split].get(name, 0) for split in parts)) for name in sorted(names)]
        table(("labels of class" if labels else "clips of category", *parts), of_names)
    if tags := sorted(parts["all"].clips_by_tag):
        of_tags = [(name, *(part.clips_by_tag.get(name, 0) for part in parts.values())) for name in tags]
        table(("clips with tag", *parts), of_tags)
    _show_measured(parts["all"])
    for number, counts in enumerate(statistics.additions, 1):
        clips = ", ".join(f"{count['written']:,} {split}" for split, count in counts.items())
        failed = sum(count["quarantined"] for count in counts.values())
        typer.echo(f"addition {number}: {clips}; {failed} quarantined")
    for name, values in statistics.audio.items():
        typer.echo(f"audio {name}: mean {values['mean']:.4f}, std {values['std']:.4f}")
    for name, column in statistics.columns.items():
        typer.echo(f"column {name}: {column['written']:,} clips, {column['quarantined']:,} quarantined")
    for reason, count in statistics.failures.items():
        typer.echo(f"quarantined, {reason}: {count}")
    for pair, sources in statistics.leaks.items():
        typer.echo(f"leak, {pair}: {len(sources)} sources ({sources[0]}{', …' if len(sources) > 1 else ''})")
