"""How `stgcma` talks: results on stdout, progress and messages on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .errors import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.progress import Progress


def message(text: str) -> None:
    """Writes one line, or several, for a person to stderr; each is shortened to 500 characters."""
    sys.stderr.write("\n".join(map(shortened, text.split("\n"))) + "\n")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table to stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*header, box=box.SIMPLE, pad_edge=False)
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))  # as it is: names may hold brackets
    Console().print(drawn)


def stderr_console() -> Console:
    """A rich console on stderr, made when asked for, so that it sees today's stderr."""
    from rich.console import Console

    return Console(stderr=True)


def progress(unit: str, *, shown: bool = True) -> Progress:
    """A progress bar on stderr with count, `unit`/s, time left, and a free `note` field.

    Add tasks with `add_task(description, total=..., note="")`. In a pipe nothing is drawn but the last state.
    The unit `bytes` is shown in its multiples. One that is not `shown` draws nothing at all.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f} {unit}/s" if speed else f"– {unit}/s", style="progress.data.speed")

    class NoteColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            # The one column that gives way where the terminal is narrow: lines that wrap are drawn twice.
            return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")

    console = stderr_console()
    narrow = console.width < 120

    def whole() -> Column:
        return Column(no_wrap=True)

    return Progress(
        TextColumn("{task.description}", table_column=whole()),
        BarColumn(10 if narrow else 40, table_column=whole()),
        *(
            (DownloadColumn(table_column=whole()), TransferSpeedColumn(table_column=whole()))
            if unit == "bytes"
            else (MofNCompleteColumn(table_column=whole()), RateColumn(table_column=whole()))
        ),
        TimeRemainingColumn(table_column=whole()),
        NoteColumn(),
        console=console,
        disable=not shown,
    )
