"""Content of one synthetic performance."""

from __future__ import annotations

from dataclasses import dataclass

from .objects import OBJECTS, SoundingObject

SECONDS = 12
PLACES = ("left", "right")


@dataclass(frozen=True, slots=True)
class Instrument:
    """A class of players: its name in questions and answers, its look and its sound."""

    name: str
    look: SoundingObject


# Few and clearly different in look and sound, so that a small model learns them from few clips.
INSTRUMENTS = (
    Instrument("violin", OBJECTS[1]),
    Instrument("tuba", OBJECTS[3]),
    Instrument("ukulele", OBJECTS[4]),
    Instrument("drum", OBJECTS[5]),
)


@dataclass(frozen=True, slots=True)
class Player:
    """One instrument of a scene.

    Attributes:
        kind: index into `INSTRUMENTS`.
        place: one of `PLACES`; None when it is audible but not visible.
        span: the seconds `[start, end)` in which it plays; None when it does not.
        loudness: peak of its sound, 0 to 1.
    """

    kind: int
    place: str | None
    span: tuple[int, int] | None
    loudness: float

    @property
    def name(self) -> str:
        """The instrument's name."""
        return INSTRUMENTS[self.kind].name

    @property
    def always(self) -> bool:
        """True when it plays from beginning to end."""
        return self.span == (0, SECONDS)

    @property
    def seconds(self) -> int:
        """Seconds in which it plays."""
        return self.span[1] - self.span[0] if self.span else 0


@dataclass(frozen=True, slots=True)
class Scene:
    """One clip.

    Attributes:
        video: its id.
        players: the visible ones, from left to right, then those that are only audible.
        outdoor: where it takes place.
        seed: for pictures and sound.
    """

    video: str
    players: tuple[Player, ...]
    outdoor: bool
    seed: int

    @property
    def seen(self) -> list[Player]:
        """Players on the stage, from left to right."""
        return [player for player in self.players if player.place is not None]

    @property
    def heard(self) -> list[Player]:
        """Players that play."""
        return [player for player in self.players if player.span is not None]

    @property
    def in_turn(self) -> list[Player]:
        """Playing players by their start; empty unless at least two start, all at different times."""
        heard = sorted(self.heard, key=lambda player: player.span or (0, 0))
        starts = {player.span[0] for player in heard if player.span}
        return heard if len(heard) > 1 and len(starts) == len(heard) else []
