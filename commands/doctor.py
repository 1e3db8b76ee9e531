"""`stgcma doctor`: check the installation and the machine."""

from __future__ import annotations

from collections import Counter

import typer

from ..console import message
from ..errors import StgcmaError
from ..strict_json import strict_json
from .options import Json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(doctor)


def doctor(
    json_: Json = False,
) -> None:
    """Check this machine, and suggest a fix for each problem.

    Checks the installed packages and tools, and decodes built-in clips. The exit status is 1 when something
    that preprocessing, training or evaluation needs does not work.

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
        raise StgcmaError(f"problems: {problems}, warnings: {warnings}; see the fix after each →")
    message(f"no problems, warnings: {warnings}")
