"""`stgcma push`: a run or a shard directory to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import table
from ..errors import InputError
from ..strict_json import strict_json
from .options import CardShards, FoundWeights, Json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(push)


def push(
    source: Annotated[Path, typer.Argument(help="A run folder or a shard directory.", metavar="RUN|OUT")],
    target: Annotated[
        str, typer.Argument(help="hf:ORG/NAME for a run, hf:datasets/ORG/NAME for shards.", metavar="HUB")
    ],
    space: Annotated[
        bool, typer.Option("--space", help="Push a page that serves the run, as a Space (hf:spaces/…).")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make the repository a private one.")] = False,
    revision: Annotated[
        str | None, typer.Option(help="The branch to push to; made where it does not exist.", metavar="REV")
    ] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="The Hub's name of the licence, such as apache-2.0.")
    ] = None,
    shards: CardShards = None,
    weights: FoundWeights = None,
    message: Annotated[str | None, typer.Option(help="The commit's message.", metavar="TEXT")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A text that is no trace of this machine; may be repeated.", metavar="TEXT"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files, and send nothing.")] = False,
    to: Annotated[
        Path | None, typer.Option(help="Write the files to this folder, and send nothing.", metavar="DIR")
    ] = None,
    json_: Json = False,
) -> None:
    """Push a run or a shard directory to the Hugging Face Hub.

    A card is written, paths of this machine are removed from settings and records, and every file is searched
    for other traces of it; one that is found is named, and nothing is sent. Log in with `hf auth login`.
    A prediction is drawn from the run's shards; --shards hf:datasets/ORG/NAME is also linked in the card.

    Example: stgcma push run hf:ORG/NAME --license apache-2.0 --dry-run
    """
    from ..hub.names import parse_name
    from ..hub.packing import PackOptions, pack
    from ..hub.push import check_empty, push_patterns, send, write_folder

    name = parse_name(target).at(revision)
    if space:
        name = name.as_space()
    if not source.is_dir():
        raise InputError(f"{source} is not a folder; name a run folder or a shard directory")
    if to is not None:
        check_empty(to)  # before every file is read
    options = PackOptions(license=license_, shards=shards, weights=weights, allowed=tuple(allow or ()))
    files = pack(source, name, options)
    listed = [{"file": file.name, "bytes": file.size_bytes} for file in files]
    result: dict[str, object] = {"target": str(name), "files": listed}
    if to is not None:
        write_folder(files, to)
        result["folder"] = str(to)
    elif not dry_run:
        text = message or f"Push {source.resolve().name} with stgcma"
        pushed = send(files, name, patterns=push_patterns(name), message=text, private=private)
        result |= {"commit": pushed.name.revision, "address": pushed.address}
    if json_:
        typer.echo(strict_json(result, indent=2))
        return
    table(("file", "bytes"), [(file.name, f"{file.size_bytes:,}") for file in files])
    total = f"{len(files)} files, {sum(file.size_bytes for file in files):,} bytes"
    if "address" in result:
        typer.echo(f"{name}: {total} in commit {result['commit']}; {result['address']}")
    else:
        typer.echo(f"{name}: {total}; nothing was sent" + (f", the files are in {to}" if to else ""))
