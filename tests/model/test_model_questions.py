"""AVQA with any number of questions per clip: `owner` says whose each question is."""

from __future__ import annotations

import pytest
import torch
from stgcma.model import ModelConfig, build_from_config

from .conftest import swin_fields, teach


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    fields = swin_fields(task="avqa", depths=(2, 1, 1, 1))
    return teach(build_from_config(ModelConfig.from_dict(fields))).eval()


def asked(helpers, config, owner):
    """Inputs of three clips, and a question for each entry of `owner`."""
    inputs = helpers.draw_inputs(config, 3, negative=True)
    generator = torch.Generator().manual_seed(4)
    inputs["question"] = torch.randint(0, config.head.vocabulary, (len(owner), 14), generator=generator)
    return inputs


@pytest.mark.parametrize("owner", [[0, 0, 1, 2, 2, 2], [2, 0, 2, 1], [1], [0, 2]])
def test_each_question_gets_the_answer_it_gets_alone(helpers, model, owner):
    inputs = asked(helpers, model.config, owner)
    outputs = model(**inputs, owner=torch.tensor(owner))
    assert outputs["answer_logits"].shape == (len(owner), model.config.head.answers)
    assert outputs["match_positive"].shape == (3 * model.config.frames, 2)  # once a clip, however many ask
    for index, clip in enumerate(owner):
        alone = {name: x[clip : clip + 1] for name, x in inputs.items() if name != "question"}
        answer = model(**alone, question=inputs["question"][index : index + 1])["answer_logits"][0]
        torch.testing.assert_close(outputs["answer_logits"][index], answer, rtol=1e-4, atol=1e-5)


def test_one_question_a_clip_needs_no_owner(helpers, model):
    inputs = asked(helpers, model.config, [0, 1, 2])
    plain, owned = model(**inputs), model(**inputs, owner=torch.arange(3))
    for name, output in plain.items():
        torch.testing.assert_close(owned[name], output)


@pytest.mark.parametrize(
    ("owner", "message"),
    [
        (torch.tensor([0, 3]), "owner: 3, expected 0 to 2: the number of clips is 3"),
        (torch.tensor([0, -1]), "owner: -1, expected 0 to 2: the number of clips is 3"),
        (torch.tensor([0.0, 1.0]), r"owner: float32 of shape \[2\], expected int64 \[Q\]"),
        (torch.tensor([[0, 1]]), r"owner: int64 of shape \[1, 2\], expected int64 \[Q\]"),
        (torch.tensor([], dtype=torch.int64), r"owner: int64 of shape \[0\], .* one or more questions"),
        (torch.tensor([0, 1, 2]), r"question: shape \[2, 14\], expected \[3, 14\]"),
    ],
)
def test_a_wrong_owner_is_named(helpers, model, owner, message):
    with pytest.raises(ValueError, match=message):
        model(**asked(helpers, model.config, [0, 1]), owner=owner)


def test_questions_without_an_owner_must_be_as_many_as_the_clips(helpers, model):
    with pytest.raises(ValueError, match=r"question: shape \[2, 14\], expected \[3, 14\]"):
        model(**asked(helpers, model.config, [0, 1]))


def test_other_tasks_take_no_owner(helpers):
    model = build_from_config(ModelConfig.from_dict(helpers.clip_fields()))
    with pytest.raises(ValueError, match="owner: given, but this ave model takes no questions"):
        model(**helpers.draw_inputs(model.config), owner=torch.tensor([0]))
