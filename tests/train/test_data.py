"""Clips as tensors: normalised, augmented, mixed, with questions, masks and negatives, from anywhere."""

import errno
import io
import os
import shutil
import sys
import tempfile
import uuid

import fsspec
import numpy as np
import pytest
import torch
from stgcma.errors import InputError, StgcmaError
from stgcma.model import preset_config
from stgcma.model.inputs import normalise_frames
from stgcma.model.noise import BatchSlice
from stgcma.model.records import IMAGENET_MEAN, IMAGENET_STD
from stgcma.shards.members import open_frames
from stgcma.train.batch import batches, make_loader
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.inputs import decode_frames
from stgcma.train.order import ALL_QUESTIONS, EpochOrder, Item
from stgcma.train.sections import DataConfig

OPENED = []


def dataset(folder, split="train", *, seed=None, model=None, **data):
    task = open_task(folder)
    config = model or preset_config(f"{task.name}-demo")
    OPENED.append(ClipDataset(folder, split, task, DataConfig(**data), config, seed=seed))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def _close():
    yield
    while OPENED:
        OPENED.pop().close()


def item(clip, *, question=ALL_QUESTIONS, epoch=0, position=0):
    return Item(clip, question, epoch, position, BatchSlice(0, 1, 1), True)


def load(clips, *, workers=0, batch=3, seed=1):
    order = EpochOrder([place.shard for place in clips.places], batch, seed=seed)
    return list(batches(make_loader(clips, order, workers=workers)))


def test_batches_are_the_same_for_any_number_of_workers(ave_shards):
    settings = {"seed": 5, "augment": True, "mixup": 0.5}
    torch.manual_seed(0)
    expected = load(dataset(ave_shards, **settings))
    for workers in (1, 2, 4):  # there is one shard: more workers than shards
        torch.manual_seed(workers)
        found = load(dataset(ave_shards, **settings), workers=workers)
        assert [batch.keys for batch in found] == [batch.keys for batch in expected]
        for one, other in zip(found, expected, strict=True):
            assert all(torch.equal(one.inputs[name], other.inputs[name]) for name in ("video", "audio"))


def test_reading_leaves_the_generators_alone(ave_shards):
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    _ = dataset(ave_shards, seed=5, augment=True, mixup=1.0)[item(0)]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_frames_are_the_pixels_of_their_pictures(ave_shards):
    clips = dataset(ave_shards)
    video = clips[item(0)].inputs["video"]
    pictures = np.stack([np.asarray(frame) for frame in open_frames(clips.members(0))])
    assert np.array_equal(video.permute(0, 2, 3, 1).numpy(), pictures)
    expected = (video[0, :, 3, 5] / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(normalise_frames(video, IMAGENET_MEAN, IMAGENET_STD)[0, :, 3, 5], expected)


def test_a_frame_that_is_no_picture_is_named():
    with pytest.raises(StgcmaError, match=r"frame_00\.jpg is not a JPEG picture"):
        decode_frames({"frame_00.jpg": b"no picture"})


def test_sound_is_normalised_and_padded(ave_shards):
    clips = dataset(ave_shards, fbank_mean=-4.0, fbank_std=3.0)
    clip = clips[item(0)]
    audio = clip.inputs["audio"]
    assert audio.shape == (10, 102, 128)
    assert torch.all(audio[:, 98:] == 0), "98 frames are there, the rest is zero padding"
    members = clips.members(0)
    stored = torch.from_numpy(np.load(io.BytesIO(members["fbank_128.npy"])).astype(np.float32))
    torch.testing.assert_close(audio[:, :98], (stored + 4.0) / 6.0)
    labels = np.load(io.BytesIO(members["label.npy"]))
    assert clip.targets["labels"].tolist() == labels.tolist()


def test_measured_statistics_normalise_to_half_a_deviation(ave_shards):
    clips = dataset(ave_shards)
    audio = torch.stack([clips[item(index)].inputs["audio"][:, :98] for index in range(len(clips))])
    assert audio.mean().item() == pytest.approx(0, abs=1e-3)
    assert audio.std().item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("modality", "inputs"), [("video", {"video"}), ("audio", {"audio"})])
