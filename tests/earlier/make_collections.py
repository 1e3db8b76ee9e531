"""Write the raw collections of `make.py`: a few synthesised clips of every task, with sound that packs well.

Usage: python tests/earlier/make_collections.py FOLDER
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

from stgcma.preprocess.ffmpeg_program import ffmpeg_executable
from stgcma.preprocess.synthesis import synthesizer

# Two clips for training, one for val, one for test; the synthesizers make no fewer than ten in all.
KEPT = {"train": 2, "val": 1, "test": 1}
SYNTHESISED = 10
SEED = 3


def make_collections(folder: Path) -> None:
    """Write `FOLDER/ave`, `FOLDER/avs-s4` and `FOLDER/music-avqa`."""
    for number, (name, cut) in enumerate(CUTS.items()):
        raw = folder / name
        synthesizer(name)(raw, clips=SYNTHESISED, seed=SEED, workers=1)
        kept = cut(raw)
        for place, video in enumerate(sorted(raw.rglob("*.mp4"))):
            if video.stem in kept:
                _replace_sound(video, hertz=400 + 100 * (4 * number + place))
            else:
                video.unlink()


def cut_ave(raw: Path) -> set[str]:
    kept = []
    for split, count in KEPT.items():
        path = raw / f"{split}Set.txt"
        rows = path.read_text().splitlines()[:count]
        path.write_text("\n".join(rows) + "\n")
        kept += rows
    annotations = raw / "Annotations.txt"
    rows = annotations.read_text().splitlines()
    annotations.write_text("\n".join([rows[0], *(row for row in rows[1:] if row in kept)]) + "\n")
    return {row.split("&")[1] for row in kept}


def cut_avs(raw: Path) -> set[str]:
    path = raw / "s4_meta_data.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    split, name = rows[0].index("split"), rows[0].index("name")
    kept = [row for part, count in KEPT.items() for row in [r for r in rows if r[split] == part][:count]]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *kept])
    return {row[name] for row in kept}


def cut_avqa(raw: Path) -> set[str]:
    kept: set[str] = set()
    for split, count in KEPT.items():
        path = raw / f"avqa-{split}.json"
        records = json.loads(path.read_text())
        videos = list(dict.fromkeys(record["video_id"] for record in records))[:count]
        path.write_text(json.dumps([record for record in records if record["video_id"] in videos]))
        kept.update(videos)
    return kept


CUTS = {"ave": cut_ave, "avs-s4": cut_avs, "music-avqa": cut_avqa}


def _replace_sound(video: Path, *, hertz: int) -> None:
    """Give `video` a pure tone with whole periods in 10 ms: every row of its fbanks is nearly the same."""
    made = video.with_suffix(".new.mp4")
    tone = f"sine=frequency={hertz}:sample_rate=16000"
    inputs = ["-i", str(video), "-f", "lavfi", "-i", tone]
    coded = ["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "flac", "-shortest", "-strict", "-2"]
    command = [ffmpeg_executable(), "-loglevel", "error", "-y", *inputs, *coded, str(made)]
    subprocess.run(command, check=True)
    made.replace(video)


if __name__ == "__main__":
    make_collections(Path(sys.argv[1]))
