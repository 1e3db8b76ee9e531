"""The length of a clip compared with the length of its annotation."""

from __future__ import annotations

from ..collections.specification import ClipSpecification, Sampling
from ..media.probe import COVERAGE_TOLERANCE_SECONDS
from ..media.reasons import ClipError

# Encoders end on whole frames and downloads are cut at key pictures: up to this much more is accepted.
LONGER_TOLERANCE_SECONDS = 1.0


def annotated_span(clip: ClipSpecification, seconds: float, *, trim: bool) -> float | None:
    """Return the seconds to use from the beginning of a clip of `seconds`; None for all of it.

    Raises ClipError `longer-than-annotated` for a clip that is more than 1 s longer than the span that its
    annotation describes, unless `trim` asks for that span.
    """
    span = clip.annotated_seconds
    if not span or seconds <= span + LONGER_TOLERANCE_SECONDS:
        return None
    if trim:
        return float(span)
    raise ClipError(
        "longer-than-annotated",
        f"it lasts {seconds:.2f} s, its annotation is of {span} s: is it the whole video, not the clip?",
    )


def length_warnings(clip: ClipSpecification, seconds: float, sampling: Sampling) -> list[str]:
    """Return a warning when a clip of `seconds` ends before its annotations do.

    Real collections hold truncated clips; missing background, or seconds of a class that the whole clip has,
    are accepted. Raises ClipError where an annotated event lies beyond the end.
    """
    if clip.frame_seconds:  # compared with the file when its frames are chosen
        return []
    end = seconds + COVERAGE_TOLERANCE_SECONDS
    last_mask = len(clip.masks) - 1 + 15 / 16
    if last_mask > end:
        raise ClipError(
            "mask-mismatch", f"its last mask is of {last_mask:.2f} s, the clip ends at {seconds:.2f} s"
        )
    if clip.event_end_seconds > end:
        raise ClipError(
            "bad-annotation",
            f"its event ends at {clip.event_end_seconds} s, the clip itself at {seconds:.2f} s",
        )
    planned = max(len(clip.labels), 0 if sampling.frame_offset_seconds is None else sampling.frames)
    return [f"it lasts {seconds:.2f} s, shorter than the usual {planned} s"] if planned > end else []
