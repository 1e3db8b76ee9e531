"""AVQA: the answer to a question about a clip, and the match of frames and sound (MUSIC-AVQA)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..adapters.base import has_autocast
from ..backbones.encoder import Encoded
from ..checks import check_integer
from ..config import ModelConfig
from ..noise import Dropout
from ..records import Head, HeadConfig, InputSpec
from .base import TaskHead, layer_names

WIDTH = 512
AUDIO_WIDTH = 128
HEADS = 4
DROPOUT = 0.1
QUESTION_WORDS = 14
_MOST_WORDS = 10_000_000
_REFERENCE_LAYERS = {
    "yb_fc_v": "video",
    "yb_fc_a": "audio",
    "fc_a1": "sound.0",
    "fc_a2": "sound.2",
    "fc_gl": "ground",
    "fc1": "match.0",
    "fc2": "match.2",
    "fc3": "match.4",
    "fc4": "match.6",
    "question_encoder.fc": "question.project",
    "attn_v.out_proj": "attend_video.attention.out_proj",
    "attn_a.out_proj": "attend_audio.attention.out_proj",
    "linear11": "attend_video.linear1",
    "linear12": "attend_video.linear2",
    "norm1": "attend_video.norm",
    "linear21": "attend_audio.linear1",
    "linear22": "attend_audio.linear2",
    "norm2": "attend_audio.norm",
    "fc_fusion": "fusion",
    "fc_ans": "answer",
}


@dataclass(frozen=True, kw_only=True)
class AvqaConfig(HeadConfig):
    """The options of the AVQA head: the numbers of words, the padding among them, and of answers."""

    task = "avqa"
    frames = 10
    needs = frozenset({"pooled", "tokens"})
    pooled_of = frozenset({"audio"})
    needs_both = True
    explains = True

    vocabulary: int = 93
    answers: int = 42

    def __post_init__(self) -> None:
        for name in ("vocabulary", "answers"):
            check_integer(name, getattr(self, name), most=_MOST_WORDS)

    def inputs(self, frame_shape: tuple[int, ...]) -> dict[str, InputSpec]:
        """Return the inputs `question` `[Q, 14]`, and `negative` like the frames, for training."""
        return {
            "question": InputSpec(
                (QUESTION_WORDS,), integers=True, per="questions", below=(self.vocabulary, "vocabulary")
            ),
            "negative": InputSpec(frame_shape, optional=True),
        }

    def outputs(self) -> dict[str, str]:
        """Return the meaning of `answer_logits`."""
        return {"answer_logits": "scores of vocabulary.answers; softmax over the last dimension"}


class AvqaHead(TaskHead):
    """Grounds the sound in every frame, attends over time from the question, and answers.

    With frames of other clips as `negative`, it also tells the clip's own frames from those; that is trained
    beside the answer and trains the grounding.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        head: Any = config.head
        self.video = nn.Linear(config.feature_width, WIDTH)
        self.audio = nn.Linear(config.feature_width, AUDIO_WIDTH)
        self.sound = nn.Sequential(nn.Linear(AUDIO_WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.ground = nn.Linear(2 * WIDTH, WIDTH)
        self.match = nn.Sequential(
            nn.Linear(2 * WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 2),
        )
        self.question = QuestionEncoder(head.vocabulary)
        self.attend_video = QuestionAttention()
        self.attend_audio = QuestionAttention()
        self.fusion = nn.Linear(2 * WIDTH, WIDTH)
        self.answer = nn.Linear(WIDTH, head.answers)

    def run(
        self,
        encoded: Encoded,
        inputs: Mapping[str, Tensor],
        encode_frozen: Callable[[Tensor], Tensor],
        *,
        explain: bool = False,
    ) -> dict[str, Tensor]:
        """Encode the negative frames where there are any, and answer; as `TaskHead.run`."""
        other = encode_frozen(inputs["negative"]) if "negative" in inputs else None
        result: dict[str, Tensor] = self(
            encoded, inputs["question"], other, inputs.get("owner"), explain=explain
        )
        return result

    def forward(
        self,
        encoded: Encoded,
        question: Tensor,
        negative: Tensor | None,
        owner: Tensor | None = None,
        *,
        explain: bool = False,
    ) -> dict[str, Tensor]:
        """Answer questions about encoded clips.

        Args:
            encoded: the encoder's output for the clips.
            question: word ids `[Q, 14]`.
            negative: frozen tokens `[B, T, N, D]` of other clips' frames, or None.
            owner: the clip of every question, indices `[Q]`; None when each clip has one, in order.
            explain: also return the attention weights. They are computed in any case.

        Returns:
            `answer_logits` `[Q, answers]`; with `negative` also `match_positive` and `match_negative`
            `[B·T, 2]`, the clips one after the other; with `explain` also `attention_audio` and
            `attention_video` `[Q, T]`, each question's attention over time (mean of the heads), and
            `grounding` `[B, T, N]`, the share of the sound at each token. All three sum to 1 over their
            last dimension.
        """
        # A linear layer and a mean commute; the mean first is N times less work.
        sound = self.sound(self.audio(encoded.pooled["audio"]))
        visual, grounding = self._ground(encoded.tokens["video"], sound)
        q = self.question(question)
        asked_sound, asked_visual = (sound, visual) if owner is None else (sound[owner], visual[owner])
        heard, attention_audio = self.attend_audio(q, asked_sound)
        seen, attention_video = self.attend_video(q, asked_visual)
        heard, seen = heard + asked_sound.mean(1), seen + asked_visual.mean(1)
        fused = self.fusion(torch.tanh(torch.cat([heard, seen], dim=-1)))
        result = {"answer_logits": self.answer(torch.tanh(fused * q))}
        if negative is not None:
            result["match_positive"] = self._match(sound, visual)
            result["match_negative"] = self._match(sound, self._ground(negative, sound)[0])
        if explain:
            result["attention_audio"] = attention_audio.mean((1, 2))
            result["attention_video"] = attention_video.mean((1, 2))
            result["grounding"] = grounding
        return result

    def _ground(self, tokens: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frame's features weighted by their similarity to the sound, and the weights.

        `[B, T, N, D]`, `[B, T, 512]` → `[B, T, 512]`, `[B, T, N]`.
        """
        visual = self.video(tokens)
        normed = functional.normalize(visual, dim=-1)
        weights = (normed @ functional.normalize(sound, dim=-1)[..., None]).softmax(dim=2)
        grounded = (weights * normed).sum(2)
        both = torch.cat([visual.mean(2), grounded], dim=-1)
        return self.ground(torch.tanh(both)), weights[..., 0]

    def _match(self, sound: Tensor, visual: Tensor) -> Tensor:
        logits: Tensor = self.match(torch.cat([sound, visual], dim=-1).flatten(0, 1))
        return logits


class QuestionEncoder(nn.Module):
    """Embedding, LSTM, one vector per question. The LSTM reads the padding too, as the release's does."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.project = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, question: Tensor) -> Tensor:
        """Word ids `[B, words]` → `[B, 512]`."""
        # Fourteen words cost nothing in float32, and not every device has an LSTM in float16.
        device = question.device.type
        with torch.autocast(device, enabled=False) if has_autocast(device) else nullcontext():
            _, (hidden, cell) = self.lstm(torch.tanh(self.embedding(question)))
            # Not `hidden[0]`: while torch.export traces, torch's LSTM has one leading dimension more.
            last = torch.cat([hidden.flatten(0, -2), cell.flatten(0, -2)], dim=-1)
            q: Tensor = self.project(torch.tanh(last))
            return q


class QuestionAttention(nn.Module):
    """Attention from the question over the time steps of one modality, and a small feed-forward network."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.attention_dropout = Dropout(DROPOUT, of="questions")
        self.linear1 = nn.Linear(WIDTH, WIDTH)
        self.linear2 = nn.Linear(WIDTH, WIDTH)
        self.dropout = Dropout(DROPOUT, of="questions")
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, q: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, 512]`, `[B, T, 512]` → `[B, 512]`, and the attention `[B, heads, 1, T]`."""
        x, weights = self._attend(q, steps)
        inner = self.linear2(self.dropout(functional.relu(self.linear1(x))))
        return self.norm(x + self.dropout(inner)), weights

    def _attend(self, q: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the module's attention, with dropout that draws alike for parts of a batch."""
        weight, bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        query = functional.linear(q, weight[:WIDTH], bias[:WIDTH]).view(q.shape[0], HEADS, 1, -1)
        both = functional.linear(steps, weight[WIDTH:], bias[WIDTH:])
        keys, values = both.view(*steps.shape[:2], 2, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query * query.shape[-1] ** -0.5 @ keys.transpose(-2, -1)).softmax(-1)
        x: Tensor = self.attention.out_proj((self.attention_dropout(weights) @ values).flatten(1))
        return x, weights


def reference_names(_config: ModelConfig) -> dict[str, str]:
    """Return the release's names of the head → ours."""
    names = layer_names({f"avqatask_{theirs}": ours for theirs, ours in _REFERENCE_LAYERS.items()})
    names["avqatask_question_encoder.word2vec.weight"] = "head.question.embedding.weight"
    for leaf in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        names[f"avqatask_question_encoder.lstm.{leaf}"] = f"head.question.lstm.{leaf}"
    for theirs, ours in (("attn_v", "attend_video"), ("attn_a", "attend_audio")):
        for leaf in ("in_proj_weight", "in_proj_bias"):
            names[f"avqatask_{theirs}.{leaf}"] = f"head.{ours}.attention.{leaf}"
    return names


def read_reference(entries: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Read the options off a release checkpoint; None where it has no such head."""
    if not any(name.startswith("avqatask_") for name in entries):
        return None
    vocabulary = len(entries["avqatask_question_encoder.word2vec.weight"])
    return {"vocabulary": vocabulary, "answers": len(entries["avqatask_fc_ans.weight"])}


HEAD = Head(
    config=AvqaConfig, module=AvqaHead, reference_names=reference_names, read_reference=read_reference
)
