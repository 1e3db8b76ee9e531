"""The list of guards matches the tree; `make mutants` removes them."""

import ast
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("mutants_run", Path(__file__).with_name("run.py"))
run = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)  # dataclasses look it up there
_SPEC.loader.exec_module(run)
GUARDS = run.read_guards()


@cache
def text_of(file):
    return (run.ROOT / file).read_text(encoding="utf-8")


@cache
def dump_of(file):
    return ast.dump(ast.parse(text_of(file)))


def test_a_guard_is_there_and_can_be_taken_out(subtests):
    for guard in GUARDS:
        with subtests.test(guard.name):
            without = guard.removed(text_of(guard.file))
            assert ast.dump(ast.parse(without)) != dump_of(guard.file)


def test_the_tests_of_a_guard_are_there(subtests):
    for guard in GUARDS:
        with subtests.test(guard.name):
            assert guard.tests
            for test in guard.tests:
                file, _, name = test.partition("::")
                assert (run.ROOT / file).is_file(), test
                assert not name or re.search(rf"^def {name}\(", text_of(file), re.MULTILINE), test


def test_guards_are_many_and_have_names_of_their_own():
    assert len(GUARDS) >= 40
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)
    assert len({(guard.file, guard.text.strip(), guard.without.strip()) for guard in GUARDS}) == len(GUARDS)


def test_a_text_that_is_not_there_once_is_refused():
    guard = run.Guard("a guard", "a.py", "check()\n", "", ("tests",))
    assert guard.removed("a\ncheck()\nb\n") == "a\nb\n"
    for source in ("a\n", "check()\ncheck()\n"):
        with pytest.raises(
            ValueError, match=rf"its text is {source.count('check')} times in a\.py, must be once"
        ):
            guard.removed(source)


@pytest.mark.parametrize(
    ("status", "said"),
    [(0, "NO TEST FAILS"), (1, None), (None, None), (2, "pytest ended with status 2: 1 error in 0.1s")],
)
def test_what_the_tests_must_come_to(status, said):
    assert run.verdict(run.Outcome(status, (), "...\n1 error in 0.1s\n", 0.1)) == said
