"""What a watching process and the processes that decode for it tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnad.data.levels import Levels
from mnad.watching.addresses import Address

# Where a source goes on: the number of a frame of a file; the name of a folder's file, and the frame in it.
Position = int | tuple[str, int]


@dataclass(frozen=True)
class Order:
    """What a decoding process is to do.

    Attributes:
        address: Where the frames come from.
        size: S, height and width of the frames that the model is shown.
        channels: C_img, 1 or 3.
        levels: Black and white of pixels of more than 8 bits.
        rate: Frames a second that the model is shown.
        began: When a file's first frame was taken, by the wall clock.
        window: T, the frames of a window: so many of the newest are kept.
        realtime: Whether a file is played at its own speed.
        given_rate: Frames a second of a source that does not say so itself.
        timeout: Seconds without any data after which a live source counts as lost.
        after: The last frame that is known already; None from the beginning.
        since: When that was taken, in seconds of the source.
    """

    address: Address
    size: int
    channels: int
    levels: Levels | None
    rate: float
    began: float
    window: int
    realtime: bool = False
    given_rate: float | None = None
    timeout: float = 10.0
    after: Position | None = None
    since: float = 0.0


@dataclass(frozen=True)
class Frame:
    """A frame that a model is shown.

    Attributes:
        position: Its place in the source.
        time: When it was taken, in seconds: since a file's beginning, or of the monotonic clock.
        wall: The same by the wall clock, in seconds since 1970.
        arrived: When it was decoded, by the monotonic clock.
        follows: Whether it can be predicted from those before it.
        pixels: (S, S, C_img) uint8; None for a frame that cannot be read.
        thumbnail: (64, 64, 3) uint8, BGR, for the health of the camera; None likewise.
        picture: JPEG for people; None likewise.
    """

    position: Position
    time: float
    wall: float
    arrived: float
    follows: bool
    pixels: NDArray[np.uint8] | None
    thumbnail: NDArray[np.uint8] | None
    picture: bytes | None


@dataclass(frozen=True)
class Delivery:
    """Frames since the last delivery.

    Attributes:
        frames: In order, at most as many as a window holds; of a file one.
        dropped: How many frames have gone that the model was to be shown, since nobody took them in time.
        read: Frames of the source since the last delivery, those that no model is shown included.
        rate: Frames a second of the source, measured; None while that is not known.
        slow: Whether that is less than the model was trained at.
    """

    frames: tuple[Frame, ...]
    dropped: int
    read: int
    rate: float | None
    slow: bool


@dataclass(frozen=True)
class Note:
    """Something that people should know of a source."""

    text: str


@dataclass(frozen=True)
class Alive:
    """The source is there, though it has no frame yet."""


@dataclass(frozen=True)
class Ended:
    """The source gives no more frames.

    Attributes:
        reason: What went wrong; None if it came to its end.
    """

    reason: str | None


Message = Delivery | Note | Alive | Ended


def as_position(value: Any) -> Position | None:
    """Returns a position that was stored as JSON."""
    return (str(value[0]), int(value[1])) if isinstance(value, list) else value
