"""Clips: the decoded frames of a split, all videos end to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnad.runtime.errors import DataError


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
        missing: (N,), True where a frame could not be read and stands black in its place; None where all could.
        rates: Frames a second of each video, None where nothing says so; empty where no video has one.
        levels: Black and white of what had more than 8 bits a pixel; None where nothing had.
    """

    frames: NDArray[np.uint8]
    names: tuple[str, ...]
    starts: NDArray[np.int64]
    labels: NDArray[np.bool_] | None
    label_source: str
    packed_masks: NDArray[np.uint8] | None
    masked_videos: tuple[bool, ...]
    missing: NDArray[np.bool_] | None = None
    rates: tuple[float | None, ...] = ()
    levels: tuple[float, float] | None = None

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.frames)

    def videos(self) -> Iterator[tuple[str, slice]]:
        """Yields every video's name and where its frames stand."""
        for name, start, end in zip(self.names, self.starts[:-1], self.starts[1:], strict=True):
            yield name, slice(int(start), int(end))

    def masks(self, span: slice = slice(None)) -> NDArray[np.bool_] | None:
        """Returns the masks of some frames, (F, H, W), True where a pixel is abnormal; None where there are none."""
        if self.packed_masks is None:
            return None
        return np.unpackbits(self.packed_masks[span], axis=-1).astype(np.bool_)

    def __reduce__(self) -> tuple[object, ...]:
        """Lets worker processes map the frames anew in place of sending them."""
        values = [getattr(self, name) for name in self.__dataclass_fields__]
        return _reopen, tuple(_Mapped.of(value) for value in values)


def common_rate(rates: Sequence[float | None]) -> float | None:
    """Returns the frames a second that videos have in common, to within a hundredth; None if they have none.

    Example:
        >>> common_rate([25.0, 25.0]), common_rate([25.0, 10.0]), common_rate([None]), common_rate([])
        (25.0, None, None, None)
    """
    known = [rate for rate in rates if rate]
    if not known or len(known) < len(rates) or max(known) > 1.01 * min(known):
        return None
    return known[0]


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Returns up to so many of the numbers from 0 to count - 1, evenly spread, the first and the last among them.

    Example:
        >>> evenly(10, 4).tolist(), evenly(2, 4).tolist()
        ([0, 3, 6, 9], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def tail_length(frames: int, share: float) -> int:
    """Returns the number of frames at the end of a video that are held out.

    Example:
        >>> tail_length(120, 0.1)
        12
    """
    return round(frames * share)


def tails(clips: Clips, share: float, folder: Path) -> Clips:
    """Makes clips of the ends of all videos, copied to a file as they may be many.

    Args:
        clips: The frames.
        share: Of each video, in (0, 1]; :func:`tail_length` frames.
        folder: Where the file goes; it must stay while the clips are in use.

    Returns:
        Clips of the same videos, without labels and masks.

    Raises:
        DataError: If no video is long enough for a single frame.
    """
    spans = [slice(span.stop - tail_length(span.stop - span.start, share), span.stop) for _, span in clips.videos()]
    starts = np.cumsum([0, *(span.stop - span.start for span in spans)]).astype(np.int64)
    if starts[-1] == 0:
        raise DataError(f"the last {share:g} of each video is not a single frame; hold out more")
    shape = (int(starts[-1]), *clips.frames.shape[1:])
    frames = np.lib.format.open_memmap(folder / "tails.npy", mode="w+", dtype=np.uint8, shape=shape)
    for first, span in zip(starts, spans, strict=False):
        frames[first : first + span.stop - span.start] = clips.frames[span]
    missing = None if clips.missing is None else np.concatenate([clips.missing[span] for span in spans])
    unmasked = (False,) * len(clips.names)
    return Clips(frames, clips.names, starts, None, "none", None, unmasked, missing, clips.rates, clips.levels)


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
