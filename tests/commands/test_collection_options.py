"""Options that a collection declares: read from the command line, checked, listed in the help."""

from dataclasses import dataclass

import pytest
from stgcma.commands.collection_options import _first_argument, _taken
from stgcma.errors import InputError
from stgcma.preprocess.collections.options import CollectionOptions, option


@dataclass(frozen=True, kw_only=True)
class Example(CollectionOptions):
    """One option of each kind."""

    width: int = option(10, "Width.", minimum=2, maximum=60)
    share: float | None = option(None, "Share.", kind=float, minimum=0)
    kind: str = option("a", "Kind.", choices=("a", "b"))


def test_values_are_read_from_texts():
    assert Example.parse({"width": "12", "share": "0.5", "kind": "b"}) == Example(
        width=12, share=0.5, kind="b"
    )
    assert Example.parse({"width": 12}) == Example(width=12)
    assert Example().to_json() == {"width": 10, "share": None, "kind": "a"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("width", "1", "width is '1', must be a whole number from 2 to 60"),
        ("width", "2.5", "width is '2.5', must be a whole number"),
        ("width", 2.5, "width is 2.5, must be a whole number"),
        ("width", True, "width is True, must be"),
        ("share", "-1", "share is '-1', must be a number from 0"),
        ("share", "nan", "share is 'nan', must be a number from 0"),
        ("kind", "c", "kind is 'c', must be one of a, b"),
        ("with", "1", "the collection has no option 'with'; did you mean width?"),
    ],
)
def test_a_wrong_value_is_named(name, value, said):
    with pytest.raises(InputError) as caught:
        Example.parse({name: value})
    assert said in str(caught.value)


def test_a_value_in_python_is_checked_as_well():
    with pytest.raises(InputError, match=r"^width is 61, must be a whole number from 2 to 60"):
        Example(width=61)


def test_options_are_taken_out_of_the_arguments():
    flags = {"--width": "width"}
    assert _taken(["RAW", "--width", "3", "OUT", "--json"], flags) == (
        {"width": "3"},
        ["RAW", "OUT", "--json"],
    )
    assert _taken(["--width=3", "RAW"], flags) == ({"width": "3"}, ["RAW"])
    assert _taken(["RAW", "--", "--width", "3"], flags) == ({}, ["RAW", "--", "--width", "3"])
    with pytest.raises(InputError, match=r"^--width needs a value"):
        _taken(["RAW", "--width"], flags)


def test_the_command_line_passes_them_on(stgcma, monkeypatch):
    from stgcma import preprocess

    given = []

    def note(name, raw, out, options):
        given.append((name, raw, out, dict(options.collection)))
        raise InputError("noted")

    monkeypatch.setattr(preprocess, "preprocess", note)
    stgcma("preprocess", "events", "--window-seconds", "5", "RAW", "OUT", "--hop-seconds=2")
    stgcma("preprocess", "ave", "RAW", "OUT")
    assert given == [
        ("events", "RAW", "OUT", {"window_seconds": "5", "hop_seconds": "2"}),
        ("ave", "RAW", "OUT", {}),
    ]


def test_a_collection_has_its_own_options_only(stgcma, tmp_path):
    result = stgcma("preprocess", "ave", tmp_path, tmp_path / "out", "--window-seconds", "5")
    assert (result.status, "--window-seconds" in result.stderr) == (2, True)
    result = stgcma("preprocess", "events", tmp_path, tmp_path / "out", "--window-seconds", "1")
    assert (result.status, result.stderr) == (
        2,
        "stgcma: window_seconds is '1', must be a whole number from 2 to 60\n",
    )


def test_help_lists_them_with_the_collection(stgcma):
    assert "--hop-seconds" not in stgcma("preprocess", "--help").stdout
    shown = stgcma("preprocess", "events", "--help").stdout
    assert "Options of the collection events:" in shown
    assert "--window-seconds INT" in shown
    assert stgcma("run", "events", "--help").stdout.count("--hop-seconds") == 1


@pytest.mark.parametrize(
    ("args", "first"),
    [
        (["avvp", "events", "work"], "avvp"),  # RAW is called like a collection
        (["--workers", "2", "events", "RAW"], "events"),
        (["--workers=2", "--json", "events", "RAW"], "events"),
        (["--window-seconds", "5", "events", "RAW"], "events"),
        (["--json", "--", "events"], "events"),
        (["--json"], None),
    ],
)
def test_the_first_argument_alone_can_be_the_collection(args, first):
    assert _first_argument(args, without_value={"--json", "--help"}) == first
