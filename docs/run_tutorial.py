"""Run `docs/tutorial.ipynb` in a temporary folder and store what it prints and draws: `make tutorial`."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from PIL import Image

NOTEBOOK = Path(__file__).resolve().parent / "tutorial.ipynb"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_CELL_SECONDS, _START_SECONDS = 1200, 300
_MOST_PIXELS = (1100, 2000)


def run(folder: Path) -> Any:
    """Return the notebook after it ran in `folder`. Raises CellExecutionError when a cell fails."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(
        notebook,
        timeout=_CELL_SECONDS,
        startup_timeout=_START_SECONDS,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata = {}
            cell.outputs = _kept(cell.outputs, folder)
    return notebook


def _kept(outputs: list[Any], folder: Path) -> list[Any]:
    """Join the texts of a cell, without bars of progress and the folder; make its pictures small."""
    kept: list[Any] = []
    text = ""
    for output in outputs:
        if output.output_type == "stream":
            text += output.text
        else:
            picture = _small(output.data["image/png"])
            kept.append(nbformat.v4.new_output("display_data", data={"image/png": picture}))  # type: ignore[no-untyped-call]
    lines = (
        line.rpartition("\r")[2].rstrip() for line in _ESCAPES.sub("", text.replace("\r\n", "\n")).split("\n")
    )
    lines = (line for line in lines if "━" not in line)
    text = "\n".join(lines).replace(str(folder), "FOLDER").strip("\n")
    stream = [nbformat.v4.new_output("stream", name="stdout", text=text + "\n")] if text else []  # type: ignore[no-untyped-call]
    return [*stream, *kept]


def _small(encoded: str) -> str:
    """Return a picture of a cell, base64 of PNG, with at most 1,100 columns and 96 colours."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        small = picture.convert("RGB")
    small.thumbnail(_MOST_PIXELS)
    written = io.BytesIO()
    small.quantize(96, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def main() -> None:
    """Run the notebook and write it back."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = run(Path(folder))
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    NOTEBOOK.write_text(text + "\n", "utf-8")
    sys.stdout.write(f"{NOTEBOOK}\n")


if __name__ == "__main__":
    main()
