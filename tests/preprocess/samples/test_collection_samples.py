"""From a collection in its authors' layout to samples: members, shapes, and what becomes of wrong masks."""

import dataclasses
import hashlib
import io
import json
import re
import shutil
import wave

import numpy as np
import pytest
from PIL import Image
from stgcma.preprocess.collections import avs_s4, music_avqa
from stgcma.preprocess.collections.specification import ClipSpecification, FeatureSettings
from stgcma.preprocess.media.pictures import open_picture
from stgcma.preprocess.media.reasons import ClipError
from stgcma.preprocess.samples import sample
from stgcma.preprocess.samples.masks import mask_members
from stgcma.preprocess.samples.sample import SampleMaker, check_length, silence
from stgcma.preprocess.samples.sources import source_files
from stgcma.preprocess.synthesis import avs_s4 as synthetic_avs
from stgcma.preprocess.synthesis import music_avqa as synthetic_avqa
from stgcma.preprocess.synthesis.music_scene import SECONDS

# One process for all: they share a collection.
pytestmark = pytest.mark.xdist_group("samples of collections")

FRAMES = (5, 224, 224, 3)


def array(content):
    return np.load(io.BytesIO(content), allow_pickle=False)


def picture(content):
    return Image.open(io.BytesIO(content))


@pytest.fixture(scope="module")
def avs_raw(tmp_path_factory):
    """A training and a test clip, encoded."""
    raw = tmp_path_factory.mktemp("avs")
    scripts = [
        next(s for s in synthetic_avs.write_scripts(10, 0) if s.split == split) for split in ("train", "test")
    ]
    for script in scripts:
        (raw / "raw_videos" / script.place).parent.mkdir(parents=True)
        synthetic_avs.render(script, raw)
    lines = ["name,start,category,split", *(f"{s.name},0,{s.category},{s.split}" for s in scripts)]
    (raw / "s4_meta_data.csv").write_text("\n".join(lines))
    return raw


def make(raw, clip, *, missing_audio="quarantine"):
    settings = FeatureSettings(avs_s4.SAMPLING, ("clip", "swin"))
    return SampleMaker(raw, settings, missing_audio=missing_audio)(clip)


def test_a_sample_names_every_file_that_it_was_made_of(avs_raw):
    train, test = avs_s4.read(avs_raw).clips
    for clip, masks in ((train, 1), (test, 5)):
        files = make(avs_raw, clip).source_files
        assert [file.name for file in files] == [clip.source, *filter(None, clip.masks)]
        assert len(files) == 1 + masks
        for file in files:
            content = (avs_raw / file.name).read_bytes()
            assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_clips_of_one_source_hash_it_once(tmp_path, monkeypatch):
    (tmp_path / "film.mp4").write_bytes(b"a film")
    digest, hashed = hashlib.file_digest, []
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: hashed.append(given) or digest(*given))
    clips = [ClipSpecification(f"clip-{number}", "train", "film.mp4") for number in range(3)]
    (first,), *others = (source_files(clip, tmp_path.joinpath) for clip in clips)
    assert others == [(first,), (first,)]
    assert len(hashed) == 1
    (tmp_path / "film.mp4").write_bytes(b"another")
    assert source_files(clips[0], tmp_path.joinpath)[0].sha256 != first.sha256


def test_a_clip_of_avs_has_its_frames_fbanks_and_masks(avs_raw):
    train, test = (make(avs_raw, clip) for clip in avs_s4.read(avs_raw).clips)
    assert [name for name in train.members if name.startswith("mask")] == ["mask_00.png"]
    assert [name for name in test.members if name.startswith("mask")] == [
        f"mask_{k:02d}.png" for k in range(5)
    ]
    assert sum(name.startswith("frame") for name in test.members) == 5
    assert array(test.members["fbank_128.npy"]).shape[0::2] == (5, 128)
    assert array(test.members["fbank_224.npy"]).shape == (5, 224, 224)
    assert test.seconds == pytest.approx(5, abs=0.1)
    for name in ("mask_00.png", "mask_04.png"):
        mask = picture(test.members[name])
        assert (mask.mode, mask.size, set(np.unique(mask))) == ("L", (224, 224), {0, 255})


def test_the_masked_pixels_are_the_sounding_objects_in_that_frame(avs_raw):
    """Frame and mask are of the same moment: inside the mask, the object's colour; around it, not."""
    sample = make(avs_raw, avs_s4.read(avs_raw).clips[1])
    sounding = synthetic_avs.CATEGORIES.index(sample.fields["category"])
    colour = np.array(synthetic_avs.OBJECTS[sounding].colour)
    for second in range(5):
        frame = np.asarray(picture(sample.members[f"frame_{second:02d}.jpg"])).astype(int)
        inside = np.asarray(picture(sample.members[f"mask_{second:02d}.png"])) > 0
        near = np.abs(frame - colour).max(axis=2) < 60
        assert near[inside].mean() > 0.7
        assert near[~inside].mean() < 0.05


