"""Arguments and options that several commands take, each declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from ..train.trackers import TRACKERS


class Split(StrEnum):
    """Splits of a collection."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Modality(StrEnum):
    """Modalities that a model takes; `av-nofusion` takes both without exchange between them."""

    AV = "av"
    AV_NOFUSION = "av-nofusion"
    VIDEO = "video"
    AUDIO = "audio"


class MissingAudio(StrEnum):
    """Policies for a clip without an audio stream."""

    QUARANTINE = "quarantine"
    SILENCE = "silence"


def _positive(workers: int) -> int:
    if workers < 1:
        raise InputError(f"--workers is {workers}, must be at least 1")
    return workers


def fetched_run(run: Path | None) -> Path | None:
    """Return the folder of a run; one that is named `hf:ORG/NAME` is fetched from the Hub."""
    return run if run is None else fetched_runs([run])[0]


def fetched_runs(runs: list[Path]) -> list[Path]:
    """Return the folders of runs; those that are named `hf:ORG/NAME` are fetched from the Hub."""
    from ..hub.names import is_hub_name

    if not any(map(is_hub_name, runs)):
        return runs
    from ..hub.fetch import local_run

    return list(map(local_run, runs))


# For `Annotated`, where commands differ in the default.
OUT_FILE_OPTION = typer.Option("--out", help="The file to write.", metavar="FILE")
OUT_FOLDER_OPTION = typer.Option("--out", help="The folder to write.", metavar="DIR")
CLIPS_OPTION = typer.Option("--clips", help="Number of clips to synthesise.", min=10)

# Folders and files.
Raw = Annotated[str, typer.Argument(help="The collection's folder, a path or a URL.", metavar="RAW")]
Out = Annotated[str, typer.Argument(help="The shard directory, a path or a URL.", metavar="OUT")]
WorkDir = Annotated[Path, typer.Argument(help="The folder for shards, run and page.", metavar="WORKDIR")]
NewRun = Annotated[
    Path, typer.Option("--run", "--run-folder", help="The run folder to write.", metavar="RUN")
]
TrainedRun = Annotated[
    Path | None,
    typer.Argument(
        help="The run folder, or hf:ORG/NAME; left out with --model.", metavar="RUN", callback=fetched_run
    ),
]
TrainedRuns = Annotated[
    list[Path],
    typer.Argument(
        help="Evaluated run folders, or hf:ORG/NAME; clips are shown of the first.",
        metavar="RUN…",
        callback=fetched_runs,
    ),
]
OtherShards = Annotated[
    str | None,
    typer.Option(
        "--shards", help="A shard directory in place of the run's; --model may need it.", metavar="OUT"
    ),
]
CheckpointShards = Annotated[
    str | None,
    typer.Option(
        "--shards",
        help="A shard directory with the classes of a checkpoint that does not record them.",
        metavar="OUT",
    ),
]
CardShards = Annotated[
    str | None,
    typer.Option(
        "--shards",
        help="Shards of the run's data, where they have moved; a data set on the Hub is linked in the card.",
        metavar="OUT",
    ),
]

# Preprocessing.
Workers = Annotated[int, typer.Option("--workers", help="Number of worker processes.", callback=_positive)]
MissingAudioPolicy = Annotated[
    MissingAudio, typer.Option("--missing-audio", help="Policy for clips without an audio stream.")
]
AudioStream = Annotated[
    str,
    typer.Option("--audio-stream", help="Audio stream to decode: default, loudest, or a number from 0."),
]
Trim = Annotated[
    bool, typer.Option("--trim", help="Cut clips that are longer than their annotation to its length.")
]
MaxFailed = Annotated[
    str,
    typer.Option("--max-failed", help="Exit with 3 when a larger share of clips is quarantined."),
]

RetryQuarantined = Annotated[
    bool, typer.Option("--retry-quarantined", help="Rebuild shards with quarantined clips.")
]
Repair = Annotated[
    bool, typer.Option("--repair", help="Rebuild only shards that are missing or fail their hash.")
]

# Training and evaluation.
Preset = Annotated[str, typer.Option("--preset", help="A preset; `stgcma presets` lists them.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help=f"A setting, section.key=value; may be repeated. For train.trackers=[…]: {', '.join(TRACKERS)}.",
        metavar="KEY=VALUE",
    ),
]
Seeds = Annotated[int, typer.Option("--seeds", help="Number of seeds to train with.", min=1)]
ModalityChoice = Annotated[
    Modality | None, typer.Option("--modality", help="Modalities that the model takes.")
]
Backbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="Another backbone than the preset's: a name of `stgcma presets --backbones`, or timm's name of "
        "a plain vision transformer or of a Swin V2.",
        metavar="NAME",
    ),
]
NewWeights = Annotated[
    str | None,
    typer.Option(
        "--weights", help="Backbone weights: timm, random or a file. By default the preset's choice."
    ),
]
"""For commands that build a model."""
AdapterChoice = Annotated[
    str | None,
    typer.Option(
        "--adapter", help="The trained part of the blocks, such as lora. By default stg-cma.", metavar="NAME"
    ),
]
FoundWeights = Annotated[
    str | None,
    typer.Option("--weights", help="File of the backbone weights, when it has moved since training."),
]
"""For commands that load a trained model."""
CheckpointFolder = Annotated[
    Path | None,
    typer.Option(
        "--model", help="A checkpoint folder, in place of RUN.", metavar="DIR", callback=fetched_run
    ),
]
CheckpointPreset = Annotated[
    str | None, typer.Option("--preset", help="The preset of a checkpoint that does not record it.")
]
InitFrom = Annotated[
    Path | None,
    typer.Option(
        "--init-from",
        help="A run, hf:ORG/NAME or checkpoint folder; start from its adapters, and its head where it fits.",
        metavar="RUN",
        callback=fetched_run,
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue an interrupted command; start when there is none.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the content of the output folder.")]
Device = Annotated[str, typer.Option("--device", help="auto (a GPU when there is one), cpu or cuda.")]

# Output.
ShownSplit = Annotated[Split | None, typer.Option("--split", help="Show only clips of this split.")]
ScoredSplit = Annotated[Split, typer.Option("--split", help="The evaluated split.")]
ShownClips = Annotated[int, typer.Option("--clips", help="Number of clips to show; 0 for none.", min=0)]
InspectedClips = Annotated[int, typer.Option("--clips", help="Number of clips to show.", min=1)]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random choices.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def model_settings(
    *,
    modality: Modality | None = None,
    backbone: str | None = None,
    adapter: str | None = None,
    weights: str | None = None,
) -> list[str]:
    """Return the options of a new model that were given, as settings of the configuration."""
    import json

    given = {
        "modality": None if modality is None else modality.value,
        "backbone": backbone,
        "adapter": adapter,
        "weights": weights,  # `random` as any other value: `load_preset` knows it
    }
    return [f"model.{name}={json.dumps(value)}" for name, value in given.items() if value is not None]


def read_share(text: str) -> float:
    """Parse the value of `--max-failed`, such as `5%` or `0.05`. Raises InputError for anything else."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"--max-failed is {text!r}, must be a share such as 5% or 0.05")
    return value


def one_model(run: Path | None, model: Path | None) -> Path:
    """Return the folder of the trained model, RUN or `--model`.

    Raises InputError unless exactly one of them is given.
    """
    if (run is None) == (model is None):
        said = "RUN is missing" if run is None else f"RUN is {run} and --model is {model}"
        raise InputError(f"{said}; give a run folder, or a checkpoint folder with --model")
    return run or model or Path()
