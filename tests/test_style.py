"""Limits on the form of the source: sizes, import circles, copies, and the wording of docstrings."""

import ast
import gc
import re
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("style")  # one process parses the files, once

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "app",
    "columns",
    "export",
    "commands",
    "doctor",
    "figures",
    "hub",
    "model",
    "pages",
    "predict",
    "preprocess",
    "shards",
    "train",
)
FILES = sorted([*ROOT.glob("*.py"), *(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))])
# Of these, only the docstrings are checked.
OTHER_FILES = sorted(path for name in ("benchmarks", "docs", "tests") for path in (ROOT / name).rglob("*.py"))
MOST_FUNCTION_LINES = 70
MOST_CODE_LINES = 300
MOST_ALIKE = 0.3
SHINGLE_LINES = 3
FEWEST_SHINGLES = 15
NOT_FIRST_WORDS = {"What", "Which", "Whether", "How", "Who", "Where", "Why"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.fixture(scope="module", autouse=True)
def trees_are_not_garbage():
    """Trees are large and live until the last test: collecting takes twice as long as parsing."""
    gc.disable()
    yield
    gc.enable()


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(text):
    return ast.parse(text)


def documented(tree):
    """Every module, class and function of a tree that has a docstring, with the docstring's node."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            yield node, node.body[0]


@cache
def code_lines(text):
    """The lines of code with their numbers: no blank lines, comments or docstrings."""
    docstrings = {
        line
        for _, statement in documented(tree_of(text))
        for line in range(statement.lineno, statement.end_lineno + 1)
    }
    strings = {
        line
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    numbers = {
        number
        for number, line in enumerate(text.splitlines(), 1)
        if number in strings or (line.strip() and not line.lstrip().startswith("#"))
    }
    lines = text.splitlines()
    return {number: lines[number - 1].strip() for number in sorted(numbers - docstrings)}


def test_the_scheduler_is_told_the_group(request):
    """Otherwise every process makes what the tests of a group share."""
    assert request.node.nodeid.endswith("@style") == request.config.getoption("loadgroup", False)


def test_code_is_told_from_comments_and_docstrings():
    text = '"""M."""\n\n# A comment.\ndef f():\n    """D.\n\n    D.\n    """\n    return """x\ny"""  # why\n'
    assert list(code_lines(text)) == [4, 9, 10]


def test_files_are_short():
    sizes = {name_of(path): len(code_lines(path.read_text("utf-8"))) for path in FILES}
    assert {name: size for name, size in sizes.items() if size > MOST_CODE_LINES} == {}


def test_functions_are_short():
    long = {}
    for path in FILES:
        for node in ast.walk(tree_of(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = node.end_lineno - node.lineno + 1
                if size > MOST_FUNCTION_LINES:
                    long[f"{name_of(path)}:{node.name}"] = size
    assert long == {}


def test_docstrings_begin_with_an_imperative_or_a_noun():
    wrong = [
        f"{name_of(path)}:{statement.lineno}: {words[0]} …"
        for path in [*FILES, *OTHER_FILES]
        for node, statement in documented(tree_of(path.read_text("utf-8")))
        if (words := re.findall(r"\w+", ast.get_docstring(node))) and words[0] in NOT_FIRST_WORDS
    ]
    assert wrong == []


def module_of(path):
    parts = ["stgcma", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_at_top(path, modules):
    """The modules of the package that importing a file imports by name, not those under TYPE_CHECKING."""
    package = module_of(path).split(".")[: None if path.name == "__init__.py" else -1]
    statements = list(tree_of(path.read_text("utf-8")).body)
    while statements:
        node = statements.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.If | ast.Try | ast.With):
            statements += node.body
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            yield from names & modules
            if source in modules and not names <= modules:
                yield source


def find_circle(graph):
    """The modules of one import circle in order, an empty list when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_a_circle_is_found():
    assert sorted(set(find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}))) == ["a", "b", "c"]


def test_no_imports_run_in_a_circle():
    modules = {module_of(path) for path in FILES}
    graph = {module_of(path): set(imported_at_top(path, modules)) for path in FILES}
    assert sum(map(len, graph.values())) > len(FILES)
    assert find_circle(graph) == []


def shingles(text):
    """Runs of consecutive lines of code, without imports."""
    lines = [line for line in code_lines(text).values() if not re.match(r"(from|import) |[)\]}]+$", line)]
    return {tuple(lines[place : place + SHINGLE_LINES]) for place in range(len(lines) - SHINGLE_LINES + 1)}


def alike(files):
    """Pairs of files, and the share of common shingles in the smaller one, where it is above the limit."""
    places = defaultdict(set)
    counts = {}
    for name, text in files.items():
        found = shingles(text)
        counts[name] = len(found)
        for shingle in found:
            places[shingle].add(name)
    common = defaultdict(int)
    for names in places.values():
        for pair in combinations(sorted(names), 2):
            common[pair] += 1
    for pair, count in common.items():
        smaller = min(counts[name] for name in pair)
        if smaller >= FEWEST_SHINGLES and count / smaller > MOST_ALIKE:
            yield pair, round(count / smaller, 2)


def test_a_copy_is_found():
    text = "".join(f"a{number} = {number}\n" for number in range(30))
    other = "".join(f"b{number} = {number}\n" for number in range(30))
    assert dict(alike({"one": text, "two": text + other, "three": other})) == {
        ("one", "two"): 1.0,
        ("three", "two"): 1.0,
    }


def test_no_two_files_are_alike():
    assert dict(alike({name_of(path): path.read_text("utf-8") for path in FILES})) == {}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_is_looked_at(name):
    assert any(path.is_relative_to(ROOT / name) for path in FILES)


def test_no_package_is_left_out():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(PACKAGES)
