"""Console output: results on stdout, progress and messages on stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console
    from rich.progress import Progress


def message(text: str) -> None:
    """Write one or several lines to stderr, each shortened to 500 characters."""
    sys.stderr.write("\n".join(map(shortened, text.split("\n"))) + "\n")


@contextlib.contextmanager
def continued_by_repeating() -> Iterator[None]:
    """After an interruption, tell that the same command continues its work."""
    try:
        yield
    except KeyboardInterrupt:
        message("stgcma: interrupted; run the same command again to continue")
        raise


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table to stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE, pad_edge=False)
    for name in header:
        drawn.add_column(name, overflow="fold")  # a name that is cut could not be copied
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))  # not as markup: names may contain brackets
    Console().print(drawn)


def stderr_console() -> Console:
    """Return a new rich console on the current stderr."""
    from rich.console import Console

    return Console(stderr=True)


def progress(unit: str, *, shown: bool = True) -> Progress:
    """Return a progress bar on stderr with count, rate, time left, and a free `note` field.

    Add tasks with `add_task(description, total=..., note="")`. In a pipe, only the last state is written.

    Args:
        unit: the counted unit; `bytes` are shown as kB, MB, ….
        shown: whether anything is drawn.
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
            # Only this column is shortened on a narrow terminal, because wrapped lines are drawn twice.
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


@contextlib.contextmanager
def progress_of_total(unit: str, name: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Yield `begin(total)` and `advance(count)` of a bar as of `progress`, with one task.

    Nothing is drawn before `begin`, nor when the work fails before it.
    """
    bar = progress(unit)
    row = bar.add_task(name, total=None, note="")
    with contextlib.ExitStack() as drawn:

        def begin(total: int) -> None:
            bar.update(row, total=total)
            drawn.enter_context(bar)

        yield begin, lambda count: bar.advance(row, count)
