"""Reads that could be unbounded are made in one place each; every other module calls that place."""

import ast
import random
import re
from pathlib import Path

import pytest
from stgcma.bounded import parse_json
from stgcma.errors import InputError

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "app",
    "columns",
    "export",
    "hub",
    "preprocess",
    "shards",
    "model",
    "train",
    "pages",
    "predict",
    "doctor",
    "commands",
    "figures",
)

# A call by its last two names to the files that may make it.
ONLY_IN = {
    "Image.open": {"preprocess/media/pictures.py", "figures/drawing.py"},
    "json.load": set(),
    # Of JSON that this program has just written.
    "json.loads": {"bounded.py", "preprocess/pipeline/annotations.py", "hub/traces.py"},
    "yaml.load": set(),
    "yaml.safe_load": {"bounded.py", "train/config.py", "train/preset_files.py"},  # of presets and --set
    "np.load": set(),
    "numpy.load": set(),
    "tarfile.open": set(),
    "parquet.ParquetFile": {"shards/manifest.py", "hub/traces.py"},
    "parquet.read_table": set(),
    "torch.load": {"model/torch_files.py", "model/weights.py"},
    "jit.load": {"model/weights.py"},
    "zipfile.ZipFile": {"model/torch_files.py", "model/weights.py", "app/served_run.py"},
    "h5py.File": {"preprocess/collections/ave_order.py"},
    "pickle.load": set(),
    # Of the parent, of a child, and of the process itself.
    "pickle.loads": {
        "preprocess/media/child_process.py",
        "train/workers.py",
        "preprocess/collections/packed.py",
    },
}
# Names that are called alone.
NAMES = {"safe_open": {"model/tensor_files.py"}, "load_file": set()}


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                value = function.value
                owner = value.id if isinstance(value, ast.Name) else getattr(value, "attr", "")
                yield f"{owner}.{function.attr}", node
            elif isinstance(function, ast.Name):
                yield function.id, node


def modules():
    return sorted(
        {*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))}
    )


def forbidden(tree, file):
    """The reads in a module that are made elsewhere."""
    allowed = ONLY_IN | NAMES
    for name, call in calls(tree):
        if name in allowed and file not in allowed[name]:
            yield f"{file}:{call.lineno}: {name}"
        if name == "Image.open" and "formats" not in {keyword.arg for keyword in call.keywords}:
            yield f"{file}:{call.lineno}: Image.open without formats="
        if name == "torch.load" and "weights_only" not in {keyword.arg for keyword in call.keywords}:
            yield f"{file}:{call.lineno}: torch.load without weights_only="


def test_unbounded_reads_are_made_in_one_place_each():
    found = []
    for path in modules():
        found += forbidden(ast.parse(path.read_text()), path.relative_to(ROOT).as_posix())
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "Image.open(path)",
        "PIL.Image.open(io.BytesIO(content))",
        "json.loads(text)",
        "np.load(stream, allow_pickle=False)",
        "tarfile.open(path)",
        "torch.load(path)",
        "safe_open(path, framework='pt')",
    ],
)
def test_a_bare_read_is_found(line):
    assert list(forbidden(ast.parse(line), "pages/odd.py"))


def test_pillow_must_be_told_the_formats():
    (found,) = forbidden(ast.parse("Image.open(path)"), "preprocess/media/pictures.py")
    assert found == "preprocess/media/pictures.py:1: Image.open without formats="


def refusal(text):
    try:
        parse_json(text, where="it")
    except InputError as error:
        return str(error)
    return ""


def test_depth_and_digits_are_bounded_wherever_they_are():
    rng = random.Random(1)
    for depth in (1, 32, 33, 34, 200):
        text = "[" * depth + "]" * depth
        wide = f"[{'[],' * 60}{text[1:-1] or '0'}]"
        for each in (text, wide, text.replace("[", '{"a":[').replace("]", "]}")[: 12 * depth]):
            levels = max(each[:place].count("[") + each[:place].count("{") - each[:place].count("]")
                         - each[:place].count("}") for place in range(len(each) + 1))  # fmt: skip
            assert ("is nested deeper" in refusal(each)) == (levels > 32), each
    assert refusal('["' + "[" * 99 + '"' + ", []" * 40 + "]") == ""
    for _ in range(200):
        before, digits = rng.randrange(900), rng.choice((399, 400, 401, 402, 900))
        number = "".join(rng.choices("0123456789", k=digits))
        text = f'["{"x" * before}", {"1" + number[1:]}]'
        assert ("a number of more than 400 digits" in refusal(text)) == bool(re.search("[0-9.]{401}", text))
