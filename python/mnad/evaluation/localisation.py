"""Where in the frame: the error maps against the masks of abnormal pixels.

The pixel AUC is that of all pixels of all scored frames of the videos that have masks, pooled; normal frames count with
all their pixels. A pixel's score is the squared error of the cell of the error map that it lies in, as it was measured:
not normalised, not smoothed, without the distance D; or, where a part of the frame is scored, the score of that cell,
see :mod:`mnad.evaluation.score_map`. Other metrics of the same name are different ones: the pixel-level
criterion of Mahadevan et al. counts frames of which 40 % of the abnormal pixels are found.

The region- and track-based criteria of Street Scene (RBDC and TBDC) are left out. They are defined on regions and
tracks that people have drawn, and masks carry no identities: people who pass each other melt into one component, an
occluded one falls into two. And regions of a thresholded map melt as the threshold falls, so that neither false regions
nor found ones only ever grow, and the area under such a curve depends on how it is put in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.data import Clips
from mnad.runtime.errors import DataError

FLOAT16_VALUES = 1 << 16
SIGN = np.uint16(1 << 15)
CHUNK = 256


@dataclass(frozen=True)
class PixelMetrics:
    """How well the error maps tell where.

    Attributes:
        auc: The pixel AUC, in [0, 1].
        frames: Scored frames of the videos that have masks.
        abnormal_share: The share of abnormal pixels among theirs.
        size: Height and width of the masks.
        grid: Height and width of the error maps.
        without_masks: Videos that have none and are left out.
    """

    auc: float
    frames: int
    abnormal_share: float
    size: int
    grid: int
    without_masks: tuple[str, ...]


def pixel_metrics(measurements: Measurements, maps: NDArray[np.float16], clips: Clips) -> PixelMetrics:
    """Computes the pixel AUC.

    Maps hold float16 numbers, so a histogram of their 65,536 possible values gives it exactly, without sorting millions
    of pixels.

    Args:
        measurements: Of the frames of ``clips``, see :func:`mnad.evaluation.check_same_frames`.
        maps: (N, G, G) float16, row for row, larger where more abnormal: errors, or scores.
        clips: The frames with their masks.

    Raises:
        DataError: If there are no masks, they are empty, or the maps are of other frames or not finite.
    """
    if len(maps) != len(measurements):
        raise DataError(
            f"the maps are of {len(maps)} frames, but {len(measurements)} were measured; score again with --maps"
        )
    masked = np.array([clips.masked_videos[clips.names.index(name)] for name in measurements.videos], np.bool_)
    rows = np.flatnonzero(masked[measurements.video])
    if clips.packed_masks is None or len(rows) == 0:
        raise DataError("no scored video has masks, so there is no pixel AUC")
    frames = frames_in_clips(measurements, clips)
    grid, size = maps.shape[1], clips.frames.shape[1]
    abnormal, normal = (np.zeros(FLOAT16_VALUES) for _ in range(2))
    area = _pixels_of_cells(np.ones((1, size, size), np.bool_), grid)
    for first in range(0, len(rows), CHUNK):
        chosen = rows[first : first + CHUNK]
        values = maps[chosen]
        if not np.isfinite(values).all():
            raise DataError("the maps are not finite; the model diverged")
        masks = np.concatenate([_mask(clips, int(frame)) for frame in frames[chosen]])
        found = _pixels_of_cells(masks, grid)
        bins = _in_order(values).ravel()
        abnormal += np.bincount(bins, found.ravel(), FLOAT16_VALUES)
        normal += np.bincount(bins, (area - found).ravel(), FLOAT16_VALUES)
    if not abnormal.any() or not normal.any():
        raise DataError("the masks mark no pixel, or all of them, so there is no pixel AUC")
    below = np.cumsum(normal) - normal / 2
    return PixelMetrics(
        auc=float((abnormal * below).sum() / (abnormal.sum() * normal.sum())),
        frames=len(rows),
        abnormal_share=float(abnormal.sum() / (abnormal.sum() + normal.sum())),
        size=size,
        grid=grid,
        without_masks=tuple(np.array(measurements.videos)[~masked].tolist()),
    )


def _in_order(values: NDArray[np.float16]) -> NDArray[np.uint16]:
    """Returns integers in the order of float16 numbers, equal where these are.

    Example:
        >>> _in_order(np.array([-1, -0.0, 0, 2], np.float16)).tolist()
        [17407, 32768, 32768, 49152]
    """
    bits = (values + np.float16(0)).view(np.uint16)  # adding 0 makes one of the two zeros
    ordered: NDArray[np.uint16] = np.where(bits & SIGN, ~bits, bits | SIGN)
    return ordered


def frames_in_clips(measurements: Measurements, clips: Clips) -> NDArray[np.int64]:
    """Returns the place of each measured frame among all frames of the clips, (N,)."""
    starts = np.array([clips.starts[clips.names.index(name)] for name in measurements.videos], np.int64)
    places: NDArray[np.int64] = starts[measurements.video] + measurements.frame
    return places


def _mask(clips: Clips, frame: int) -> NDArray[np.bool_]:
    mask = clips.masks(slice(frame, frame + 1))
    assert mask is not None
    return mask


def _pixels_of_cells(masks: NDArray[np.bool_], grid: int) -> NDArray[np.int32]:
    """Counts the marked pixels of each cell: (F, S, S) to (F, G, G); pixel y lies in row y G // S."""
    firsts = -(-np.arange(grid) * masks.shape[-1] // grid)
    rows = np.add.reduceat(masks, firsts, axis=1, dtype=np.int32)
    counts: NDArray[np.int32] = np.add.reduceat(rows, firsts, axis=2)
    return counts
