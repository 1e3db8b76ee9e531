"""`stgcma shards`: look into a shard directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import progress, table
from ..errors import StgcmaError
from ..figures import mebibytes
from ..strict_json import strict_json

if TYPE_CHECKING:
    from ..shards.statistics import Statistics

shards_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look into a shard directory: verify, stats, show."
)

OutArgument = Annotated[str, typer.Argument(help="The shard directory, a path or a URL.", metavar="OUT")]


@shards_app.command("verify")
def shards_verify(
    out: OutArgument,
    sources: Annotated[
        str | None,
        typer.Option(help="Also compare the source files in this RAW, a path or a URL.", metavar="RAW"),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare every byte with what was written.

    With --sources, the raw files are compared too: one that is missing, or was replaced since its clips were
    made, is a fault. Prints a line for each fault; the exit status is then 1.

    Example: stgcma shards verify shards
    """
    from ..shards.verification import verify

    with progress("bytes") as bar:
        row = bar.add_task("verify", total=None, note="")
        result = verify(
            out,
            on_total=lambda total: bar.update(row, total=total),
            on_bytes=lambda size: bar.advance(row, size),
            sources=sources,
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


@shards_app.command("stats")
def shards_stats(
    out: OutArgument,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Count clips, seconds, classes, failures and leaks.

    Where it is known what the collection should hold, that stands beside.

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
    out: OutArgument,
    key: Annotated[str, typer.Argument(help="The clip's key.", metavar="KEY")],
    folder: Annotated[Path | None, typer.Option("--out", help="Write the members here.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show one clip: its description, members and labels.

    Put -- before a KEY that begins with a dash.

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
    for question in view.questions:
        typer.echo(strict_json(question))
    for path in written:
        typer.echo(str(path))


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
    for name, values in statistics.audio.items():
        typer.echo(f"audio {name}: mean {values['mean']:.4f}, std {values['std']:.4f}")
    for reason, count in statistics.failures.items():
        typer.echo(f"quarantined, {reason}: {count}")
    for pair, sources in statistics.leaks.items():
        typer.echo(f"leak, {pair}: {len(sources)} sources ({sources[0]}{', …' if len(sources) > 1 else ''})")