def test_pictures_and_a_sound_file_make_the_same_members_as_a_video(avs_raw, tmp_path):
    video = avs_s4.read(avs_raw).clips[1]
    whole = make(avs_raw, video)
    place = f"test/{video.fields['category']}"
    frames = tmp_path / "visual_frames" / place / video.key
    frames.mkdir(parents=True)
    for second in range(5):
        picture(whole.members[f"frame_{second:02d}.jpg"]).save(frames / f"{video.key}_{second + 1}.png")
    (tmp_path / "gt_masks").symlink_to(avs_raw / "gt_masks")
    (tmp_path / "s4_meta_data.csv").write_text(
        f"name,category,split\n{video.key},{video.fields['category']},test\n"
    )

    (test,) = avs_s4.read(tmp_path).clips
    settings = FeatureSettings(avs_s4.SAMPLING, ("clip", "swin"))
    with pytest.raises(
        ClipError, match="no-audio: its frames are pictures, and there is no sound file beside"
    ):
        SampleMaker(tmp_path, settings, allow_links=True)(test)
    silent = SampleMaker(tmp_path, settings, missing_audio="silence", allow_links=True)(test)
    assert (silent.has_audio, silent.decoder, silent.seconds, silent.fps) == (False, "pillow", 5.0, 0.0)
    assert silent.members.keys() == whole.members.keys()
    first, second = (np.asarray(picture(s.members["frame_03.jpg"])).astype(int) for s in (whole, silent))
    assert np.abs(first - second).mean() < 3

    sound = tmp_path / "audio_wav" / place / f"{video.key}.wav"
    sound.parent.mkdir(parents=True)
    with wave.open(str(sound), "wb") as stream:
        stream.setnchannels(1), stream.setsampwidth(2), stream.setframerate(16000)
        stream.writeframes((np.sin(np.arange(5 * 16000) / 5) * 9000).astype("<i2").tobytes())
    heard = SampleMaker(tmp_path, settings, allow_links=True)(avs_s4.read(tmp_path).clips[0])
    assert (heard.has_audio, heard.seconds) == (True, 5.0)
    assert array(heard.members["fbank_224.npy"]).astype(np.float32).std() > 1


@pytest.fixture
def short(avs_raw, ffmpeg, tmp_path):
    """`short(seconds)`: the training and the test clip of a collection, both cut to `seconds`."""

    def cut(seconds):
        shutil.copytree(avs_raw, tmp_path / "raw")
        for path in (tmp_path / "raw" / "raw_videos").rglob("*.mp4"):
            whole = path.rename(tmp_path / "whole.mp4")
            ffmpeg("-i", whole, "-t", seconds, path)
        return tmp_path / "raw", avs_s4.read(tmp_path / "raw").clips

    return cut


def test_masks_beyond_the_end_of_their_clip_are_a_mismatch(short):
    raw, (train, test) = short(2)
    with pytest.raises(ClipError, match=r"mask-mismatch: its last mask is of 4\.94 s, the clip ends at 2\."):
        make(raw, test)
    (warning,) = make(raw, train).warnings  # its one mask is of the first frame
    assert re.fullmatch(r"it lasts 2\.\d\d s, shorter than the usual 5 s", warning)


def test_a_clip_that_ends_a_little_early_is_whole(short):
    raw, clips = short(4.6)
    assert [make(raw, clip).warnings for clip in clips] == [(), ()]


def test_an_event_beyond_the_end_of_its_clip_is_a_bad_annotation(short):
    raw, (clip, _) = short(2)
    clip = dataclasses.replace(clip, masks=(), labels=(0,) * 10)
    late = dataclasses.replace(clip, event_end_seconds=9)
    with pytest.raises(ClipError, match=r"bad-annotation: its event ends at 9 s, the clip itself at 2\."):
        make(raw, late)
    early = make(raw, dataclasses.replace(clip, event_end_seconds=2))
    assert early.warnings[0].endswith("s, shorter than the usual 10 s")


def test_silence_shorter_than_an_analysis_frame_is_empty(avs_raw, monkeypatch):
    clip = avs_s4.read(avs_raw).clips[0]
    with pytest.raises(ClipError, match="empty: its sound lasts 320 samples, less than one analysis frame"):
        check_length(silence(0.02))
    footage = sample.Footage(None, silence(0.02), 0.02, 25.0, has_audio=False)
    monkeypatch.setattr(SampleMaker, "_film", lambda *_: footage)
    with pytest.raises(ClipError, match="empty: its sound lasts 320 samples"):
        make(avs_raw, clip)


