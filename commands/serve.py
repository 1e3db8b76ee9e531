"""`stgcma serve`: a web page that predicts uploaded videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import Device, fetched_runs

_MEBIBYTE = 2**20


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(serve)


def serve(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders to choose from, or hf:ORG/NAME.", metavar="RUN…", callback=fetched_runs
        ),
    ],
    host: Annotated[
        str,
        typer.Option(help="Name or address to listen on; one that other machines can reach needs a token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for a free one.", min=0, max=65535)] = 7860,
    token: Annotated[
        str | None,
        typer.Option(
            help="Token that requests need; by default a random one, where one is needed.",
            envvar="STGCMA_TOKEN",
            metavar="TEXT",
        ),
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Folder of videos to offer as examples.", metavar="DIR")
    ] = None,
    max_upload: Annotated[int, typer.Option(help="Largest video file, in MiB.", min=1)] = 200,
    max_seconds: Annotated[int, typer.Option(help="Longest video, in seconds.", min=1)] = 600,
    device: Device = "auto",
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page that predicts uploaded videos.

    Videos can be recorded, too. They are predicted one at a time, with one or several runs, and deleted
    afterwards. The page loads nothing from other servers. Ctrl-C ends it. It needs pip install "stgcma[app]".

    Example: stgcma serve run --examples videos
    """
    try:
        from ..app import AppLimits
        from ..app import serve as serve_page
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise InputError("serve needs Starlette and uvicorn; pip install 'stgcma[app]'") from None
    serve_page(
        runs,
        host=host,
        port=port,
        token=token,
        examples=examples,
        limits=AppLimits(upload_bytes=max_upload * _MEBIBYTE, longest_seconds=max_seconds),
        device=device,
        open_browser=open_,
        on_address=typer.echo,
    )
