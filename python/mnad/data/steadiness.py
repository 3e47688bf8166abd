"""Whether a camera stands still."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.data.clips import Clips, evenly

PAIRS = 64
BLOCKS = 8  # across the picture
# In levels: the slope of an edge over a pixel, and the difference of two frames, that are more than noise.
EDGE, CHANGE = 5.0, 3.0
EDGE_PIXELS = 4  # of a block that has structure
STRUCTURED = 0.25  # of the blocks, below which too little of the picture can tell
MOVING_PAIRS = 0.4


def moves(clips: Clips) -> bool:
    """Returns whether the camera itself seems to move.

    Of two frames in a row, most of what has edges stays as it is if the camera stands still, whatever moves before it;
    if the camera moves, most of it changes. Pairs from all over the video are looked at, and the camera moves if that
    is so in 40 % of them. Pictures with few edges tell nothing.

    Args:
        clips: The frames, at least two of them.
    """
    readable = np.ones(len(clips), bool) if clips.missing is None else ~clips.missing
    pairs = [index for _, span in clips.videos() for index in range(span.start, span.stop - 1)]
    firsts = [index for index in pairs if readable[index] and readable[index + 1]]
    if not firsts:
        return False
    chosen = [firsts[index] for index in evenly(len(firsts), PAIRS)]
    moving = [_has_moved(clips.frames[first], clips.frames[first + 1]) for first in chosen]
    return float(np.mean(moving)) >= MOVING_PAIRS


def _has_moved(frame: NDArray[np.uint8], following: NDArray[np.uint8]) -> bool:
    before, after = (
        cv2.GaussianBlur(picture.mean(axis=2, dtype=np.float32), (3, 3), 0) for picture in (frame, following)
    )
    edges = np.hypot(cv2.Sobel(before, cv2.CV_32F, 1, 0), cv2.Sobel(before, cv2.CV_32F, 0, 1)) / 8 > EDGE
    of_block = _by_block(edges)
    structured = of_block >= EDGE_PIXELS
    changed = structured & (_by_block(edges & (np.abs(after - before) > CHANGE)) > of_block / 2)
    return bool(structured.mean() >= STRUCTURED and changed.sum() > structured.sum() / 2)


def _by_block(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts the marked pixels of each block, (8, 8)."""
    edges = np.linspace(0, len(marked), BLOCKS, endpoint=False).astype(int)
    counts: NDArray[np.int64] = np.add.reduceat(np.add.reduceat(marked.astype(np.int64), edges, 0), edges, 1)
    return counts
