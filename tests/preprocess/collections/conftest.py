"""Small collections in the authors' layouts. Media files are empty: a plan opens none of them."""

import json

import pytest

AVE_HEADER = "Category&VideoID&Quality&StartTime&EndTime"
AVE_ROWS = (
    "Church bell&-aBcDeFgHiJ&good&0&10",
    "Violin, fiddle&bbbbbbbbbbb&good&2&7",
    "Frying (food)&ccccccccccc&bad&0&3",
    "Church bell&bbbbbbbbbbb&good&8&10",
    "Clock&ddddddddddd&good&4&4",
)


@pytest.fixture
def ave(tmp_path):
    """`ave(...)` writes an AVE folder and returns it; rows are split as (0, 1, 2), (4,), (3,)."""

    def write(
        rows=AVE_ROWS, *, header=True, splits=((0, 1, 2), (4,), (3,)), newline="\n", bom=False, videos=None
    ):
        head = [AVE_HEADER] if header else []
        text = newline.join([*head, *rows]) + newline
        (tmp_path / "Annotations.txt").write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
        for split, indices in zip(("train", "val", "test"), splits, strict=True):
            chosen = newline.join(rows[index] for index in indices) + newline
            (tmp_path / f"{split}Set.txt").write_bytes(chosen.encode())
        (tmp_path / "AVE").mkdir(exist_ok=True)
        for video in {row.split("&")[1] for row in rows} if videos is None else videos:
            (tmp_path / "AVE" / f"{video}.mp4").touch()
        return tmp_path

    return write


@pytest.fixture
def avs(tmp_path):
    """`avs(rows)` writes an AVSBench-S4 folder of (name, category, split) with videos and masks."""

    def write(rows, *, data="", header="name,start,category,split", videos=True):
        lines = [f"{name},0,{category},{split}" for name, category, split in rows]
        (tmp_path / "s4_meta_data.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        for name, category, split in rows:
            folder = tmp_path / data / "raw_videos" / split / category
            if videos:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}.mp4").touch()
            (tmp_path / data / "gt_masks" / split / category / name).mkdir(parents=True, exist_ok=True)
        return tmp_path

    return write


def question(video="00000001", content="How many instruments are sounding in the video?", **changes):
    record = {
        "video_id": video,
        "question_id": 1,
        "type": '["Audio-Visual", "Counting"]',
        "question_content": content,
        "templ_values": "[]",
        "question_deleted": 0,
        "anser": "two",
    }
    return {**record, **changes}


@pytest.fixture
def ask():
    """`ask(video, content, **changes)` is a question as the authors' files hold it."""
    return question


@pytest.fixture
def avqa(tmp_path):
    """`avqa(train=[…], val=[…], test=[…])` writes a MUSIC-AVQA folder with all its videos."""

    def write(*, real="MUSIC-AVQA-videos-Real", folder="", **splits):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / real).mkdir(parents=True, exist_ok=True)
        for split in ("train", "val", "test"):
            records = splits.get(split, [])
            path = tmp_path / folder / f"avqa-{split}.json"
            path.write_text(json.dumps(records, indent=1, ensure_ascii=False), encoding="utf-8")
            for record in records:
                if record["video_id"].isalnum():
                    (tmp_path / real / f"{record['video_id']}.mp4").touch()
        return tmp_path

    return write


@pytest.fixture
def recordings(tmp_path):
    """A folder of three recordings, which are empty files."""
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).touch()
    return tmp_path
