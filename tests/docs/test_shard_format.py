"""The lines that read shards without this package read what it wrote."""

import io
import json
import sys

import numpy as np
import pytest
from stgcma.shards.manifest import read_manifest
from stgcma.shards.reader import ClipReader, clip_places

from .markdown import ROOT, read_page


@pytest.fixture
def read_without_us(ave_shards, tmp_path, monkeypatch):
    """Run the page's lines where this package cannot be imported, and return their variables."""
    (tmp_path / "shards").symlink_to(ave_shards)
    (block,) = [b for b in read_page(ROOT / "docs/shard-format.md").blocks if b.language == "python"]
    names = {}
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        for module in [name for name in sys.modules if name.partition(".")[0] == "stgcma"]:
            patch.setitem(sys.modules, module, None)
        exec(compile(block.text, "shard-format.md", "exec"), names)
    return names


def test_the_lines_read_all_members(read_without_us, ave_shards):
    records = [record for record in read_manifest(ave_shards) if record.shard == "train-000000.tar"]
    reader = ClipReader(ave_shards)
    ours = {place.key: reader.read(place) for place in clip_places(records)}
    reader.close()
    assert read_without_us["clips"] == ours
    assert list(read_without_us["clips"]) == [record.key for record in records]


def test_the_lines_read_frames_sound_and_seconds(read_without_us):
    members = read_without_us["members"]
    assert [frame.size for frame in read_without_us["frames"]] == [(224, 224)] * 10
    assert read_without_us["sound"].dtype == np.float16
    assert read_without_us["sound"].shape == (10, 98, 128)
    description = json.loads(members["json"])
    inside = range(description["start_seconds"], description["end_seconds"])
    expected = [description["category"] if second in inside else "Background" for second in range(10)]
    assert read_without_us["seconds"] == expected


def test_the_page_names_every_member_and_column(ave_shards, read_without_us):
    text = (ROOT / "docs/shard-format.md").read_text("utf-8")
    for suffix in read_without_us["members"]:
        name = suffix if not suffix.startswith("frame_") else "frame_00.jpg"
        assert f"`KEY.{name}`" in text
    for column in read_manifest(ave_shards)[0]._fields:
        assert f"| `{column}` |" in text
    for name in json.loads((ave_shards / "dataset.json").read_text("utf-8")):
        assert f"`{name}`" in text.partition("## dataset.json")[2]


def test_the_shapes_in_the_table_are_those_of_the_shards(read_without_us):
    text = (ROOT / "docs/shard-format.md").read_text("utf-8")
    for bins in (128, 224):
        sound = np.load(io.BytesIO(read_without_us["members"][f"fbank_{bins}.npy"]))
        row = next(line for line in text.splitlines() if line.startswith(f"| `KEY.fbank_{bins}.npy`"))
        assert row.split(" | ")[2] == ", ".join(map(str, sound.shape))
