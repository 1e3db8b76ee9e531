"""The fbank of a clip whose sample was made before: from its sound alone, without decoding pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...shards.schema import ClipRecord, Sample, SourceFile
from ..collections.specification import ClipSpecification
from ..media.probe import MediaInfo
from ..media.reasons import ClipError
from ..media.recording import Recording
from ..media.video.frames import Choose, Frames
from .sample import Footage, SampleMaker, check_length, fbank_members
from .sources import described_files

_UNSEEN = "timeline"  # in place of a decoder's name, which only samples have


@dataclass(slots=True)
class WrittenClip(ClipSpecification):
    """A clip whose sample is in a shard.

    Attributes:
        written_seconds: its length according to the manifest.
        written_files: the files that it was made of; empty where an earlier version did not record them.
    """

    written_seconds: float = 0.0
    written_files: tuple[SourceFile, ...] = ()

    @classmethod
    def of(cls, clip: ClipSpecification, record: ClipRecord) -> WrittenClip:
        """Return `clip` with what the manifest says of it."""
        fields = {field.name: getattr(clip, field.name) for field in dataclasses.fields(ClipSpecification)}
        return cls(**fields, written_seconds=record.seconds, written_files=record.sources)

    @property
    def sound_file(self) -> str | None:
        """The file with its sound; None for pictures without a sound file."""
        return self.sound if self.pictures else self.source


@dataclass(frozen=True)
class SoundMaker(SampleMaker):
    """Makes the fbanks of written clips, with the same bytes as in a sample. Picklable.

    `displayed` is set for a second try, where the packets of a recording announce a picture that is not there
    and the presentation times have to be found by decoding.
    """

    displayed: bool = False

    def __call__(self, clip: ClipSpecification) -> Sample:
        """Return a sample that holds fbanks alone.

        Raises ClipError `changed` when the file or the clip's length is not that of the written sample, and
        as SampleMaker does for sound.
        """
        if not isinstance(clip, WrittenClip):
            raise TypeError(f"clip is a {type(clip).__name__}, must be a WrittenClip")
        if clip.problem is not None:
            raise ClipError(*clip.problem)
        _check_files(clip, [file for file in clip.written_files if file.name == clip.sound_file], self)
        settings = self.settings.of_clip(clip) if clip.lengths else self.settings
        made = dataclasses.replace(self, settings=settings)
        footage = made.footage(clip)
        if round(footage.seconds, 6) != clip.written_seconds and not self.displayed:
            footage = dataclasses.replace(made, displayed=True).footage(clip)
        if round(footage.seconds, 6) != clip.written_seconds:
            raise ClipError(
                "changed", f"it lasts {footage.seconds:.3f} s, the written clip {clip.written_seconds:.3f} s"
            )
        return made.sample(clip, footage)

    def sample(self, clip: ClipSpecification, footage: Footage) -> Sample:
        """Return the fbanks of `footage` as a sample."""
        check_length(footage.waveform)
        members, sums = fbank_members(footage.waveform, self.settings, padded=bool(clip.frame_seconds))
        return Sample(
            key=clip.key,
            members=members,
            fields={},
            source=clip.source,
            seconds=round(footage.seconds, 6),
            fps=0.0,
            has_audio=footage.has_audio,
            decoder=footage.decoder,
            fbank_sums=sums,
        )

    def _recorded_frames(self, recording: Recording, choose: Choose) -> Frames:
        return _unseen(recording.pictures.times(choose, displayed=self.displayed).tolist())

    def _picture_files(self, clip: ClipSpecification) -> Frames:
        return _unseen([number + 15 / 16 for number in range(len(clip.pictures))])

    def _frames(self, path: Path, info: MediaInfo, span: float | None) -> Frames:  # noqa: ARG002
        return _unseen([0.0])

    def _last_seconds(self, path: Path, info: MediaInfo) -> float:
        return float(super()._frames(path, info, None).times_seconds[-1])


def _unseen(times: Sequence[float]) -> Frames:
    """Return frames at `times` without pixels."""
    return Frames(np.zeros((len(times), 0, 0, 3), np.uint8), np.array(times, dtype=np.float64), _UNSEEN)


def _check_files(clip: WrittenClip, files: Sequence[SourceFile], maker: SampleMaker) -> None:
    """Raise ClipError `changed` for a file of another size or hash than when the clip was made."""
    found = described_files([file.name for file in files], maker.resolve)
    for before, now in zip(files, found, strict=True):
        if now != before:
            raise ClipError("changed", f"{before.name} is not the file that {clip.key} was made of")
