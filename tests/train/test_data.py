"""Clips as tensors: normalised, augmented, mixed, with masks."""

import io
import sys

import numpy as np
import pytest
import torch
from stgcma.errors import InputError, StgcmaError
from stgcma.model import preset_config
from stgcma.model.inputs import normalise_frames
from stgcma.model.records import IMAGENET_MEAN, IMAGENET_STD
from stgcma.shards.members import open_frames
from stgcma.train.inputs import decode_frames

from .conftest import item, load


def test_batches_are_the_same_for_any_number_of_workers(dataset, ave_shards):
    settings = {"seed": 5, "augment": True, "mixup": 0.5}
    torch.manual_seed(0)
    expected = load(dataset(ave_shards, **settings))
    for workers in (1, 3):  # there is one shard: more workers than shards
        torch.manual_seed(workers)
        found = load(dataset(ave_shards, **settings), workers=workers)
        assert [batch.keys for batch in found] == [batch.keys for batch in expected]
        for one, other in zip(found, expected, strict=True):
            assert all(torch.equal(one.inputs[name], other.inputs[name]) for name in ("video", "audio"))


def test_reading_leaves_the_generators_alone(dataset, ave_shards):
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    _ = dataset(ave_shards, seed=5, augment=True, mixup=1.0)[item(0)]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_frames_are_the_pixels_of_their_pictures(dataset, ave_shards):
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


def test_sound_is_normalised_and_padded(dataset, ave_shards):
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


def test_measured_statistics_normalise_to_half_a_deviation(dataset, ave_shards):
    clips = dataset(ave_shards, model=preset_config("ave-demo", modality="audio"))
    audio = torch.stack([clips[item(index)].inputs["audio"][:, :98] for index in range(len(clips))])
    assert audio.mean().item() == pytest.approx(0, abs=1e-3)
    assert audio.std().item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("modality", "inputs"), [("video", {"video"}), ("audio", {"audio"})])
def test_what_a_model_does_not_take_is_not_read(dataset, ave_shards, modality, inputs):
    model = preset_config("ave-demo", modality=modality)
    assert set(dataset(ave_shards, model=model)[item(0)].inputs) == inputs


def test_augmentation_is_one_draw_for_all_frames_of_a_clip(dataset, ave_shards):
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


def test_mixing_changes_the_sound_alone_and_keeps_the_labels(dataset, ave_shards):
    plain, mixed = dataset(ave_shards, seed=1)[item(0)], dataset(ave_shards, seed=1, mixup=1.0)[item(0)]
    assert torch.equal(plain.inputs["video"], mixed.inputs["video"])
    assert not torch.equal(plain.inputs["audio"], mixed.inputs["audio"])
    assert torch.equal(plain.targets["labels"], mixed.targets["labels"])
    some = dataset(ave_shards, seed=1, mixup=0.5, model=preset_config("ave-demo", modality="audio"))
    changed = [
        not torch.equal(some[item(0, position=place)].inputs["audio"], plain.inputs["audio"])
        for place in range(40)
    ]
    assert 10 <= sum(changed) <= 30


def test_masks_are_those_that_exist(dataset, kept_shards):
    training, validation = (
        dataset(kept_shards("avs"))[item(0)].targets,
        dataset(kept_shards("avs"), "val")[item(0)].targets,
    )
    assert training["annotated"].tolist() == [True, False, False, False, False]
    assert validation["annotated"].tolist() == [True] * 5
    assert training["masks"].shape == (5, 224, 224)
    assert 0 < training["masks"][0].float().mean() < 1
    assert not training["masks"][1:].any()


def test_one_clip_is_a_collection(dataset, kept_shards):
    for folder in (kept_shards("ave"), kept_shards("avqa")):
        clips = dataset(folder, seed=1, mixup=1.0)
        clips.places = clips.places[:1]
        clips._negatives = False
        assert [batch.keys for batch in load(clips, workers=2)] == [(clips.places[0].key,)]


def test_what_the_shards_lack_is_named(dataset, ave_shards, tmp_path):
    with pytest.raises(InputError, match="is not a finished shard directory"):
        dataset(tmp_path)
    narrow = preset_config("ave-demo", audio_shape=(102, 64))
    with pytest.raises(
        InputError,
        match=r"has no fbank_64 \(it has fbank_128, fbank_224\); add it with `stgcma shards add-column",
    ):
        dataset(ave_shards, model=narrow)
    with pytest.raises(InputError, match="has no clips in split 'holdout'"):
        dataset(ave_shards, "holdout")


UNFINISHED = """
import sys
from stgcma.model import preset_config
from stgcma.train.sections import DataConfig
from stgcma.train.batch import make_loader
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.order import EpochOrder

shards = sys.argv[1]
dataset = ClipDataset(shards, "train", open_task(shards), DataConfig(), preset_config("ave-demo"), seed=0)
order = EpochOrder([place.shard for place in dataset.places], 1, seed=0)
loaded = iter(make_loader(dataset, order, workers=1))
next(loaded)
kept = [loaded]
kept.append(kept)
"""


def test_a_loader_that_is_still_there_does_not_keep_the_process(forks, four_clips):
    """Its workers leave other processes' SIGTERM alone, but not their parent's."""
    done = forks.run([sys.executable, "-c", UNFINISHED, four_clips], timeout=120)
    assert done.returncode == 0, done.stderr
