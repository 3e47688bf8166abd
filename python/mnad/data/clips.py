"""Clips: the decoded frames of a split, all videos end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.data.frames_layout import Split, SplitName, read_split
from mnad.data.images import read_image
from mnad.errors import ConfigError
from mnad.progress import track


@dataclass(frozen=True)
class Clips:
    """The frames of a split in memory.

    Attributes:
        frames: (N, H, W, C_img) uint8, BGR where C_img is 3.
        names: One name for each of V videos.
        starts: (V + 1,), video v holds the frames from starts[v] up to starts[v + 1].
        labels: (N,), True where a frame is abnormal; None where unknown.
        masks: (N, H, W), True where a pixel is abnormal; None where unknown.
        label_source: The name of the label file, "none" where there is none.
    """

    frames: NDArray[np.uint8]
    names: tuple[str, ...]
    starts: NDArray[np.int64]
    labels: NDArray[np.bool_] | None
    masks: NDArray[np.bool_] | None
    label_source: str

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.frames)

    def videos(self) -> Iterator[tuple[str, slice]]:
        """Gives every video's name and where its frames stand."""
        for name, start, end in zip(self.names, self.starts[:-1], self.starts[1:], strict=True):
            yield name, slice(int(start), int(end))


def load_clips(
    root: Path,
    split: SplitName,
    size: int = 256,
    *,
    channels: int = 3,
    labels: Path | None = None,
    progress: bool = True,
) -> Clips:
    """Reads, resizes and keeps all frames of a split.

    Everything that can be checked without decoding is checked before the first frame is decoded.

    Args:
        root: A folder in the frames layout, see :mod:`mnad.data.frames_layout`.
        split: ``"training"`` or ``"testing"``.
        size: Height and width to resize to, bilinearly; a multiple of 8.
        channels: 3 (BGR) or 1 (grey).
        labels: A label file to take instead of the one that is found.
        progress: Whether to show a progress bar.

    Raises:
        DataError: If the data are not as they should be.
        ConfigError: If the size or the number of channels cannot be served.
    """
    if size < 8 or size % 8:
        raise ConfigError(f"size must be a multiple of 8, as three poolings halve it, got {size}")
    if channels not in (1, 3):
        raise ConfigError(f"channels must be 3 (colour) or 1 (grey), got {channels}")
    found = read_split(root, split, labels)
    counts = [len(video.frames) for video in found.videos]
    return Clips(
        frames=_decode_frames(found, size, channels, progress=progress),
        names=tuple(video.name for video in found.videos),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        labels=found.labels,
        masks=_decode_masks(found, size, progress=progress),
        label_source=found.label_file.name if found.label_file else "none",
    )


def _decode_frames(split: Split, size: int, channels: int, *, progress: bool) -> NDArray[np.uint8]:
    paths = [path for video in split.videos for path in video.frames]
    frames = np.empty((len(paths), size, size, channels), np.uint8)

    def decode(index: int) -> None:
        image = read_image(paths[index], channels)
        frames[index] = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR).reshape(size, size, channels)

    _in_threads(decode, len(paths), "reading frames", progress=progress)
    return frames


def _decode_masks(split: Split, size: int, *, progress: bool) -> NDArray[np.bool_] | None:
    paths = [path for video in split.videos for path in video.masks or ()]
    if len(paths) != sum(len(video.frames) for video in split.videos):
        return None
    masks = np.empty((len(paths), size, size), np.bool_)

    def decode(index: int) -> None:
        mask = read_image(paths[index], 1)
        masks[index] = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST) > 0

    _in_threads(decode, len(paths), "reading masks", progress=progress)
    return masks


def _in_threads(work: Callable[[int], None], count: int, description: str, *, progress: bool) -> None:
    with ThreadPoolExecutor() as pool:
        try:
            results = pool.map(work, range(count))
            for _ in track(results, description, count, enabled=progress):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
