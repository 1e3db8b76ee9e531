"""Time and memory of planning a collection of many rows, for every reader; each in a process of its own.

The videos are empty files: nothing is opened. Planning is everything before the first clip is decoded, but
the check against the files: reading the annotations, the plan's hash, the division into shards.

    python benchmarks/planning.py plan NAME RAW              # plans RAW and prints seconds and bytes as JSON
    python benchmarks/planning.py all ROWS SCRATCH [NAME …]  # a row of a table for each; removes its files
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measurement import Figure, measured_apart, resident_bytes

ROWS, FEW = 1_000_000, 100_000
SPLITS = ("train",) * 8 + ("val", "test")
LABELS = tuple(f"class {number}" for number in range(200))


def name_of(number: int) -> str:
    """Return an id of 11 characters, as YouTube's."""
    return f"v{number * 7919 % 10**9:09d}-"


def touch(path: Path) -> None:
    """Create an empty file."""
    os.mknod(path, 0o644)


def write_lines(path: Path, lines: Iterator[str]) -> None:
    """Write lines, the folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def touch_all(folder: Path, names: Iterator[str]) -> None:
    """Create an empty file for each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        touch(folder / name)


def split_of(number: int) -> str:
    """Return a split: eight of ten rows are for training."""
    return SPLITS[number % 10]


def write_ave(raw: Path, rows: int) -> None:
    """One event a video."""

    def line(number: int) -> str:
        return f"{LABELS[number % 28]}&{name_of(number)}&good&{number % 5}&10"

    write_lines(raw / "Annotations.txt", map(line, range(rows)))
    for split in ("train", "val", "test"):
        chosen = (number for number in range(rows) if split_of(number) == split)
        write_lines(raw / f"{split}Set.txt", map(line, chosen))
    touch_all(raw / "AVE", (f"{name_of(number)}.mp4" for number in range(rows)))


def write_vggsound(raw: Path, rows: int) -> None:
    """Clips in one folder."""
    write_lines(
        raw / "vggsound.csv",
        (
            f"{name_of(number)},30,{LABELS[number % 200]},{'test' if number % 10 == 0 else 'train'}"
            for number in range(rows)
        ),
    )
    touch_all(raw / "video", (f"{name_of(number)}_000030.mp4" for number in range(rows)))


def write_s4(raw: Path, rows: int) -> None:
    """Videos by split and category; no masks on disk."""
    numbers = range(rows)
    header = iter(["name,category,split"])
    lines = (f"{name_of(number)},{LABELS[number % 23]},{split_of(number)}" for number in numbers)
    write_lines(raw / "s4_meta_data.csv", (line for part in (header, lines) for line in part))
    for number in numbers:
        folder = raw / "raw_videos" / split_of(number) / LABELS[number % 23]
        if number < 23 * 10:
            folder.mkdir(parents=True, exist_ok=True)
        touch(folder / f"{name_of(number)}.mp4")


def write_ms3(raw: Path, rows: int) -> None:
    """Videos in one folder; no masks on disk."""
    write_lines(raw / "ms3_meta_data.csv", (f"{name_of(n)},{split_of(n)}" for n in range(rows)))
    touch_all(raw / "raw_videos", (f"{name_of(n)}.mp4" for n in range(rows)))


def write_avss(raw: Path, rows: int) -> None:
    """The table alone: a folder for each clip and its sub-folders would be four million inodes."""
    header = iter(["vid,uid,s_min,s_sec,a_obj,split,label"])
    lines = (
        f"{name_of(n)},{name_of(n)}_{n % 90}000_{n % 90 + 10}000,0,0,man,{split_of(n)},v2"
        for n in range(rows)
    )
    write_lines(raw / "metadata.csv", (line for part in (header, lines) for line in part))


def write_llp(raw: Path, rows: int) -> None:
    """Two dense rows for each clip of val and test."""

    def name(number: int) -> str:
        return f"{name_of(number)}_{number % 90}_{number % 90 + 10}"

    chosen = {split: [n for n in range(rows) if split_of(n) == split] for split in ("train", "val", "test")}
    for split, table in (("train", "AVVP_train"), ("val", "AVVP_val_pd"), ("test", "AVVP_test_pd")):
        lines = (f'{name(number)}\t"Speech,Dog"' for number in chosen[split])
        write_lines(
            raw / f"{table}.csv", (line for part in (["filename\tevent_labels"], lines) for line in part)
        )
    dense = chosen["val"] + chosen["test"]
    for table in ("AVVP_eval_audio", "AVVP_eval_visual"):
        lines = (f"{name(number)}\t{number % 5}\t8\tSpeech" for number in dense)
        header = ["filename\tonset\toffset\tevent_labels"]
        write_lines(raw / f"{table}.csv", (line for part in (header, lines) for line in part))
    touch_all(raw / "video", (f"{name_of(number)}.mp4" for number in range(rows)))


