"""From a run or a shard directory to the files of its repository, card included, checked for traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..console import message, progress
from ..errors import InputError, StgcmaError
from ..figures import percent
from ..pages.clip_picture import draw_clip
from ..pages.tasks import VIEWS
from ..pages.views import ClipView, predicted_clip
from ..shards.manifest import read_dataset
from ..shards.schema import DATASET_FILE
from ..shards.storage import Location, absolute, is_url
from ..train.run_folder import RunFolder
from .card_text import checked_license
from .dataset_card import dataset_card
from .files import CARD, PICTURE, SPACE_RUN
from .model_card import Picture, model_card
from .names import HubName, parse_name
from .pushed_file import PushedFile
from .run_files import evaluations_of, run_files
from .shard_files import shard_files
from .traces import Machine, TraceSearch


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """Options of a push that decide its files.

    Attributes:
        license: the Hub's name of the licence; None for unknown.
        shards: of a run, to draw a prediction from, if not where the run was trained; a name of a data set on
            the Hub is also written into the card and the run.
        weights: of the backbone, as `load_model` takes them.
        allowed: texts that are no traces of this machine.
    """

    license: str | None = None
    shards: Location | None = None
    weights: str | None = None
    allowed: Sequence[str] = ()


def pack(source: Path, name: HubName, options: PackOptions) -> list[PushedFile]:
    """Return the files that a push of `source` as `name` sends.

    Raises InputError when `source` is not what `name` is for, or a file has a trace of this machine.
    """
    packers = {"model": _pack_run, "dataset": _pack_shards, "space": _pack_space}
    is_shards = (source / DATASET_FILE).is_file() and not (source / "config.yaml").is_file()
    if name.kind != "dataset" and is_shards:
        raise InputError(f"{source} is a shard directory, {name} the name of a run; push it to hf:datasets/…")
    if name.kind == "dataset" and not is_shards:
        raise InputError(f"{source} is not a shard directory; a run is pushed to hf:ORG/NAME")
    files = sorted(packers[name.kind](source, name, options), key=lambda file: file.name)
    with progress("bytes") as bar:
        row = bar.add_task("check", total=sum(file.size_bytes for file in files), note="")
        search = TraceSearch(Machine.here(source), options.allowed)
        search.check(files, lambda size: bar.advance(row, size))
    return files


def _pack_shards(source: Path, name: HubName, options: PackOptions) -> list[PushedFile]:
    card = dataset_card(source, name, license_=checked_license(options.license))
    return [*shard_files(source), PushedFile(CARD, card)]


def _pack_run(source: Path, name: HubName, options: PackOptions) -> list[PushedFile]:
    run = RunFolder.open(source)
    license_ = checked_license(options.license)
    public = _public_shards(run, options.shards)
    files = run_files(run, shards=public)
    picture = _picture(run, options)
    if picture is not None:
        files.append(PushedFile(PICTURE, picture[0]))
    card = model_card(
        run, name, license_=license_, shards=public, picture=None if picture is None else picture[1]
    )
    return [*files, PushedFile(CARD, card)]


def _pack_space(source: Path, name: HubName, options: PackOptions) -> list[PushedFile]:
    """Return the files of a Space that serves a run: those of the page, and the run in its own folder."""
    try:
        from ..app.space import space_files
    except ModuleNotFoundError as error:
        raise InputError(f"a Space needs {error.name}; pip install 'stgcma[app]'") from None
    title = name.repo.partition("/")[2]
    texts = space_files([SPACE_RUN], title=title, license_=checked_license(options.license))
    files = [PushedFile(file, text.encode()) for file, text in texts.items()]
    opened = RunFolder.open(source)
    run = run_files(opened, shards=_public_shards(opened, options.shards))
    return [*files, *(PushedFile(f"{SPACE_RUN}/{file.name}", file.content) for file in run)]


def _public_shards(run: RunFolder, shards: Location | None) -> str:
    """Return the name of the data set on the Hub that has the run's shards; empty when it is not known."""
    location = str(shards or run.read_json("run.json", texts=("shards",))["shards"])
    if not location.startswith("hf:"):
        return ""
    name = parse_name(location)
    if name.kind != "dataset":
        raise InputError(f"{location} is no data set; shards are named hf:datasets/ORG/NAME")
    return str(name)


def _picture(run: RunFolder, options: PackOptions) -> tuple[bytes, Picture] | None:
    """Return the picture of a prediction; None, with a message, when the run's shards are not at hand."""
    try:
        clip, split = _shown_clip(run, options)
    except (StgcmaError, OSError) as error:
        before = run.path / PICTURE
        if before.is_file():
            return before.read_bytes(), Picture(PICTURE, "A prediction", "A prediction of this model.")
        message(f"the card has no picture of a prediction: {error}; name the shards with the option shards")
        return None
    config = run.read_config()
    view = VIEWS[config.task]
    score = f"{percent(clip.score)} {view.clip_score}"
    line = f"A {split} clip, {clip.key}: {score}"
    content = draw_clip(clip, title=view.lead, caption=line)
    alt = f"Frames, sound and prediction of a {split} clip"
    return content, Picture(PICTURE, alt, f"A {split} clip, `{clip.key}`: {score}.")


def _shown_clip(run: RunFolder, options: PackOptions) -> tuple[ClipView, str]:
    """Return the first clip of the split val, else of the scored split, with its prediction."""
    scores = evaluations_of(run)
    split, result = next(iter(scores.items()))
    shards = options.shards or run.read_json("run.json", texts=("shards",))["shards"] or result.shards
    if not shards:
        raise InputError("the run does not say where its shards are")
    info = read_dataset(shards)
    if info.data_fingerprint != run.read_json("run.json")["data_fingerprint"]:
        raise InputError(
            f"{shards if is_url(shards) else absolute(shards)} holds other data than was trained on"
        )
    if info.counts.get("val", {}).get("written"):
        split = "val"
    return predicted_clip(run, shards, split, weights=options.weights), split
