"""Writes the parts of the documentation that the code decides: `commands.md`, and the presets in `model.md`.

Run it with `make docs` after the command line or a preset changed; a test fails while a page is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
_TABLE = re.compile(r"(<!-- generated: presets -->\n).*?(<!-- end -->)", re.DOTALL)
_INTRODUCTION = """\
# Commands

Written by `make docs` from the command line itself: change the code, not this page. What a command finds
goes to stdout, progress and messages to stderr. Exit status: 0 done, 1 the work failed, or a check found
faults, 2 the request or the input is wrong, 3 done, but more clips were quarantined than `--max-failed`
allows.
"""


def pages() -> dict[Path, str]:
    """Every page with generated parts, as it should be."""
    model = FOLDER / "model.md"
    return {FOLDER / "commands.md": command_reference(), model: with_presets(model.read_text("utf-8"))}


def command_reference() -> str:
    """A section for each command, from what `--help` shows."""
    sections = ["\n".join(_section(name, command)) for name, command in commands()]
    return "\n".join([_INTRODUCTION, *sections])


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, e.g. `shards verify`, in alphabetical order."""
    from stgcma.cli import app
    from typer.main import get_command

    yield from _commands_below(get_command(app), "")


def _commands_below(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands_below(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _section(name: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=f"stgcma {name}")
    description, _, example = (command.help or "").partition("Example: ")
    yield f"## stgcma {name}\n"
    yield f"{_escaped(description.strip())}\n"
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    shown = [(usage, " ".join(text.split())) for usage, text in filter(None, records) if usage != "--help"]
    yield from (f"- `{usage}` {_escaped(text)}" for usage, text in shown)
    if shown:
        yield ""
    if example:
        yield f"Example: `{example.strip()}`\n"


def _escaped(text: str) -> str:
    return re.sub(r"(?<!\\)([*<])", r"\\\1", text)


def with_presets(page: str) -> str:
    """The page with the table of presets between its marks. Raises ValueError where it has none."""
    rows = "\n".join(_preset_rows())
    filled, count = _TABLE.subn(lambda found: f"{found[1]}{rows}\n{found[2]}", page)
    if count != 1:
        raise ValueError(f"{count} places for the table of presets, there must be one")
    return filled


def _preset_rows() -> Iterator[str]:
    from stgcma.model import PRESET_NAMES, preset_config
    from stgcma.model.accounting import count_parameters

    yield "| preset | backbone | adapter ratio | trained | all |"
    yield "|---|---|---|---:|---:|"
    for name in PRESET_NAMES:
        config = preset_config(name)
        counts = count_parameters(config)
        depth = "-".join(map(str, config.depths))
        backbone = f"{config.backbone}, {config.width} wide, {depth} deep, patch {config.patch}"
        ratio = " ".join(f"{ratio:g}" for ratio in config.adapter_ratio)
        trained = counts["adapter"] + counts["head"]
        yield f"| `{name}` | {backbone} | {ratio} | {trained:,} | {sum(counts.values()):,} |"


def main() -> None:
    """Writes the pages and names those that changed."""
    for path, text in pages().items():
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            sys.stdout.write(f"{path.relative_to(FOLDER.parent)}\n")


if __name__ == "__main__":
    main()