def test_a_sound_file_that_ends_before_its_pictures_is_truncated(tmp_path):
    for second in range(1, 6):
        save(tmp_path / f"{second}.png", np.zeros((48, 64, 3)))
    with wave.open(str(tmp_path / "a.wav"), "wb") as stream:
        stream.setnchannels(1), stream.setsampwidth(2), stream.setframerate(16000)
        stream.writeframes(bytes(2 * 16000 * 3))
    clip = ClipSpecification(
        "a", "train", ".", pictures=tuple(f"{second}.png" for second in range(1, 6)), sound="a.wav"
    )
    with pytest.raises(ClipError, match=r"truncated: sound ends at 3\.00 s, the last picture is of 4\.94"):
        make(tmp_path, clip)


def test_a_link_out_of_the_collection_is_refused(avs_raw, tmp_path):
    (tmp_path / "raw_videos").symlink_to(avs_raw / "raw_videos")
    (tmp_path / "s4_meta_data.csv").write_text((avs_raw / "s4_meta_data.csv").read_text())
    with pytest.raises(ClipError, match=r"unsafe-path: raw_videos/train/.* is a link that leads out"):
        make(tmp_path, avs_s4.read(tmp_path).clips[0])


def test_a_missing_mask_is_a_mismatch(avs_raw):
    clip = avs_s4.read(avs_raw).clips[1]
    mask = avs_raw / clip.masks[2]
    content = mask.read_bytes()
    mask.unlink()
    try:
        with pytest.raises(
            ClipError, match=r"mask-mismatch: of the 5 masks it should have, .*_3\.png is not in"
        ):
            make(avs_raw, clip)
    finally:
        mask.write_bytes(content)


def save(path, array_, mode=None):
    Image.fromarray(np.asarray(array_, dtype=np.uint8), mode).save(path)
    return path


def test_masks_become_one_channel_of_black_and_white_with_the_same_bytes(tmp_path):
    grey = np.zeros((448, 448), np.uint8)
    grey[:, 224:] = 255
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    transparent = np.concatenate([colour, np.zeros_like(grey)[:, :, None]], axis=2)
    made = [
        mask_members([save(tmp_path / f"{number}.png", pixels)], FRAMES)["mask_00.png"]
        for number, pixels in enumerate((grey, colour, transparent))
    ]
    assert made[0] == made[1] == made[2]
    mask = np.asarray(picture(made[0]))
    assert mask.shape == (224, 224)
    assert mask[:, :112].max() == 0
    assert mask[:, 112:].min() == 255


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((100, 224)), "mask a.png is 224x100, neither square nor the shape of its 224x224 frames"),
        (np.ones((224, 224)), "mask a.png: its brightest pixel is 1, masks are 0 and 255"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(tmp_path, pixels, message):
    with pytest.raises(ClipError, match=f"mask-mismatch: {message}"):
        mask_members([save(tmp_path / "a.png", pixels)], FRAMES)


def test_a_mask_in_the_shape_of_the_video_fits(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((360, 640)))
    assert mask_members([path], (5, 720, 1280, 3)).keys() == {"mask_00.png"}


def test_a_mask_on_the_stored_pixels_fits_where_these_are_not_square(tmp_path):
    """A DVD's pictures are stored in 720×576 and shown in 1024×576."""
    shown, stored = (np.zeros((576, width)) for width in (1024, 720))
    shape = (5, 576, 1024, 3)
    for number, pixels in enumerate((shown, stored)):
        path = save(tmp_path / f"{number}.png", pixels)
        assert mask_members([path], shape, stored_size=(720, 576)).keys() == {"mask_00.png"}
    with pytest.raises(ClipError, match=r"mask-mismatch: mask 1\.png is 720x576, neither square nor"):
        mask_members([path], shape)


def test_a_frame_without_a_mask_leaves_a_gap(tmp_path):
    paths = [save(tmp_path / f"{number}.png", np.full((224, 224), 255)) for number in (0, 2)]
    assert mask_members([paths[0], None, paths[1]], FRAMES).keys() == {"mask_00.png", "mask_02.png"}


def test_further_masks_of_a_training_clip_become_its_members(avs_raw, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(avs_raw, raw)
    (clip, *_) = avs_s4.read(raw).clips
    published = make(raw, clip).members
    shutil.copy(raw / clip.masks[0], str(raw / clip.masks[0]).replace("_1.png", "_4.png"))
    (clip, *_) = avs_s4.read(raw).clips
    members = make(raw, clip).members
    assert sorted(members.keys() - published.keys()) == ["mask_03.png"]
    assert {name: content for name, content in members.items() if name in published} == published


def test_masks_of_different_sizes_are_refused(tmp_path):
    paths = [save(tmp_path / f"{size}.png", np.zeros((size, size))) for size in (224, 100)]
    with pytest.raises(ClipError, match="mask-mismatch: its masks have different sizes: 100x100, 224x224"):
        mask_members(paths, FRAMES)


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"GIF89a" + b"\0" * 40]
)
def test_an_unreadable_mask_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ClipError, match=r"mask-mismatch: mask a\.png: "):
        mask_members([tmp_path / "a.png"], FRAMES)


