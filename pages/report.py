"""One self-contained HTML page of a run: its score, its curves, and what it says of some test clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InputError
from ..shards.files import publish
from ..train.evaluation import score_rows
from ..train.run_folder import METRICS, RunFolder
from .charts import Series, line_chart
from .views import clip_views

_LEADS = {
    "ave": "What happens when, second by second",
    "avs": "Which pixels make the sound, second by second",
    "avqa": "Answers to questions about what is seen and heard",
}


def write_report(runs: list[Path], *, split: str = "test") -> Path:
    """Writes `report.html` into the first of `runs`, with the others' scores beside its own.

    Each run must have been evaluated on `split`. Returns the page's path.
    """
    if not runs:
        raise InputError("RUN is missing: name at least one run folder")
    folders = [RunFolder.open(path) for path in runs]
    results = [folder.read_json(f"evaluation-{split}.json") for folder in folders]
    main, result = folders[0], results[0]
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=f"{main.read_config().preset} · {main.path.resolve().name}",
            lead=_LEADS[result["task"]],
            config=(main.path / "config.yaml").read_text(encoding="utf-8"),
            about=main.read_json("run.json"),
            split=split,
            scores=[
                {"run": folder.path.name, "result": one, "about": folder.read_json("run.json")}
                for folder, one in zip(folders, results, strict=True)
            ],
            rows=score_rows(result),
            charts=curves(main),
            clips=clip_views(main, result["shards"], split),
        )
    )
    publish(main.report, page.encode())
    return main.report


def curves(run: RunFolder) -> list[str]:
    """The run's loss and score over the epochs, as SVG."""
    rows = run.read_rows(METRICS)
    epochs = [row["epoch"] for row in rows]
    scores = [
        Series(name.partition("_")[0], [row[name] for row in rows])
        for name in sorted(rows[0])
        if name.startswith(("train_", "val_", "test_"))
    ]
    return [
        line_chart("Loss by epoch (training)", epochs, [Series("train", [row["loss"] for row in rows])]),
        line_chart("Score by epoch", epochs, scores, percent=True),
    ]


def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
