"""Clips that are longer than their annotation; frames and sound windows of the same span."""

import io

import numpy as np
import pytest
from PIL import Image
from stgcma.preprocess.collections import avs_s4
from stgcma.preprocess.collections.ave import SAMPLING
from stgcma.preprocess.collections.specification import ClipSpecification, FeatureSettings
from stgcma.preprocess.media.reasons import ClipError
from stgcma.preprocess.samples.sample import SampleMaker

from .conftest import AAC

# The picture is black and the sound silent for 4 s; then it is white and a tone sounds.
WHITE = "nullsrc=s=64x48:r=10:d={seconds},geq=lum='if(gte(T,4),235,16)':cb=128:cr=128"
TONE = r"aevalsrc=0.5*sin(880*PI*t)*gte(t\,4):s=16000:d={seconds}"


@pytest.fixture
def make(tmp_path, ffmpeg):
    """`make(seconds, annotated)` makes the sample of a clip that lasts `seconds`."""

    def make(seconds, annotated, *, sampling=SAMPLING, **options):
        path = tmp_path / "clip.mp4"
        sources = [WHITE.format(seconds=seconds), TONE.format(seconds=seconds)]
        inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
        ffmpeg(*inputs, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", *AAC, path)
        clip = ClipSpecification("clip", "train", path.name, annotated_seconds=annotated)
        return SampleMaker(tmp_path, FeatureSettings(sampling, ("clip",)), **options)(clip)

    return make


def white(sample):
    """Return true for each white frame."""
    names = sorted(name for name in sample.members if name.startswith("frame_"))
    return [np.asarray(Image.open(io.BytesIO(sample.members[name]))).mean() > 127 for name in names]


def loud(sample):
    """Return true for each window with the tone at its end."""
    fbank = np.load(io.BytesIO(sample.members["fbank_128.npy"])).astype(np.float32)
    return (fbank[:, -1].max(axis=1) > 0).tolist()


@pytest.mark.parametrize(("seconds", "annotated"), [(6.1, 5), (12, 4)])
def test_a_clip_longer_than_its_annotation_is_put_aside(make, seconds, annotated):
    message = f"it lasts {seconds:.2f} s, its annotation is of {annotated} s"
    with pytest.raises(ClipError, match=message) as caught:
        make(seconds, annotated)
    assert caught.value.reason == "longer-than-annotated"


@pytest.mark.parametrize(("seconds", "annotated"), [(5.03, 5), (5.5, 5), (6, 5), (12, 0)])
def test_an_encoders_rounding_is_no_other_clip(make, seconds, annotated):
    sample = make(seconds, annotated)
    assert sample.seconds == pytest.approx(seconds, abs=0.1)
    assert white(sample)[-1]
    assert loud(sample)[-1]
    assert sample.warnings == ()


def test_trimmed_to_its_annotation_it_ends_there(make):
    sample = make(12, 4, trim=True)
    assert sample.seconds == 4
    assert sample.warnings == ("it lasts 12.00 s: the first 4 s were taken",)
    assert not any(white(sample))
    assert not any(loud(sample))
    whole = make(12, 0, trim=True)
    # Frames at 0, 1.3, 2.6, 4.0 … 11.9 s; windows end at 1, 2.2, 3.4, 4.6 … 11.9 s.
    assert white(whole) == loud(whole) == [False] * 3 + [True] * 7


def test_masked_frames_and_windows_are_of_the_same_seconds(make):
    """The fifth second of 5.9 s: frames never reach beyond it, so windows do not either."""
    longer = make(5.9, 5, sampling=avs_s4.SAMPLING)
    exact = make(5, 5, sampling=avs_s4.SAMPLING)
    assert white(longer) == white(exact) == [False] * 4 + [True]
    one, other = (np.load(io.BytesIO(sample.members["fbank_128.npy"])) for sample in (longer, exact))
    assert (np.abs(one.astype(np.float32) - other) > 0.5).mean() < 0.05
