"""The command line: registers the commands of `commands/` and prints each error as one line."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from . import __version__
from .commands import (
    chain,
    columns,
    compare,
    data,
    doctor,
    export,
    hub,
    model,
    pages,
    predict,
    serve,
    train,
)
from .commands.shards import shards_app
from .console import message
from .errors import StgcmaError

app = typer.Typer(
    name="stgcma",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Audio-visual learning with frozen vision transformers: preprocess, train, evaluate, predict.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stgcma {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for group in (chain, data, train, compare, predict, serve, pages, export, model, hub, doctor):
    group.register(app)
columns.register(shards_app)
app.add_typer(shards_app, name="shards")


def main() -> None:
    """Run the command line. An error that users can cause is printed as one line, with its exit status."""
    # Waiting threads should sleep: on two busy cores, spinning slowed an epoch of the demo from 36 s to over
    # 120 s. torch reads this when it is first imported; a setting by the user is kept.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform == "win32":
        message(
            "stgcma: Windows is not supported, it has no fcntl and no fork; use WSL 2 or the container image"
        )
        sys.exit(2)
    try:
        # Commands return None; --version, --help and Ctrl-C return a status.
        sys.exit(app(standalone_mode=False) or 0)
    except StgcmaError as error:
        message(f"stgcma: {error}")
        sys.exit(error.exit_code)
    except typer.Abort:
        message("Aborted!")
        sys.exit(1)
    except TyperException as error:  # typer may quote the whole command line
        written = io.StringIO()
        error.show(file=written)  # type: ignore[attr-defined]  # every subclass has it
        message(written.getvalue().rstrip("\n"))
        sys.exit(error.exit_code)
    except ImportError as error:
        message(f"stgcma: a module does not load: {error}; `stgcma doctor` tests this installation")
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        message(f"stgcma: {error.filename!r} is not a valid path: {error.strerror}; give a shorter one")
        sys.exit(2)
    except RuntimeError as error:
        if "torch" not in sys.modules:
            raise
        from .train.memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        message(f"stgcma: out of memory; close other programs that use it: {reason}")
        sys.exit(1)
