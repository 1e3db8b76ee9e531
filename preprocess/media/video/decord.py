"""Decoding with decord. It is wrong, often silently, for more kinds of clip than it is right for.

The module `decord` comes from one of two distributions (`DECORD_DISTRIBUTIONS`): decord 0.6, the last
release, and decord2, which has wheels for further systems. For the clips that `objection` admits, both give
the same bytes.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..container import shown
from ..probe import ClipError, DamageError, MediaInfo, probe
from . import DECORD_DISTRIBUTIONS
from .frames import Choose, Decoder, Frames, check_bytes, chosen_indices
from .shown import shown_pictures
from .timeline import Timeline, read_timeline

if TYPE_CHECKING:
    from pathlib import Path

NAME = "decord"

_CODECS = ("h264", "hevc", "vp8", "vp9", "mpeg4")
_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
_CONTAINERS = ("mov", "matroska")  # AVI: wrong timestamps; MPEG-TS: wrong frames after a seek


def objection(info: MediaInfo, timeline: Timeline) -> str | None:
    """Return the reason for which decord is wrong for this clip; None when it is right."""
    video = info.video
    if video is None:
        return "files without pictures"
    if shown(info.path) != info.path.name:
        return "names that are not UTF-8"
    if not set(_CONTAINERS) & set(info.container.split(",")):
        return f"the container {info.container}"
    if video.codec not in _CODECS:
        return f"the codec {video.codec}"
    if video.pixel_format not in _PIXEL_FORMATS:
        return f"the pixel format {video.pixel_format}"
    if not video.orientation.upright:
        return f"turned or mirrored pictures ({video.orientation})"
    if video.several_streams:
        return "several video streams"
    if video.matrix is not None:
        return "pictures that do not name their colour matrix"
    if video.interlaced:
        return "interlaced pictures"
    if timeline.edited:
        return "an edit list"
    if not timeline.complete:
        return "packets without timestamps"
    return None


def read_frames(path: Path, choose: Choose, *, info: MediaInfo | None = None) -> Frames:
    """Return the frames of `path` that `choose` picks from all presentation times.

    Raises `ClipError`: those of `probe`, 'no-video', 'truncated', 'too-large', 'unsupported' for the clips
    that `objection` names; `DamageError` when decord fails or sees other frames than the container lists;
    `ValueError` for invalid indices from `choose`.
    """
    import decord

    info = probe(path) if info is None else info
    if info.video is None:
        raise ClipError("no-video", "the file has no video stream")
    timeline = read_timeline(info)
    refused = objection(info, timeline)
    if refused is not None:
        raise ClipError("unsupported", f"decord is wrong for {refused}; use --decoder auto")
    times = timeline.times_seconds
    indices = chosen_indices(choose, times)
    check_bytes(len(indices), *info.video.square_size)
    try:
        reader = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
        seen = np.asarray(reader.get_frame_timestamp(range(len(reader))), dtype=np.float64)[:, 0]
        _check_times(seen - seen[0], times - times[0])
        images = _images(reader, indices, seek=not timeline.open_groups)
    except (decord.DECORDError, UnicodeEncodeError, IndexError, RuntimeError) as error:
        # decord's message holds the time of day, so it is only logged.
        logging.getLogger(__name__).info("%s: %s", shown(path), error)
        raise DamageError("unreadable", "decord cannot decode it") from error
    return Frames(shown_pictures(np.ascontiguousarray(images), info.video), times[indices], NAME)


def installed_version() -> str:
    """Return the version of the distribution that the module comes from.

    Raises PackageNotFoundError when there is none.
    """
    for name in DECORD_DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            return version(name)
    raise PackageNotFoundError(NAME)


DECODER = Decoder(read=read_frames, version=installed_version, order=3)


def _images(reader: Any, indices: NDArray[np.intp], *, seek: bool) -> NDArray[np.uint8]:
    """Return uint8 [M, H, W, 3]. In open groups decord seeks to wrong pictures: read these from the start."""
    if seek:
        return np.asarray(reader.get_batch(indices.tolist()).asnumpy())
    wanted = set(indices.tolist())
    found = {}
    for index in range(max(wanted) + 1):
        picture = reader.next()
        if index in wanted:
            found[index] = picture.asnumpy()
    return np.stack([found[index] for index in indices.tolist()])


def _check_times(seen: NDArray[np.float64], times: NDArray[np.float64]) -> None:
    if len(seen) != len(times):
        raise DamageError("unreadable", f"decord sees {len(seen)} frames, the container lists {len(times)}")
    apart = float(np.abs(seen - times).max())
    if apart > 0.5 * float(np.diff(times, append=times[-1] + 1.0).min()):
        raise DamageError("unreadable", f"decord's timestamps are up to {apart:.3f} s from the container's")
