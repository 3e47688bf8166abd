"""What is noted of the frames of a video while they are decoded: how many, how large, and which are missing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from mnad.data.sources import ImageFiles
from mnad.data.splits import Video, place_of
from mnad.runtime.errors import DataError

MOST_NAMED = 5


class FramesSeen:
    """Counts the frames of a video.

    Attributes:
        video: The video.
        frames: How many have come, those that are missing included.
        missing: The numbers of those that could not be read.
    """

    def __init__(self, video: Video) -> None:
        self.video = video
        self.frames = 0
        self.missing: list[int] = []
        self._shape: tuple[int, int] | None = None
        self._told: list[str] = []

    def tell(self, fault: str) -> None:
        """Notes what the source says of the video as a whole."""
        self._told.append(fault)

    def count(self, frame: NDArray[np.uint8] | None) -> None:
        """Counts a frame.

        Raises:
            DataError: If it is of another size than those before it.
        """
        if frame is None:
            self.missing.append(self.frames)
        else:
            shape = (frame.shape[0], frame.shape[1])
            self._shape = self._shape or shape
            if shape != self._shape:
                files = self.video.frames.files
                place = files[self.frames] if isinstance(self.video.frames, ImageFiles) else f"frame {self.frames}"
                raise DataError(
                    f"video {self.video.name}: {place} is {shape[1]} x {shape[0]}, but the frames before it are "
                    f"{self._shape[1]} x {self._shape[0]}"
                )
        self.frames += 1

    def checked_shape(self) -> tuple[int, int]:
        """Returns height and width of the frames.

        Raises:
            DataError: If not one could be read.
        """
        if self._shape is None:
            raise DataError(f"video {self.video.name} has no frames that can be read: {place_of(self.video.frames)}")
        return self._shape

    def faults(self) -> Iterator[str]:
        """Yields the faults of a video whose frames have all come."""
        yield from (f"video {self.video.name} {fault}" for fault in self._told)
        if self.missing:
            yield (
                f"video {self.video.name}: {len(self.missing)} of {self.frames} frames cannot be read from "
                f"{place_of(self.video.frames)}: {_in_words(self.missing)}"
            )


def _in_words(numbers: list[int]) -> str:
    """Names numbers in a row by the first and the last.

    Example:
        >>> _in_words([3, 7, 8, 9])
        '3, 7 to 9'
    """
    rows = [[number for _, number in row] for _, row in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    words = [f"{row[0]} to {row[-1]}" if len(row) > 1 else str(row[0]) for row in rows[:MOST_NAMED]]
    return ", ".join(words) + (", ..." if len(rows) > MOST_NAMED else "")