def write_music_avqa(raw: Path, rows: int) -> None:
    """Five questions a video."""
    words = {"templ_values": '["clarinet"]', "question_deleted": 0}
    for split in ("train", "val", "test"):
        path = raw / f"avqa-{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        chosen = [number for number in range(rows) if split_of(number // 5) == split]
        with path.open("w") as stream:
            stream.write("[")
            for place, number in enumerate(chosen):
                record = {
                    "video_id": f"{number // 5:08d}", "question_id": number,
                    "type": '["Audio-Visual", "Counting"]',
                    "question_content": "How many types of <Object> sound in the video?",
                    "anser": LABELS[number % 40], **words,
                }  # fmt: skip
                stream.write(("," if place else "") + json.dumps(record) + "\n")
            stream.write("]")
    touch_all(raw / "MUSIC-AVQA-videos-Real", (f"{number:08d}.mp4" for number in range(rows // 5)))


def write_folder(raw: Path, rows: int) -> None:
    """Clips in folders of their classes."""
    for place, label in enumerate(LABELS):
        touch_all(raw / label, (f"{name_of(number)}.mp4" for number in range(place, rows, len(LABELS))))


def write_labels(raw: Path, rows: int) -> None:
    """A table, and the clips in one folder."""
    header = iter(["file,label,split"])
    lines = (f"clips/{name_of(n)}.mp4,{LABELS[n % 200]},{split_of(n)}" for n in range(rows))
    write_lines(raw / "labels.csv", (line for part in (header, lines) for line in part))
    touch_all(raw / "clips", (f"{name_of(n)}.mp4" for n in range(rows)))


def write_events(raw: Path, rows: int) -> None:
    """A hundred events in each recording of 1,000 s, which are not opened."""
    header = iter(["filename,onset,offset,event_label"])
    lines = (
        f"{name_of(n // 100)}.mp4,{n % 100 * 10 + 1}.0,{n % 100 * 10 + 4}.5,{LABELS[n % 20]}"
        for n in range(rows)
    )
    write_lines(raw / "events.csv", (line for part in (header, lines) for line in part))
    touch_all(raw, (f"{name_of(n)}.mp4" for n in range(rows // 100)))


def write_masks(raw: Path, rows: int) -> None:
    """A hundred masks of each video, one in a second."""
    for video in range(rows // 100):
        touch_all(raw / "Annotations" / name_of(video), (f"{n * 30 + 28:05d}.png" for n in range(100)))
    touch_all(raw / "videos", (f"{name_of(video)}.mp4" for video in range(rows // 100)))


def write_questions(raw: Path, rows: int) -> None:
    """Five questions a video."""
    write_lines(
        raw / "questions.jsonl",
        (
            json.dumps(
                {
                    "video": f"{name_of(n // 5)}.mp4",
                    "question": f"How many {LABELS[n % 5]} are there in the {LABELS[n % 200]}?",
                    "answer": LABELS[n % 40],
                    "type": "counting",
                    "split": split_of(n // 5),
                }
            )
            for n in range(rows)
        ),
    )
    touch_all(raw / "videos", (f"{name_of(video)}.mp4" for video in range(rows // 5)))


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "ave": write_ave,
    "avs-s4": write_s4,
    "avs-ms3": write_ms3,
    "avss": write_avss,
    "llp": write_llp,
    "music-avqa": write_music_avqa,
    "vggsound": write_vggsound,
    "folder": write_folder,
    "labels": write_labels,
    "events": write_events,
    "masks": write_masks,
    "questions": write_questions,
}


def figures(scratch: Path, *, quick: bool) -> list[Figure]:
    """Seconds and memory of planning, beside those of a tenth of the rows."""
    rows = ROWS // 50 if quick else ROWS
    found = []
    for name, write in WRITERS.items():
        runs = []
        for count in (rows, rows // 10):
            raw = scratch / f"{name}-{count}"
            raw.mkdir()
            write(raw, count)
            runs.append(measured_apart(__file__, "plan", name, raw))
            shutil.rmtree(raw)
        many, few = runs
        baseline, what = f"{rows // 10:,} rows", f"planning {rows:,} rows of {name}"
        found += [
            Figure(f"{what}: time", "s", baseline, [many["seconds"]], [few["seconds"]]),
            Figure(f"{what}: memory", "MiB", baseline, [many["bytes"] / 2**20], [few["bytes"] / 2**20]),
        ]
    return found


def _plan(name: str, raw: Path) -> dict[str, float | str]:
    from stgcma.preprocess.collections import COLLECTIONS
    from stgcma.preprocess.collections.clip_list import collector_paused
    from stgcma.preprocess.collections.specification import Collection
    from stgcma.preprocess.pipeline.shard_plan import plan_shards

    read = COLLECTIONS[name].read
    if name == "events":
        from stgcma.preprocess.collections.events import EventOptions, read_events

        def read(raw: Path) -> Collection:
            lengths = lambda _raw, paths, _links: dict.fromkeys(paths, 1000.0)  # noqa: E731
            return read_events(raw, EventOptions(), allow_links=False, lengths=lengths)

    libraries, began, worked = resident_bytes("VmRSS"), time.monotonic(), time.process_time()
    with collector_paused():
        collection = read(raw)
        plan = collection.plan_sha256
    shards = len(plan_shards(collection.clips))
    return {
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - worked,
        "bytes": resident_bytes("VmHWM"),
        "libraries_bytes": libraries,
        "clips": len(collection.clips),
        "shards": shards,
        "plan": plan,
    }


def main() -> None:
    """Plan one collection, or all of them."""
    if sys.argv[1] == "plan":
        print(json.dumps(_plan(sys.argv[2], Path(sys.argv[3]))))
        return
    rows, scratch = int(sys.argv[2]), Path(sys.argv[3])
    for name in sys.argv[4:] or WRITERS:
        raw = scratch / f"{name}-{rows}"
        if not raw.exists():
            raw.mkdir(parents=True)
            WRITERS[name](raw, rows)
        result = measured_apart(__file__, "plan", name, raw)
        if "STGCMA_KEEP" not in os.environ:
            shutil.rmtree(raw)
        print(f"{name}: {result['clips']:,} clips, plan {result['plan']}", file=sys.stderr)
        print(
            f"| `{name}` | {result['seconds']:.1f} s | {result['cpu_seconds']:.1f} CPU-s | "
            f"{result['bytes'] / 2**20:.0f} MiB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
