"""`stgcma predict` with a run of AVS: masks, layers and overlaid videos."""

import json
import shutil

import av
import numpy as np
import pytest
from PIL import Image
from stgcma.predict import predict
from stgcma.predict.avs_picture import full_mask, mask_layer
from stgcma.predict.overlay import overlay_size, write_overlay
from stgcma.preprocess.collections import masks as own_masks
from stgcma.preprocess.collections.specification import FeatureSettings
from stgcma.preprocess.media.probe import probe
from stgcma.preprocess.samples.sample import SampleMaker
from stgcma.shards.members import read_mask

from .conftest import H264, picture, tone
from .test_predict_ave import scored

# One process makes the run; others would wait for it.
pytestmark = pytest.mark.xdist_group("predictions of AVS")


def pictures(path):
    """Return the pictures of a video with their times, its codec and pixel format, and its sound codecs."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        facts = (stream.codec_context.name, stream.codec_context.pix_fmt)
        sounds = [sound.codec_context.name for sound in container.streams.audio]
        shown = [
            (float(one.pts * one.time_base), one.to_ndarray(format="rgb24"))
            for one in container.decode(stream)
        ]
    return shown, facts, sounds


def test_a_clip_gets_the_masks_that_evaluate_gives_it(run_of, raw_of, tmp_path):
    run = run_of("avs")
    found = {}
    for batch, made, _ in scored(run):
        found.update(zip(batch.keys, made["mask_logits"], strict=True))
    key, logits = next(iter(found.items()))
    (video,) = raw_of("avs").rglob(f"{key}.mp4")
    (one,) = predict(run, [video], out=tmp_path).videos
    expected = logits.squeeze(1).sigmoid().numpy()
    assert len(one.seconds) == len(expected) == 5
    for second, shares in zip(one.seconds, expected, strict=True):
        with Image.open(tmp_path / second.mask) as mask:
            assert mask.size == (one.width, one.height)
            assert np.array_equal(np.asarray(mask), np.asarray(full_mask(shares, one.width, one.height)))
            assert second.share == pytest.approx(np.asarray(mask).mean() / 255)


@pytest.mark.parametrize(
    ("own", "written"),
    [
        ((161, 121), (161, 121)),
        ((1280, 720), (640, 360)),
        ((1080, 1920), (360, 640)),
        ((854, 480), (640, 360)),
    ],
)
def test_an_overlay_has_the_video_s_own_size_unless_that_is_large(own, written):
    assert overlay_size(*own) == written


def test_a_large_video_is_overlaid_smaller(run_of, encoded, tmp_path, monkeypatch):
    sizes = set()

    def write(info, layers, *rest, **options):
        for path in layers.iterdir():
            with Image.open(path) as drawn:
                sizes.add(drawn.size)
        write_overlay(info, layers, *rest, **options)

    monkeypatch.setattr("stgcma.predict.avs.write_overlay", write)
    large = encoded("large.mp4", *picture(seconds=1.2, size="960x720"), *tone(seconds=1.2), *H264)
    (one,) = predict(run_of("avs"), [large], out=tmp_path).videos
    with Image.open(tmp_path / one.seconds[0].mask) as mask:
        assert mask.size == (one.width, one.height) == (960, 720)
    after, _, sounds = pictures(tmp_path / "large.overlay.mp4")
    assert after[0][1].shape == (360, 480, 3)
    assert sizes == {(480, 360)}
    assert sounds == ["aac"]


def test_a_layer_has_an_edge_within_its_mask():
    mask = Image.new("L", (40, 30))
    mask.paste(255, (10, 5, 40, 20))
    drawn = np.asarray(mask_layer(mask).convert("RGBA")).astype(int)
    inner = np.zeros((30, 40), dtype=bool)
    inner[6:19, 11:40] = True  # no edge where the picture ends
    sounds = np.asarray(mask) > 0
    shown = [drawn[part, 3].max() for part in (~sounds, inner, sounds & ~inner)]
    assert shown == [drawn[part, 3].min() for part in (~sounds, inner, sounds & ~inner)]
    assert shown[0] == 0 < shown[1] < shown[2]


@pytest.mark.slow
def test_a_turned_video_is_overlaid_upright(stgcma, run_of, encoded, tmp_path):
    plain = encoded("plain.mp4", *picture(seconds=2.2, rate="30000/1001"), *tone(seconds=2.2), *H264)
    turned = encoded("turned.mp4", "-display_rotation", 90, "-i", plain, "-c", "copy")
    for _again in range(2):
        result = stgcma("predict", run_of("avs"), turned, "--out", tmp_path)
        assert result.status == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "Annotations", "turned.json", "turned.masks", "turned.overlay.mp4", "turned.strip.png",
    ]  # fmt: skip
    check_annotations(tmp_path, turned)
    said = json.loads((tmp_path / "turned.json").read_text())
    assert (said["width"], said["height"], len(said["seconds"])) == (120, 160, 2)
    masks = sorted((tmp_path / "turned.masks").iterdir())
    assert [path.name for path in masks] == [f"{second:06d}.png" for second in range(2)]
    assert [second["mask"] for second in said["seconds"]] == [f"turned.masks/{path.name}" for path in masks]
    before, _, _ = pictures(turned)
    after, facts, sounds = pictures(tmp_path / "turned.overlay.mp4")
    assert facts == ("h264", "yuv420p")
    assert sounds == ["aac"]
    assert after[0][1].shape == (160, 120, 3)
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=1e-4)
    with Image.open(tmp_path / "turned.strip.png") as strip:
        strip.verify()


def check_annotations(folder, video):
    """The masks of the seconds are a collection of masks: the same frames and pixels."""
    shutil.copy(video, folder / video.name)
    collection = own_masks.read(folder)
    make = SampleMaker(folder, FeatureSettings(collection.sampling, ("swin",)))
    read = {}
    for clip in collection.clips:
        members = make(clip).members
        for place in clip.fields["annotated"]:
            name = f"mask_{place:02d}.png"
            read[clip.fields["start"] + place] = read_mask(members[name], name)
    assert sorted(read) == list(range(2))
    for second, found in read.items():
        with Image.open(folder / "turned.masks" / f"{second:06d}.png") as mask:
            expected = np.asarray(mask.resize((224, 224), Image.Resampling.NEAREST)) > 127
        assert np.array_equal(found, expected)
    (folder / video.name).unlink()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("mirrored.mp4", ("-display_rotation", 0, "-display_hflip")),
        ("transposed.mp4", ("-display_rotation", 270, "-display_hflip")),
        ("transposed.mkv", ("-display_rotation", 270, "-display_hflip")),
    ],
)
def test_an_overlay_is_upright_with_square_pixels_and_says_so(encoded, tmp_path, name, how):
    """The left third is black; players show 160×90 stored as 120×90, then mirrored or transposed."""
    stored = "color=white:s=120x90:r=5:d=1,drawbox=w=40:h=90:c=black:t=fill,setsar=4/3"
    plain = encoded("plain.mp4", "-f", "lavfi", "-i", stored, *H264)
    info = probe(encoded(name, *how, "-i", plain, "-c", "copy"))
    size = overlay_size(*info.video.square_size)
    assert size == ((160, 90) if name.startswith("mirrored") else (90, 160))
    (tmp_path / "layers").mkdir()
    mask_layer(Image.new("L", size)).save(tmp_path / "layers" / "000000.png")
    target = tmp_path / "out.mp4"
    write_overlay(info, tmp_path / "layers", size, 15 / 16, target, on_seconds=lambda _: None)
    written = probe(target).video
    assert (written.orientation.upright, written.pixel_aspect) == (True, 1)
    assert (written.width, written.height) == size
    image = pictures(target)[0][0][1].mean(axis=2)
    dark = image[:, -40:] if name.startswith("mirrored") else image[:40]
    assert (dark.max() < 60, image.mean() > 140) == (True, True)


def test_an_overlay_of_interlaced_pictures_has_no_combs(encoded, tmp_path):
    comb = "nullsrc=s=64x64:r=10:d=1,geq=lum='if(mod(Y,2),16,235)':cb=128:cr=128"
    fields = (*H264, "-qp", "0", "-x264-params", "interlaced=1")
    info = probe(encoded("comb.mp4", "-f", "lavfi", "-i", comb, *fields))
    (tmp_path / "layers").mkdir()
    mask_layer(Image.new("L", (64, 64))).save(tmp_path / "layers" / "000000.png")
    target = tmp_path / "out.mp4"
    write_overlay(info, tmp_path / "layers", (64, 64), 15 / 16, target, on_seconds=lambda _: None)
    after, before = pictures(target)[0], pictures(info.path)[0]
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=1e-4)
    steps = [np.abs(np.diff(image.astype(int), axis=0)).max() for image in (after[4][1], before[4][1])]
    assert steps[0] < 60 < steps[1]
    assert not probe(target).video.interlaced


def test_each_layer_is_shown_about_its_own_moment(encoded, tmp_path):
    """An odd size, a variable frame rate, sound other than AAC; only the layers differ between pictures."""
    drop = "select='not(between(n,40,55))*not(eq(mod(n,7),3))'"
    grey = ("-f", "lavfi", "-i", "color=c=gray:s=161x121:r=30:d=4")
    video = encoded(
        "odd.mkv", *grey, *tone(), "-vf", drop, "-fps_mode", "vfr", "-c:v", "ffv1", "-c:a", "libopus"
    )
    layers = tmp_path / "layers"
    layers.mkdir()
    for second in range(4):
        mask = Image.new("L", (161, 121))
        mask.paste(255, (40 * second, 0, 40 * second + 30, 121))
        mask_layer(mask).save(layers / f"{second:06d}.png")
    told = []
    write_overlay(probe(video), layers, (161, 121), 15 / 16, tmp_path / "out.mp4", on_seconds=told.append)
    assert told[-1] == pytest.approx(4, abs=0.1)
    before, _, _ = pictures(video)
    after, facts, sounds = pictures(tmp_path / "out.mp4")
    assert (facts, sounds) == (("h264", "yuv420p"), ["aac"])
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=1e-3)
    for time, pixels in after:
        assert pixels.shape == (122, 162, 3)
        redness = [
            float(pixels[60, 40 * second + 15, 0]) - float(pixels[60, 40 * second + 15, 2])
            for second in range(4)
        ]
        shown = min(max(round(time - 15 / 16), 0), 3)
        if abs(time - 15 / 16 - 0.5 - shown) > 0.02 and abs(time - 15 / 16 + 0.5 - shown) > 0.02:
            assert int(np.argmax(redness)) == shown, f"at {time} s: {redness}"
