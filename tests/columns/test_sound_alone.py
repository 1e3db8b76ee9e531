"""Fbanks of clips that are in shards, from their sound alone: the bytes of a sample, and changed files."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from stgcma.preprocess.collections import ave, avs_s4
from stgcma.preprocess.collections.specification import ClipSpecification, FeatureSettings
from stgcma.preprocess.media.reasons import ClipError
from stgcma.preprocess.samples import sound as sounds
from stgcma.preprocess.samples.sample import SampleMaker
from stgcma.preprocess.samples.sound import SoundMaker, WrittenClip
from stgcma.shards.schema import SourceFile
from stgcma.shards.writer import write_shard

PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=12.4")
SWEEP = ("-f", "lavfi", "-i", "aevalsrc='0.4*sin(2*PI*t*(200+20*t))':s=22050:d=12.4")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "12", "-pix_fmt", "yuv420p")


@pytest.fixture(scope="module")
def folder(ffmpeg, tmp_path_factory):
    """RAW with the same pictures and sound in several kinds of files."""
    folder = tmp_path_factory.mktemp("raw")
    ffmpeg(*PICTURE, *SWEEP, *X264, "-c:a", "aac", folder / "clip.mp4")
    ffmpeg(*PICTURE, *SWEEP, "-c:v", "mpeg4", "-c:a", "pcm_s16le", folder / "clip.avi")
    ffmpeg(*PICTURE, *X264, folder / "mute.mp4")
    ffmpeg(*SWEEP, "-t", "5", folder / "sound.wav")
    for number in range(5):
        Image.new("RGB", (32, 24), (50 * number,) * 3).save(folder / f"{number}.png")
    return folder


MASKS = {"masks": ("0.png", "", "1.png", "", ""), "mask_kind": "objects"}
CLIPS = {
    "a whole file": (ave.SAMPLING, ClipSpecification("key", "train", "clip.mp4", annotated_seconds=10), True),
    "a span": (
        ave.SAMPLING,
        ClipSpecification("key", "train", "clip.mp4", start_seconds=1.3, end_seconds=11.3),
        False,
    ),
    "a span without times": (
        ave.SAMPLING,
        ClipSpecification("key", "train", "clip.avi", start_seconds=2.1, end_seconds=12.1),
        False,
    ),
    "frames with masks": (
        avs_s4.SAMPLING,
        ClipSpecification(
            "key", "train", "clip.mp4", end_seconds=5.0, frame_seconds=(0.9, 1.9, 2.9, 3.9, 4.9), **MASKS
        ),
        False,
    ),
    "pictures and a sound file": (
        avs_s4.SAMPLING,
        ClipSpecification(
            "key", "train", ".", pictures=tuple(f"{n}.png" for n in range(5)), sound="sound.wav"
        ),
        False,
    ),
    "silence": (ave.SAMPLING, ClipSpecification("key", "train", "mute.mp4", annotated_seconds=10), True),
}


def written(folder, tmp_path, sampling, clip, *, trim):
    """The sample of a clip with both fbanks, and the clip as the manifest has it."""
    maker = SampleMaker(
        folder, FeatureSettings(sampling, ("clip", "swin")), missing_audio="silence", trim=trim
    )
    sample = maker(clip)
    (record,) = write_shard(tmp_path, "train", 0, [sample])
    return sample, WrittenClip.of(clip, record)


def sound_maker(folder, sampling, *, trim=False):
    return SoundMaker(folder, FeatureSettings(sampling, ("swin",)), missing_audio="silence", trim=trim)


@pytest.mark.parametrize("kind", CLIPS)
def test_the_fbank_is_that_of_the_sample(folder, tmp_path, monkeypatch, kind):
    sampling, clip, trim = CLIPS[kind]
    sample, clip = written(folder, tmp_path, sampling, clip, trim=trim)
    if kind != "a span without times":
        for module, name in (("media.recording", "Collector"), ("samples.sample", "read_pictures")):
            monkeypatch.setattr(f"stgcma.preprocess.{module}.{name}", None)  # no picture is decoded
        monkeypatch.setattr("stgcma.preprocess.samples.sample.read_frames", None)
    made = sound_maker(folder, sampling, trim=trim)(clip)
    assert made.members == {"fbank_224.npy": sample.members["fbank_224.npy"]}
    assert made.fbank_sums["fbank_224"] == sample.fbank_sums["fbank_224"]
    assert np.isclose(made.seconds, sample.seconds, atol=1e-6)


def test_a_file_that_was_replaced_is_not_used(folder, tmp_path):
    sampling, clip, _ = CLIPS["a span"]
    _, clip = written(folder, tmp_path, sampling, clip, trim=False)
    (file,) = clip.written_files
    for other in (
        SourceFile(file.name, file.bytes + 1, file.sha256),
        SourceFile(file.name, file.bytes, "0" * 64),
    ):
        with pytest.raises(ClipError, match=r"changed: clip\.mp4 is not the file that key was made of"):
            sound_maker(folder, sampling)(replace(clip, written_files=(other,)))
    unknown = replace(clip, written_files=())  # of an earlier version
    assert sound_maker(folder, sampling)(unknown).members.keys() == {"fbank_224.npy"}


def test_a_clip_of_another_length_is_not_used(folder, tmp_path):
    sampling, clip, _ = CLIPS["a span"]
    _, clip = written(folder, tmp_path, sampling, clip, trim=False)
    with pytest.raises(ClipError, match=r"changed: it lasts 9\.900 s, the written clip 9\.500 s"):
        sound_maker(folder, sampling)(replace(clip, written_seconds=9.5))


def test_a_file_that_is_gone_is_missing(folder, tmp_path):
    sampling, clip, _ = CLIPS["a span"]
    _, clip = written(folder, tmp_path, sampling, clip, trim=False)
    with pytest.raises(ClipError, match="missing"):
        sound_maker(tmp_path, sampling)(clip)


def test_only_written_clips_are_taken(folder):
    with pytest.raises(TypeError, match="must be a WrittenClip"):
        sound_maker(folder, ave.SAMPLING)(CLIPS["a span"][1])
    assert sounds.WrittenClip.__mro__[1] is ClipSpecification
