"""The command line: registers the commands of `commands/`, and turns their errors into one line each."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from . import __version__
from .commands import chain, data, doctor, model, pages, predict, train
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
    help="Raw videos to trained audio-visual adapters: preprocess, train, evaluate.",
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


for group in (chain, data, train, predict, pages, model, doctor):
    group.register(app)
app.add_typer(shards_app, name="shards")


def main() -> None:
    """Runs the command line; an error that a user can meet becomes one line and its exit status."""
    # Threads that wait for each other should sleep: on two busy cores, spinning made an epoch of the demo
    # take over 120 s instead of 36. Read when torch is first imported; the user's own choice is kept.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        # What a command returns is nothing; a status comes from --version, --help and Ctrl-C.
        sys.exit(app(standalone_mode=False) or 0)
    except StgcmaError as error:
        message(f"stgcma: {error}")
        sys.exit(error.exit_code)
    except typer.Abort:
        message("Aborted!")
        sys.exit(1)
    except TyperException as error:  # what typer finds wrong with the command line may quote all of it
        written = io.StringIO()
        error.show(file=written)  # type: ignore[attr-defined]  # its subclasses all have it
        message(written.getvalue().rstrip("\n"))
        sys.exit(error.exit_code)
    except ImportError as error:
        message(f"stgcma: a module does not load: {error}; `stgcma doctor` tests this installation")
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        message(f"stgcma: {error.filename!r} is no path: {error.strerror}; give a shorter one")
        sys.exit(2)
    except RuntimeError as error:
        if "torch" not in sys.modules:
            raise
        from .train.memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        message(f"stgcma: too little memory is left, does another program use it? {reason}")
        sys.exit(1)
