import io

import numpy as np
import pytest
import torch
from stgcma.errors import InputError
from stgcma.train.config import DataConfig
from stgcma.train.data import SHARDS_PER_BLOCK, ClipDataset, EpochOrder, make_loader

SHAPE = (102, 128)


def keys(folder, *, workers, seed, epoch=0, batch=3):
    dataset = ClipDataset(folder, "train", DataConfig(), audio_shape=SHAPE)
    loader, order = make_loader(dataset, batch, seed=seed, workers=workers)
    order.set_epoch(epoch)
    return [key for loaded in loader for key in loaded.keys]


def test_the_order_depends_on_seed_and_epoch_alone(ave_shards):
    first = keys(ave_shards, workers=0, seed=1)
    assert sorted(first) == sorted(keys(ave_shards, workers=0, seed=None))
    for workers in (1, 2, 4):
        assert keys(ave_shards, workers=workers, seed=1) == first
    assert keys(ave_shards, workers=0, seed=1, epoch=1) != first
    assert keys(ave_shards, workers=0, seed=2) != first


@pytest.mark.parametrize(("clips", "shards", "batch"), [(1, 1, 4), (7, 1, 2), (1000, 50, 4), (5, 5, 5)])
def test_every_clip_once_an_epoch(clips, shards, batch):
    names = [f"train-{index * shards // clips:06d}.tar" for index in range(clips)]
    order = EpochOrder(names, batch, seed=0)
    batches = list(order)
    assert len(batches) == len(order)
    assert sorted(index for indices in batches for index in indices) == list(range(clips))
    assert {len(indices) for indices in batches[:-1]} <= {batch}


def test_neighbours_in_the_order_lie_in_few_shards():
    names = np.repeat(np.arange(100), 32)
    order = EpochOrder(names, 4, seed=0).clip_order()
    block = SHARDS_PER_BLOCK * 32
    for start in range(0, len(order), block):
        assert len(np.unique(names[order[start : start + block]])) <= SHARDS_PER_BLOCK


def test_tensors_are_normalised_and_padded(ave_shards):
    dataset = ClipDataset(ave_shards, "train", DataConfig(fbank_mean=-4.0, fbank_std=3.0), audio_shape=SHAPE)
    clip = dataset[0]
    assert clip["video"].shape == (10, 3, 224, 224)
    assert clip["video"].dtype == torch.float32
    assert clip["audio"].shape == (10, 102, 128)
    assert torch.all(clip["audio"][:, 98:] == 0), "98 frames are there, the rest is zero padding"
    members = dataset._reader.read(dataset.places[0])
    stored = torch.from_numpy(np.load(io.BytesIO(members["fbank_128.npy"])).astype(np.float32))
    torch.testing.assert_close(clip["audio"][:, :98], (stored + 4.0) / 6.0)
    assert clip["labels"].tolist() == np.load(io.BytesIO(members["label.npy"])).tolist()


def test_measured_statistics_normalise_to_half_a_deviation(ave_shards):
    dataset = ClipDataset(ave_shards, "train", DataConfig(), audio_shape=SHAPE)
    audio = torch.stack([dataset[index]["audio"][:, :98] for index in range(len(dataset))])
    assert audio.mean().item() == pytest.approx(0, abs=1e-3)
    assert audio.std().item() == pytest.approx(0.5, abs=1e-3)


def test_what_the_shards_lack_is_named(ave_shards, tmp_path):
    with pytest.raises(InputError, match="is not a finished shard directory"):
        ClipDataset(tmp_path, "train", DataConfig(), audio_shape=SHAPE)
    with pytest.raises(
        InputError, match=r"has no fbank_64 of training clips \(it has fbank_128, fbank_224\)"
    ):
        ClipDataset(ave_shards, "train", DataConfig(), audio_shape=(102, 64))
    with pytest.raises(InputError, match="has no clips in split 'holdout'"):
        ClipDataset(ave_shards, "holdout", DataConfig(), audio_shape=SHAPE)