def test_what_a_model_does_not_take_is_not_read(ave_shards, modality, inputs):
    model = preset_config("ave-demo", modality=modality)
    assert set(dataset(ave_shards, model=model)[item(0)].inputs) == inputs


def test_augmentation_is_one_draw_for_all_frames_of_a_clip(ave_shards):
    clips = dataset(ave_shards, seed=1, augment=True)
    still = clips.members(0)
    frame = still["frame_00.jpg"]
    still = {name: frame if name.startswith("frame_") else content for name, content in still.items()}
    clips.members = lambda *_, **__: still
    drawn = [clips[item(0, position=position)].inputs["video"] for position in range(6)]
    for video in drawn:
        assert all(torch.equal(video[0], later) for later in video[1:])
    assert len({video.sum().item() for video in drawn}) == 6, "each clip has a draw of its own"
    assert torch.equal(drawn[0], clips[item(0, position=0)].inputs["video"])


def test_mixing_changes_the_sound_alone_and_keeps_the_labels(ave_shards):
    plain, mixed = dataset(ave_shards, seed=1)[item(0)], dataset(ave_shards, seed=1, mixup=1.0)[item(0)]
    assert torch.equal(plain.inputs["video"], mixed.inputs["video"])
    assert not torch.equal(plain.inputs["audio"], mixed.inputs["audio"])
    assert torch.equal(plain.targets["labels"], mixed.targets["labels"])
    some = dataset(ave_shards, seed=1, mixup=0.5)
    changed = [
        not torch.equal(some[item(0, position=place)].inputs["audio"], plain.inputs["audio"])
        for place in range(40)
    ]
    assert 10 <= sum(changed) <= 30


def test_questions_come_alone_or_all_together(avqa_shards):
    clips = dataset(avqa_shards, seed=1)
    counts = clips.question_counts()
    whole = clips[item(0)].targets
    assert whole["question"].shape == (counts[0], 14)
    for place in range(counts[0]):
        one = clips[item(0, question=place)].targets
        assert all(torch.equal(one[name][0], whole[name][place]) for name in ("question", "answer", "type"))
    assert counts.sum() > len(clips)


@pytest.mark.parametrize("verify", [True, False])
def test_every_negative_frame_is_one_of_another_clip(avqa_shards, verify):
    clips = dataset(avqa_shards, seed=1, verify=verify)
    videos = [clips[item(index)].inputs["video"] for index in range(len(clips))]
    owners, places = set(), set()
    for position in range(8):
        negative = clips[item(2, position=position)].inputs["negative"]
        assert negative.shape == videos[2].shape
        # Frames of a clip that are equal count as the first of them.
        drawn = [
            next(
                (clip, number)
                for clip, video in enumerate(videos)
                for number, own in enumerate(video)
                if torch.equal(own, frame)
            )
            for frame in negative
        ]
        assert len({clip for clip, _ in drawn}) > 2, "each frame draws a clip of its own"
        owners |= {clip for clip, _ in drawn}
        places |= {number for _, number in drawn}
    assert owners == set(range(len(clips))) - {2}
    assert len(places) > 5
    assert "negative" not in dataset(avqa_shards, "val")[item(0)].inputs


def test_negatives_are_a_function_of_seed_epoch_and_position(avqa_shards):
    def drawn(**place):
        return dataset(avqa_shards, seed=place.pop("seed", 1))[item(2, **place)].inputs["negative"]

    assert torch.equal(drawn(epoch=1, position=3), drawn(epoch=1, position=3))
    for other in ({"epoch": 0, "position": 3}, {"epoch": 1, "position": 4}):
        assert not torch.equal(drawn(epoch=1, position=3), drawn(**other))
    assert not torch.equal(drawn(position=3), drawn(position=3, seed=2))


def test_negatives_of_one_clip_as_in_version_0_1(avqa_shards):
    clips = dataset(avqa_shards, seed=1, negatives="clip")
    videos = [clips[item(index)].inputs["video"] for index in range(len(clips))]
    for position in range(8):
        negative = clips[item(2, position=position)].inputs["negative"]
        owners = [index for index, video in enumerate(videos) if torch.equal(video, negative)]
        assert len(owners) == 1
        assert owners != [2]
    assert "negative" not in dataset(avqa_shards, "val")[item(0)].inputs


