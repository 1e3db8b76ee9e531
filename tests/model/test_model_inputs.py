"""One clip's frames, energies and question as the model's inputs."""

import dataclasses

import pytest
import stgcma
import torch
from stgcma.errors import InputError
from stgcma.model import ModelConfig, TrainedOn, build_from_config

KNOWN = TrainedOn(
    collection="music-avqa",
    preset="avqa-demo",
    classes=(),
    vocabulary={"words": ("<pad>", "how", "many"), "answers": ("one", "two")},
    features={},
    clip_seconds=60.0,
    fbank="fbank_16",
    fbank_mean=-5.0,
    fbank_std=2.0,
    image_mean=(0.5, 0.5, 0.25),
    image_std=(0.5, 0.25, 0.25),
)


@pytest.fixture
def model(helpers):
    model = build_from_config(
        ModelConfig.from_dict(helpers.swin_fields(task="avqa", vocabulary=3, answers=2))
    ).eval()
    model.trained_on = KNOWN
    return model


def test_a_clip_becomes_inputs(model):
    T, F, M = model.config.frames, *model.config.audio_shape
    frames = torch.zeros(T, 3, 16, 16, dtype=torch.uint8)
    frames[:, 2] = 255
    fbank = torch.full((T, F - 2, M), -1.0)
    inputs = stgcma.prepare_inputs(model, frames=frames, fbank=fbank, question=["how", "loud", "many"])
    # (0 − 0.5) / 0.5, (0 − 0.5) / 0.25, (1 − 0.25) / 0.25; (−1 + 5) / (2 · 2); the missing frames are zeros.
    assert inputs["video"][0, 0, :, 0, 0].tolist() == [-1, -2, 3]
    assert inputs["audio"][0, :, :-2].unique().tolist() == [1.0]
    assert inputs["audio"][0, :, -2:].unique().tolist() == [0.0]
    assert inputs["question"].tolist() == [[1, 0, 2] + [0] * 11]
    assert {name: tuple(tensor.shape) for name, tensor in inputs.items()} == {
        name: shape for name, shape in model.config.input_shapes(1).items() if name != "negative"
    }
    with torch.inference_mode():
        assert model(**inputs)["answer_logits"].shape == (1, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"frames": torch.zeros(2, 3, 16, 16)}, r"frames: float32 \[2, 3, 16, 16\], expected uint8"),
        ({"frames": torch.zeros(2, 16, 16, 3, dtype=torch.uint8)}, r"expected uint8 \[T, 3, height, width\]"),
        (
            {"frames": torch.zeros(2, 3, 8, 16, dtype=torch.uint8)},
            r"video: \[1, 2, 3, 8, 16\], the model takes",
        ),
        ({"fbank": torch.zeros(2, 16)}, r"fbank: float32 \[2, 16\], expected float \[T, n, 16\]"),
        ({"fbank": torch.zeros(2, 16, 8)}, r"audio: \[1, 2, 16, 8\], the model takes \[1, 2, 16, 16\]"),
    ],
)
def test_what_does_not_fit_is_named(model, given, message):
    with pytest.raises(InputError, match=message):
        stgcma.prepare_inputs(model, **given)


def test_a_model_that_does_not_say_how_it_was_trained(model):
    model.trained_on = None
    with pytest.raises(InputError, match="does not say how its inputs were normalised"):
        stgcma.prepare_inputs(model, fbank=torch.zeros(2, 16, 16))


def test_a_model_without_questions_takes_none(helpers):
    model = build_from_config(ModelConfig.from_dict(helpers.swin_fields()))
    model.trained_on = dataclasses.replace(KNOWN, vocabulary={})
    with pytest.raises(InputError, match=r"question: .* the model takes only video, audio"):
        stgcma.prepare_inputs(model, question=["how"])
