"""Clips: the decoded frames of a split, all videos end to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Clips:
    """The frames of a split, mapped from a clip store.

    Attributes:
        frames: (N, H, W, 1 or 3) uint8, BGR where there are 3 channels.
        names: One name for each of V videos.
        starts: (V + 1,), video v holds the frames from starts[v] up to starts[v + 1].
        labels: (N,), True where a frame is abnormal; None where unknown.
        label_source: The name of the label set and its file, "none" where there is none.
        packed_masks: (N, H, W / 8) uint8, eight pixels to a byte; None where no video has masks.
        masked_videos: For each video whether it has masks.
    """

    frames: NDArray[np.uint8]
    names: tuple[str, ...]
    starts: NDArray[np.int64]
    labels: NDArray[np.bool_] | None
    label_source: str
    packed_masks: NDArray[np.uint8] | None
    masked_videos: tuple[bool, ...]

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.frames)

    def videos(self) -> Iterator[tuple[str, slice]]:
        """Gives every video's name and where its frames stand."""
        for name, start, end in zip(self.names, self.starts[:-1], self.starts[1:], strict=True):
            yield name, slice(int(start), int(end))

    def masks(self, span: slice = slice(None)) -> NDArray[np.bool_] | None:
        """Gives the masks of some frames, (F, H, W), True where a pixel is abnormal; None where there are none."""
        if self.packed_masks is None:
            return None
        return np.unpackbits(self.packed_masks[span], axis=-1).astype(np.bool_)

    def __reduce__(self) -> tuple[object, ...]:
        """Lets worker processes map the frames anew in place of sending them."""
        values = [getattr(self, name) for name in self.__dataclass_fields__]
        return _reopen, tuple(_Mapped.of(value) for value in values)


@dataclass(frozen=True)
class _Mapped:
    """Where a memory-mapped array stands."""

    path: str

    @staticmethod
    def of(value: object) -> object:
        return _Mapped(str(value.filename)) if isinstance(value, np.memmap) else value


def _reopen(*values: object) -> Clips:
    mapped = (np.load(value.path, mmap_mode="r") if isinstance(value, _Mapped) else value for value in values)
    return Clips(*mapped)  # type: ignore[arg-type]