def test_a_decompression_bomb_is_refused_unread(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (20000, 20000)).save(path)
    with pytest.raises(ClipError, match=r"mask-mismatch: mask a\.png: .*(bomb|at most)"):
        mask_members([path], FRAMES)
    with pytest.raises(ClipError, match=r"too-large: a\.png: .*decompression bomb"):
        open_picture(path)


def test_a_clip_of_avqa_has_its_questions(tmp_path):
    scene = synthetic_avqa.write_scene(2, np.random.default_rng(0))
    for name in (synthetic_avqa.REAL_FOLDER, synthetic_avqa.SYNTHETIC_FOLDER):
        (tmp_path / name).mkdir()
    synthetic_avqa.render(scene, tmp_path)
    records = synthetic_avqa.Asker(np.random.default_rng(1)).ask(scene, 1)
    for split, content in (("train", records), ("val", []), ("test", [])):
        (tmp_path / f"avqa-{split}.json").write_text(json.dumps(content))
    (clip,) = music_avqa.read(tmp_path).clips
    sample = SampleMaker(tmp_path, FeatureSettings(music_avqa.SAMPLING, ("swin",)))(clip)
    assert sorted(sample.members) == ["fbank_224.npy", *(f"frame_{k:02d}.jpg" for k in range(10)), "qa.json"]
    assert array(sample.members["fbank_224.npy"]).shape[0] == 10
    assert len(json.loads(sample.members["qa.json"])) == sum(
        not record["question_deleted"] for record in records
    )
    assert sample.seconds == pytest.approx(SECONDS, abs=0.1)


def palette_picture(colours, indices):
    from PIL import Image

    image = Image.fromarray(indices.astype(np.uint8), mode="P")
    image.putpalette([level for colour in colours for level in colour])
    return image


HALF = np.zeros((224, 224), dtype=np.uint8)
HALF[:, 112:] = 1


@pytest.mark.parametrize(
    "stored",
    [
        HALF,
        HALF * 255,
        HALF * 7,
        np.dstack([HALF * 255] * 3),
        np.dstack([HALF * 0, HALF * 128, HALF * 0]),
        HALF.astype(np.uint16) * 300,
        palette_picture([(0, 0, 0), (128, 0, 0)], HALF),
    ],
    ids=["0 and 1", "0 and 255", "0 and 7", "RGB", "dark green", "16 bits", "palette"],
)
def test_masks_of_two_values_are_an_object_wherever_they_are_above_0(tmp_path, stored):
    from PIL import Image

    path = tmp_path / "a.png"
    (Image.fromarray(stored) if isinstance(stored, np.ndarray) else stored).save(path)
    made = mask_members([path], FRAMES, two_values=True)["mask_00.png"]
    assert np.array_equal(np.asarray(picture(made)), HALF * 255)


def test_a_mask_of_one_value_is_empty_or_full(tmp_path):
    for value, expected in ((0, 0), (1, 255)):
        path = save(tmp_path / f"{value}.png", np.full((224, 224), value))
        made = mask_members([path], FRAMES, two_values=True)["mask_00.png"]
        assert set(np.unique(picture(made))) == {expected}


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (HALF + HALF.T, "it has 3 values; a mask has 0 and one other value"),
        (HALF * 100 + 100, "none of its two values is 0, the background"),
        (np.dstack([HALF * 255, HALF.T * 255, HALF * 0]), "it has 4 values"),
        (
            palette_picture([(255, 255, 255), (0, 0, 0)], HALF),
            "its palette gives 0 another colour than black",
        ),
        (palette_picture([(0, 0, 0), (9, 9, 9), (80, 0, 0)], HALF + HALF.T), "it has 3 values"),
    ],
    ids=["grey levels", "no background", "colours", "inverted palette", "three indices"],
)
def test_masks_of_other_than_two_values_are_refused(tmp_path, stored, message):
    from PIL import Image

    (Image.fromarray(stored) if isinstance(stored, np.ndarray) else stored).save(tmp_path / "a.png")
    with pytest.raises(ClipError, match=f"mask-mismatch: mask a.png: {message}"):
        mask_members([tmp_path / "a.png"], FRAMES, two_values=True)
