"""`stgcma shards add-column`, `drop-column` and `subset`: what is made from a finished directory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import continued_by_repeating, message, progress_of_total
from ..errors import InputError, TooManyFailuresError
from ..strict_json import strict_json
from .options import (
    AdapterChoice,
    Backbone,
    Device,
    Json,
    MaxFailed,
    ModalityChoice,
    NewWeights,
    Out,
    Preset,
    Repair,
    RetryQuarantined,
    Settings,
    Workers,
    model_settings,
    read_share,
)

if TYPE_CHECKING:
    from ..columns import Added

Member = Annotated[str, typer.Argument(help="Name of the column, such as fbank_224.", metavar="COLUMN")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`, the group `shards`."""
    app.command("add-column")(add_column)
    app.command("add-tokens")(add_tokens)
    app.command("drop-column")(drop_column)
    app.command("subset")(subset)


def add_column(
    out: Out,
    member: Member,
    raw: Annotated[
        str | None,
        typer.Option(help="Needed: the collection that OUT was made of, a folder or URL.", metavar="RAW"),
    ] = None,
    workers: Workers = 2,
    max_failed: MaxFailed = "5%",
    retry_quarantined: RetryQuarantined = False,
    repair: Repair = False,
    json_: Json = False,
) -> None:
    """Add an fbank to the clips of a finished directory.

    It is made from the sound of the clips alone, and stored in OUT/columns; the shards are not changed. After
    an interruption, and after OUT has grown, the same command makes what is missing.

    Example: stgcma shards add-column shards fbank_224 --raw RAW --workers 8
    """
    from ..columns import add_fbank
    from ..columns.fbank import fbank_member

    member, allowed = fbank_member(member), read_share(max_failed)
    if raw is None:
        raise InputError(
            f"--raw is missing: {member} is made from the sound; give the folder or URL of the collection "
            f"that {out} was made of"
        )
    with continued_by_repeating():
        added = add_fbank(
            out, member, raw=raw, workers=workers, retry_quarantined=retry_quarantined, repair=repair
        )
    _show(added, out, as_json=json_)
    check_lost(added, out, allowed)


def add_tokens(
    out: Out,
    preset: Preset,
    backbone: Backbone = None,
    modality: ModalityChoice = None,
    adapter: AdapterChoice = "side",
    weights: NewWeights = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Blocks whose outputs are stored, from 0, such as 2,5,8,11; training then needs "
            "--set model.side_layers=[2,5,8,11]. By default those that the adapter reads anyway.",
            metavar="N,…",
        ),
    ] = None,
    set_: Settings = None,
    device: Device = "auto",
    repair: Repair = False,
    json_: Json = False,
) -> None:
    """Add outputs of a frozen backbone for a side network.

    They are stored in OUT/columns/tokens as float16, and `stgcma train` with the same options and --set
    data.tokens=true reads them in place of frames and sound. After an interruption, and after OUT has grown,
    the same command makes what is missing.

    Example: stgcma shards add-tokens shards --preset ave-demo
    """
    from ..columns import add_tokens as add
    from ..train.config import load_preset

    settings = list(set_ or [])
    settings += model_settings(modality=modality, backbone=backbone, adapter=adapter, weights=weights)
    if layers is not None:
        settings.append(f"model.side_layers=[{_layers(layers)}]")
    with continued_by_repeating():
        added = add(out, load_preset(preset, settings), device=device, repair=repair)
    _show(added, out, as_json=json_)


def _layers(text: str) -> str:
    if re.fullmatch(r"\d{1,4}(,\d{1,4})*", text.replace(" ", "")) is None:
        raise InputError(f"--layers is {text!r}, must be indices of blocks from 0, such as 2,5,8,11")
    return text


def drop_column(out: Out, member: Member) -> None:
    """Remove a column, complete or not, from a directory.

    Example: stgcma shards drop-column shards fbank_224
    """
    from ..columns import drop_column as drop

    drop(out, member)
    typer.echo(f"{out}: {member} removed")


def subset(
    out: Out,
    new: Annotated[str, typer.Argument(help="The directory to write, a path or a URL.", metavar="NEW")],
    where: Annotated[
        str,
        typer.Option(
            "--where",
            help="Condition on the manifest's columns (any other name lists them), with == != < <= > >=, in, "
            "is null, and, or, not; such as 'motion > 0.02 and not mute'.",
            metavar="CONDITION",
        ),
    ],
    json_: Json = False,
) -> None:
    """Write the clips that meet a condition into a new directory.

    Their bytes are copied, and stay in shards of the same names. Columns are not copied.

    Example: stgcma shards subset shards moving --where 'motion > 0.02 and not mute'
    """
    from ..shards.subset import write_subset

    with progress_of_total("clips", "copy") as (begin, advance):
        made = write_subset(out, new, where, on_total=begin, on_clip=lambda: advance(1))
    if json_:
        counts = {"counts": made.info.counts, "clips": made.clips, "unknown": made.unknown}
        typer.echo(strict_json({"out": str(new)} | counts, indent=2))
        return
    if made.was_complete:
        message(f"{new} was complete already")
    unknown = f"; {made.unknown} lack a value" if made.unknown else ""
    typer.echo(f"{made.written} of {made.clips} clips written{unknown}")


def _show(added: Added, out: str, *, as_json: bool) -> None:
    if as_json:
        content = {"out": str(out), "column": added.info.member, "counts": added.info.counts}
        typer.echo(strict_json(content | {"failures": added.failures}, indent=2))
        return
    if added.was_complete:
        message(f"{out}: the column {added.info.member} was complete already")
    failures = ", ".join(f"{count} {reason}" for reason, count in added.failures.items())
    reasons = f" ({failures})" if failures else ""
    typer.echo(
        f"{added.info.member}: {added.written} clips written, {added.quarantined} quarantined{reasons}"
    )


def check_lost(added: Added, out: str, allowed: float) -> None:
    """Raise TooManyFailuresError when a larger share of clips than `allowed` was quarantined."""
    total = added.written + added.quarantined
    if added.quarantined > allowed * total:
        raise TooManyFailuresError(
            f"{added.quarantined} of {total} clips were quarantined, more than --max-failed "
            f"{100 * allowed:g}%; see {out}/columns/{added.info.member}/quarantine.parquet"
        )
