"""`stgcma doctor`: whether this machine can do the work."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from ..console import message
from ..errors import StgcmaError
from ..strict_json import strict_json


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(doctor)


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Find out what does not work here, and what helps.

    Looks at what is installed and decodes built-in clips.

    Exit status 1 when something that preprocessing, training or evaluation needs is broken.

    Example: stgcma doctor
    """
    from ..doctor.diagnosis import diagnose

    levels: Counter[str] = Counter()
    findings = []
    area = None
    for found_in, finding in diagnose():
        levels[finding.level.value] += 1
        findings.append({"area": found_in} | finding.to_json())
        if json_:
            continue
        if found_in != area:
            area = found_in
            typer.echo(area)
        typer.echo(finding.line())
    problems, warnings = levels["problem"], levels["warning"]
    if json_:
        content = {"ok": not problems, "counts": dict(levels), "findings": findings}
        typer.echo(strict_json(content, indent=2))
    if problems:
        raise StgcmaError(f"problems: {problems}, warnings: {warnings}; what to do stands behind the arrows")
    message(f"no problems, warnings: {warnings}")
