"""The metrics of a frame: PSNR, E_t and D, of all of it and of its places."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnad.artifacts.maps import ERROR_GRID
from mnad.measuring.pooling import area_average, error_level, pool
from mnad.measuring.usual import Usual
from mnad_ext import MemoryOutput

# The error of a frame of which a single colour value of 256 x 256 x 3 is off by one step of 255.
SMALLEST_MSE = 1 / (256 * 256 * 3 * 255**2)


class FrameMetrics(NamedTuple):
    """Metrics of B frames.

    Attributes:
        mse: (B,), the mean squared error on the scale [0, 1].
        update_error: (B,), E_t.
        distance: (B,), D; None without a memory.
        local: (B, P), the local P in dB, a column for each of :data:`mnad.measuring.pooling.LOCAL_POOLINGS`.
        relative: (B, P), the same in relation to what is usual; None where nothing is known of that.
        pixel_errors: (B, H, W), squared errors on the scale [0, 1], mean of the channels.
        error_map: (B, G, G), the means of these over the pixels of each cell.
        distance_map: (B, h, w), squared distances of the queries from their nearest items; None without a memory.
    """

    mse: Tensor
    update_error: Tensor
    distance: Tensor | None
    local: Tensor
    relative: Tensor | None
    pixel_errors: Tensor
    error_map: Tensor
    distance_map: Tensor | None


def frame_metrics(
    frames: Tensor, targets: Tensor, memory: MemoryOutput | None, items: Tensor | None, usual: Usual | None
) -> FrameMetrics:
    """Measures what a model gave beside what was there.

    Args:
        frames: (B, C_img, H, W) in [-1, 1], what it gave.
        targets: (B, C_img, H, W), what was there.
        memory: What the memory gave; None without one.
        items: (M, C) or (B, M, C), the items that were read.
        usual: What is usual at each place.
    """
    errors = ((frames - targets) / 2).square()
    pixel_errors = errors.mean(1)
    error_map = area_average(pixel_errors, ERROR_GRID)
    return FrameMetrics(
        mse=errors.mean(dim=(1, 2, 3)),
        update_error=update_errors(errors),
        distance=None if memory is None else memory.compactness,
        local=-10 * torch.log10(pool(error_map).clamp_min(SMALLEST_MSE)),
        relative=None if usual is None else -pool(usual.excess(error_level(error_map))),
        pixel_errors=pixel_errors,
        error_map=error_map,
        distance_map=None if memory is None or items is None else query_distances(memory, items),
    )


def psnr(mse: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns P = 10 log10(1 / mse) in dB for errors on the scale [0, 1].

    A perfect frame would be infinitely good and spoil every normalisation over its video, so an error counts as no
    less than that of one colour value off by one step in a 256 x 256 frame (101 dB).

    Example:
        >>> import numpy as np
        >>> psnr(np.array([1.0, 0.01, 0.0])).round(2).tolist()
        [0.0, 20.0, 101.07]
    """
    return 10 * np.log10(1 / np.maximum(mse, SMALLEST_MSE))


def update_errors(squared_errors: Tensor) -> Tensor:
    """Returns E_t of each frame: its squared errors, weighted by 1 - exp(-error) so that large ones count more.

    Args:
        squared_errors: (B, C_img, H, W), squared errors e on the scale [0, 1].

    Returns:
        (B,), sum(n e) / sum(n) over the frame with n = 1 - exp(-e); 0 for a perfect frame.
    """
    weights = -torch.expm1(-squared_errors)
    total = weights.flatten(1).sum(1)
    weighted = (weights * squared_errors).flatten(1).sum(1)
    return torch.where(total > 0, weighted / total.clamp_min(1e-30), 0)


def query_distances(memory: MemoryOutput, items: Tensor) -> Tensor:
    """Returns the squared L2 distance of each query from its nearest item; D is its mean over C.

    Args:
        memory: What the memory gave.
        items: (M, C) or (B, M, C), the items that were read.

    Returns:
        (B, h, w), from 0 to 4.
    """
    queries = memory.output[:, : items.shape[-1]].movedim(1, -1)
    if items.ndim == 2:
        chosen = items[memory.nearest]
    else:
        chosen = items[torch.arange(items.shape[0], device=items.device)[:, None, None], memory.nearest]
    return (queries - chosen).square().sum(-1)