def test_batches_say_whose_question_is_whose(avqa_shards):
    clips = dataset(avqa_shards, seed=1)
    counts = clips.question_counts()
    (batch,) = load(clips, batch=len(clips), seed=None)
    assert batch.inputs["owner"].tolist() == np.repeat(np.arange(len(clips)), counts).tolist()
    assert batch.inputs["question"].shape == (counts.sum(), 14)


def test_masks_are_those_that_exist(avs_shards):
    training, validation = (
        dataset(avs_shards)[item(0)].targets,
        dataset(avs_shards, "val")[item(0)].targets,
    )
    assert training["annotated"].tolist() == [True, False, False, False, False]
    assert validation["annotated"].tolist() == [True] * 5
    assert training["masks"].shape == (5, 224, 224)
    assert 0 < training["masks"][0].float().mean() < 1
    assert not training["masks"][1:].any()


@pytest.fixture
def damaged(ave_shards, tmp_path):
    """A copy of the shards with one bit of a clip's frame changed."""
    folder = tmp_path / "damaged"
    shutil.copytree(ave_shards, folder)
    place = dataset(ave_shards).places[3]
    shard = folder / "shards" / place.shard
    content = bytearray(shard.read_bytes())
    content[content.find(b"\xff\xd8\xff", place.offset_bytes) + 2000] ^= 1
    shard.write_bytes(bytes(content))
    return folder, place


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_clip_stops_the_first_epoch_with_its_shards_name(damaged, workers):
    folder, place = damaged
    with pytest.raises(StgcmaError, match=rf"{place.shard}: {place.key} is damaged") as caught:
        load(dataset(folder), workers=workers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_goes_on_in_a_later_epoch_checks_what_it_reads_first(damaged, workers):
    folder, place = damaged
    clips = dataset(folder)
    order = EpochOrder([place.shard for place in clips.places], 3, seed=1)
    order.start_at(1)
    with pytest.raises(StgcmaError, match=f"{place.key} is damaged"):
        list(batches(make_loader(clips, order, workers=workers)))
    assert len(load(dataset(folder, verify=False))) == order.steps


def test_a_clip_is_compared_at_its_first_read_alone(ave_shards, monkeypatch):
    clips = dataset(ave_shards)
    read, checked = clips._reader.read, []
    monkeypatch.setattr(
        clips._reader, "read", lambda place, *, check: checked.append(check) or read(place, check=check)
    )
    for _ in range(2):
        _ = clips[item(0)], clips[item(1, epoch=3)]
    assert checked == [True, True, False, False]
    clips.close()
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a process that was forked from this one
    _ = clips[item(0)]
    assert checked[4:] == [True]


def test_mixing_checks_the_other_clip_as_well(damaged):
    folder, place = damaged
    clips = dataset(folder, seed=1, mixup=1.0)
    clips._other = lambda _rng, _clip: 3
    read = clips[item(0, epoch=2)]
    assert f"{place.key} is damaged" in read.message


def test_one_clip_is_a_collection(ave_shards, avqa_shards):
    for folder in (ave_shards, avqa_shards):
        clips = dataset(folder, seed=1, mixup=1.0)
        clips.places = clips.places[:1]
        clips._negatives = False
        assert [batch.keys for batch in load(clips, workers=2)] == [(clips.places[0].key,)]


def test_what_the_shards_lack_is_named(ave_shards, tmp_path):
    with pytest.raises(InputError, match="is not a finished shard directory"):
        dataset(tmp_path)
    narrow = preset_config("ave-demo", audio_shape=(102, 64))
    with pytest.raises(
        InputError, match=r"has no fbank_64 of training clips \(it has fbank_128, fbank_224\)"
    ):
        dataset(ave_shards, model=narrow)
    with pytest.raises(InputError, match="has no clips in split 'holdout'"):
        dataset(ave_shards, "holdout")


@pytest.fixture
def url(ave_shards):
    """The shards behind a URL."""
    memory = fsspec.filesystem("memory")
    root = f"/{uuid.uuid4().hex}"
    memory.put(str(ave_shards), root, recursive=True)
    yield f"memory:/{root}"
    memory.rm(root, recursive=True)


def test_a_url_gives_the_same_clips_from_a_local_cache(ave_shards, url, tmp_path):
    expected = load(dataset(ave_shards))
    found = load(dataset(url, cache=str(tmp_path)))
    assert [batch.keys for batch in found] == [batch.keys for batch in expected]
    assert torch.equal(found[0].inputs["video"], expected[0].inputs["video"])
    kept = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert kept == ["train-000000.tar"]
    again = dataset(url, cache=str(tmp_path))
    fsspec.filesystem("memory").rm(url.removeprefix("memory:/") + "/shards/train-000000.tar")
    assert [batch.keys for batch in load(again)] == [batch.keys for batch in expected]


@pytest.mark.parametrize("harm", ["changed", "header", "cut", "empty"])
def test_a_damaged_copy_in_the_cache_is_fetched_again(url, tmp_path, harm, capsys):
    expected = load(dataset(url, cache=str(tmp_path)))
    (copy,) = tmp_path.rglob("*.tar")
    whole = copy.read_bytes()
    content = bytearray(whole)
    content[3000 if harm == "changed" else 0] ^= 1
    copy.write_bytes({"cut": whole[:-20_000], "empty": b""}.get(harm, bytes(content)))
    found = load(dataset(url, cache=str(tmp_path), verify=harm == "changed"))
    assert [batch.keys for batch in found] == [batch.keys for batch in expected]
    assert torch.equal(found[0].inputs["video"], expected[0].inputs["video"])
    assert copy.read_bytes() == whole
    said = f"the shard cache holds a damaged copy, {copy}; it is fetched again"
    assert capsys.readouterr().err.splitlines().count(said) == 1


def test_a_shard_that_is_damaged_behind_its_url_is_named_after_one_more_try(url, tmp_path, capsys):
    memory = fsspec.filesystem("memory")
    name = url.removeprefix("memory:/") + "/shards/train-000000.tar"
    memory.pipe_file(name, memory.cat_file(name)[:40_000])
    with pytest.raises(StgcmaError, match=rf"{url}/shards/train-000000\.tar is cut: it ends within"):
        load(dataset(url, cache=str(tmp_path)))
    assert capsys.readouterr().err.count("it is fetched again") == 1


@pytest.mark.parametrize("place", ["disk", "folder"])
def test_a_cache_that_takes_no_files_is_named(url, tmp_path, monkeypatch, place):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        *((fsspec.filesystem("memory"), "get_file") if place == "disk" else (tempfile, "mkstemp")), full
    )
    with pytest.raises(
        StgcmaError, match=r"the shard cache takes no files: .* No space left on device"
    ) as caught:
        load(dataset(url, cache=str(tmp_path)))
    assert str(caught.value).endswith("; data.cache sets its folder")
    assert str(tmp_path) in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_url_whose_shard_is_gone_is_named(url, tmp_path):
    clips = dataset(url, cache=str(tmp_path))
    fsspec.filesystem("memory").rm(url.removeprefix("memory:/") + "/shards/train-000000.tar")
    with pytest.raises(StgcmaError, match=r"train-000000\.tar is missing, the manifest names it"):
        load(clips)
    assert not list(tmp_path.rglob("*.tar"))


UNFINISHED = """
import sys
from stgcma.model import preset_config
from stgcma.train.sections import DataConfig
from stgcma.train.batch import make_loader
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.order import EpochOrder

shards = sys.argv[1]
dataset = ClipDataset(shards, "train", open_task(shards), DataConfig(), preset_config("ave-demo"), seed=0)
order = EpochOrder([place.shard for place in dataset.places], 2, seed=0)
loaded = iter(make_loader(dataset, order, workers=2))
next(loaded)
kept = [loaded]
kept.append(kept)
"""


def test_a_loader_that_is_still_there_does_not_keep_the_process(forks, ave_shards):
    """Its workers leave other processes' SIGTERM alone, but not their parent's."""
    done = forks.run([sys.executable, "-c", UNFINISHED, ave_shards], timeout=120)
    assert done.returncode == 0, done.stderr
