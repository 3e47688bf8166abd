"""A look at some frames of a video before all are decoded: whether it is grey, and how deep its pixels are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from mnad.data.levels import ValueRange, levels_by, range_of
from mnad.data.splits import Video

PROBES = 8  # frames of each video


class Look(NamedTuple):
    """What some frames of a video show.

    Attributes:
        grey: Whether all channels of each are equal; False where nobody asked.
        values: Between which values they lie; None where all have 8 bits.
    """

    grey: bool
    values: ValueRange | None


def look_at(video: Video, *, grey: bool) -> Look:
    """Looks at frames all over a video; only decoding all of them tells for certain.

    Args:
        video: The video.
        grey: Whether to look whether they are grey.

    Raises:
        DataError: If it cannot be read.
    """
    values = range_of(video.frames.sample(1, PROBES))
    return Look(grey and all(is_grey(frame) for frame in video.frames.sample(3, PROBES)), values)


def levels_shown(looks: Iterable[Look]) -> tuple[float, float] | None:
    """Chooses black and white for pixels of more than 8 bits by what videos show; None if none has more."""
    levels = levels_by(look.values for look in looks)
    return (levels.black, levels.white) if levels else None


def is_grey(frame: NDArray[Any]) -> bool:
    """Returns whether all channels of a frame are equal."""
    return bool((frame == frame[..., :1]).all())
