"""One self-contained HTML page of a run: its score, its curves, and what it says of some test clips."""

from __future__ import annotations

import base64
import io
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..model import load_model
from ..shards.files import publish
from ..shards.reader import ClipReader
from .charts import Series, line_chart
from .data import ClipDataset, make_loader
from .evaluation import pick_device, predictions
from .run_folder import RunFolder

CLIPS_SHOWN = 8
_FRAME_PIXELS = 112
# Dark to bright, even in lightness; log-mel energies are drawn with it.
_HEAT = ((8, 8, 24), (70, 20, 105), (165, 45, 105), (235, 105, 70), (252, 200, 110), (255, 250, 220))


@dataclass(frozen=True)
class ClipView:
    """A clip as the page shows it. `true` and `predicted` are class indices `[T]`, `confidence` in [0, 1]."""

    key: str
    frames: str
    spectrogram: str
    true: list[int]
    predicted: list[int]
    confidence: list[float]

    @property
    def right(self) -> int:
        """Seconds whose class is right."""
        return sum(a == b for a, b in zip(self.true, self.predicted, strict=True))


def write_report(runs: list[Path], *, split: str = "test") -> Path:
    """Writes `report.html` into the first of `runs`, with the others' scores beside its own.

    Each run must have been evaluated on `split`. Returns the page's path.
    """
    if not runs:
        raise InputError("RUN is missing: name at least one run folder")
    folders = [RunFolder.open(path) for path in runs]
    results = [folder.read_json(f"evaluation-{split}.json") for folder in folders]
    main = folders[0]
    classes = list(results[0]["by_class"])
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=f"{main.read_config().preset} · {main.path.resolve().name}",
            config=(main.path / "config.yaml").read_text(encoding="utf-8"),
            about=main.read_json("run.json"),
            split=split,
            scores=[
                {"run": folder.path.name, "result": result, "about": folder.read_json("run.json")}
                for folder, result in zip(folders, results, strict=True)
            ],
            charts=curves(main),
            classes=classes,
            hues=[round(360 * index / max(len(classes) - 1, 1)) for index in range(len(classes))],
            clips=clip_views(main, Path(results[0]["shards"]), split),
        )
    )
    publish(main.report, page.encode())
    return main.report


def curves(run: RunFolder) -> list[str]:
    """The run's loss and accuracy over the epochs, as SVG."""
    rows = run.read_metrics()
    epochs = [row["epoch"] for row in rows]
    accuracies = [
        Series(name.removesuffix("_accuracy"), [row[name] for row in rows])
        for name in sorted(rows[0])
        if name.endswith("_accuracy")
    ]
    return [
        line_chart("Loss by epoch (training)", epochs, [Series("train", [row["loss"] for row in rows])]),
        line_chart("Accuracy by epoch (seconds right)", epochs, accuracies, percent=True),
    ]


def clip_views(run: RunFolder, shards: Path, split: str) -> list[ClipView]:
    """`CLIPS_SHOWN` clips of `split`, spread evenly from the best predicted to the worst."""
    config = run.read_config()
    device = pick_device()
    model = load_model(run.best)
    model.to(device)
    dataset = ClipDataset(shards, split, config.data, audio_shape=model.config.audio_shape)
    loader, _ = make_loader(dataset, config.optim.batch_size, seed=None, workers=config.data.workers)
    rows: list[tuple[int, npt.NDArray[Any], npt.NDArray[Any]]] = []
    for batch, probabilities in predictions(model, loader, model.config.modality, device):
        rows += [
            (len(rows) + place, true, probability)
            for place, (true, probability) in enumerate(
                zip(batch.labels.numpy(), probabilities.numpy(), strict=True)
            )
        ]
    rows.sort(key=lambda row: -int((row[2].argmax(-1) == row[1]).sum()))
    chosen = np.unique(np.linspace(0, len(rows) - 1, CLIPS_SHOWN).round().astype(int))
    views = []
    with closing(ClipReader(shards)) as reader, closing(dataset):
        for place in chosen:
            index, true, probability = rows[place]
            members = reader.read(dataset.places[index])
            views.append(_view(dataset.places[index].key, members, dataset.fbank, true, probability))
    return views


def _view(
    key: str, members: dict[str, bytes], fbank: str, true: npt.NDArray[Any], probability: npt.NDArray[Any]
) -> ClipView:
    return ClipView(
        key=key,
        frames=data_url(frame_strip(members), "JPEG"),
        spectrogram=data_url(spectrogram(np.load(io.BytesIO(members[f"{fbank}.npy"]))), "JPEG"),
        true=true.tolist(),
        predicted=probability.argmax(-1).tolist(),
        confidence=probability.max(-1).tolist(),
    )


def frame_strip(members: dict[str, bytes]) -> Any:
    """The clip's frames side by side, as a Pillow image."""
    from PIL import Image

    names = sorted(name for name in members if name.startswith("frame_"))
    strip = Image.new("RGB", (_FRAME_PIXELS * len(names), _FRAME_PIXELS))
    for place, name in enumerate(names):
        frame = Image.open(io.BytesIO(members[name])).resize((_FRAME_PIXELS, _FRAME_PIXELS))
        strip.paste(frame, (place * _FRAME_PIXELS, 0))
    return strip


def spectrogram(features: npt.NDArray[np.float16]) -> Any:
    """Log-mel energies `[K, frames, bins]` as a Pillow image: time to the right, frequency upwards."""
    from PIL import Image

    energies = features.astype(np.float32).reshape(-1, features.shape[-1]).T[::-1]
    low, high = np.percentile(energies, [2, 99.5])
    level = np.clip((energies - low) / max(high - low, 1e-6), 0, 1)
    stops = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(level, stops, [colour[channel] for colour in _HEAT]) for channel in range(3)]
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    return image.resize((_FRAME_PIXELS * len(features), _FRAME_PIXELS))


def data_url(image: Any, kind: str) -> str:
    """A Pillow image as a `data:` URL, so that the page needs no other file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=85)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
