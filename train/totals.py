"""Sums of losses and scores over clips, from which means follow."""

from __future__ import annotations

from dataclasses import dataclass, field

_SCORE, _COUNT = "score", " count"  # keys of a state file: `NAME`, `NAME count`


@dataclass
class Totals:
    """Sums of the losses and of the training score, and the counts that they are divided by.

    Attributes:
        losses: name to the sum of each loss.
        counts: name to the count of each loss.
        score: the sum of the score.
        scored: the count of the score.
    """

    losses: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    score: float = 0.0
    scored: float = 0.0

    def add(self, other: Totals) -> None:
        """Add the sums and counts of `other`."""
        for name, value in other.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0.0) + other.counts[name]
        self.score += other.score
        self.scored += other.scored

    def mean_loss(self, weights: dict[str, float]) -> float:
        """Return `Σ weight · sum / count` over the losses in `weights`; a loss without counts is 0."""
        return float(
            sum(weight * self.losses[name] / max(self.counts[name], 1.0) for name, weight in weights.items())
        )

    def mean_score(self) -> float:
        """Return the mean score; 0 when nothing was counted."""
        return self.score / max(self.scored, 1.0)

    def to_sums(self) -> dict[str, float]:
        """Return the totals as one dict, as a state file stores them: `NAME`, `NAME count`, `score`, …"""
        if not self.losses:
            return {}
        sums: dict[str, float] = {}
        for name, value in self.losses.items():
            sums |= {name: value, name + _COUNT: self.counts[name]}
        return sums | {_SCORE: self.score, _SCORE + _COUNT: self.scored}

    @classmethod
    def from_sums(cls, sums: dict[str, float]) -> Totals:
        """Return the totals that `to_sums` gave."""
        losses = {name: value for name, value in sums.items() if not name.endswith(_COUNT) and name != _SCORE}
        counts = {name: sums[name + _COUNT] for name in losses}
        return cls(losses, counts, sums.get(_SCORE, 0.0), sums.get(_SCORE + _COUNT, 0.0))
