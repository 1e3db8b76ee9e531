"""AVQA: the answer to a question about a clip, and which frames belong to the sound (MUSIC-AVQA)."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.amp import autocast_mode
from torch.nn import functional

from ..backbones.encoder import Encoded
from ..config import ModelConfig
from ..noise import Dropout

WIDTH = 512
AUDIO_WIDTH = 128
HEADS = 4
DROPOUT = 0.1


class AvqaHead(nn.Module):
    """Grounds the sound in every frame, lets the question attend over time, and answers.

    With frames of other clips as `negative`, it also says which frames match the sound; that is trained
    beside the answer, so that the grounding learns where to look.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
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
        self.question = QuestionEncoder(config.vocabulary)
        self.attend_video = QuestionAttention()
        self.attend_audio = QuestionAttention()
        self.fusion = nn.Linear(2 * WIDTH, WIDTH)
        self.answer = nn.Linear(WIDTH, config.answers)

    def forward(
        self,
        encoded: Encoded,
        question: Tensor,
        negative: Tensor | None,
        owner: Tensor | None = None,
        *,
        explain: bool = False,
    ) -> dict[str, Tensor]:
        """Answers.

        Args:
            encoded: the encoder's output for the clips.
            question: word ids `[Q, 14]`.
            negative: frozen tokens `[B, T, N, D]` of other clips' frames, or None.
            owner: the clip of every question, indices `[Q]`; None when each clip has one, in order.
            explain: also return what was attended to. It is computed in any case.

        Returns:
            `answer_logits` `[Q, answers]`; with `negative` also `match_positive` and `match_negative`
            `[B·T, 2]`, the clips one after the other; with `explain` also `attention_audio` and
            `attention_video` `[Q, T]`, each question's attention over time (mean of the heads), and
            `grounding` `[B, T, N]`, how much of the sound was placed at each token. All three sum to 1
            over their last dimension.
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
        """What is seen where the sound comes from, and how much of it each token is.

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
        whole = (
            torch.autocast(device, enabled=False)
            if autocast_mode.is_autocast_available(device)
            else nullcontext()
        )
        with whole:
            _, (hidden, cell) = self.lstm(torch.tanh(self.embedding(question)))
            q: Tensor = self.project(torch.tanh(torch.cat([hidden[0], cell[0]], dim=-1)))
            return q


class QuestionAttention(nn.Module):
    """The question attends over the time steps of one modality; a small feed-forward network follows."""

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
        """The module's attention, spelt out: one query and ten keys, whose dropout knows of parts."""
        weight, bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        query = functional.linear(q, weight[:WIDTH], bias[:WIDTH]).view(len(q), HEADS, 1, -1)
        both = functional.linear(steps, weight[WIDTH:], bias[WIDTH:])
        keys, values = both.view(*steps.shape[:2], 2, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query * query.shape[-1] ** -0.5 @ keys.transpose(-2, -1)).softmax(-1)
        x: Tensor = self.attention.out_proj((self.attention_dropout(weights) @ values).flatten(1))
        return x, weights
