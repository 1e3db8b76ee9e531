"""`--help` of every command: quick, complete, with an example."""

import json
import resource
import subprocess
import sys

import pytest
from stgcma import __version__, cli


def commands_of(app, before=""):
    """Every command of a Typer app as it is typed, without `stgcma`."""
    for command in app.registered_commands:
        yield before + (command.name or command.callback.__name__.replace("_", "-"))
    for group in app.registered_groups:
        yield from commands_of(group.typer_instance, f"{before}{group.name} ")


COMMANDS = tuple(commands_of(cli.app))

# Every command's help in one process, and what each has loaded by then: typer takes pydantic for its options.
HELP = """
import json, sys
import annotated_types, pydantic, typer
def loaded():
    return {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
before = loaded()
from stgcma import cli
for command in json.loads(sys.argv[1]):
    sys.argv = ["stgcma", *command.split(), "--help"]
    try:
        cli.main()
    except SystemExit as exit_:
        assert not exit_.code, command
    more = sorted(name for name in loaded() - before if not name.startswith("_"))
    print(json.dumps([command, more]), file=sys.stderr)
"""


def test_help_loads_nothing_but_the_command_line():
    commands = ["", *COMMANDS]
    run = [sys.executable, "-c", HELP, json.dumps(commands)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines == [[command, ["stgcma"]] for command in commands]
    assert all(f"Usage: stgcma {command}" in done.stdout for command in commands)


def test_help_shows_whole_summaries_on_a_narrow_terminal(stgcma):
    for group in ((), ("shards",)):
        result = stgcma(*group, "--help")
        assert "…" not in result.stdout
        assert "..." not in result.stdout.partition("Commands:")[2]


def test_the_version_is_shown(stgcma):
    result = stgcma("--version")
    assert (result.status, result.stdout) == (0, f"stgcma {__version__}\n")


def test_windows_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("stgcma: Windows is not supported")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(stgcma, command):
    result = stgcma(*command.split(), "--help")
    assert result.status == 0
    assert stgcma(*command.split(), "-h").stdout == result.stdout
    assert f"Example: stgcma {command}" in result.stdout


def test_an_unknown_command_is_status_2(stgcma):
    result = stgcma("transmogrify")
    assert result.status == 2
    assert "transmogrify" in result.stderr


def user_seconds(*arguments):
    """The processor time of a Python process, the least of three runs."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        times.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    return min(times)


def test_help_takes_little_longer_than_the_import_of_typer():
    """Relative, since processor time itself doubles on a busy machine."""
    assert user_seconds("-m", "stgcma", "--help") < 3 * user_seconds("-c", "import typer.main, rich.console")
