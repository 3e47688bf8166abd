"""From a map of a frame to one number: an anomaly is local, and the mean of the frame drowns it."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mnad.artifacts.maps import ERROR_GRID

Pooling = Literal["mean", "box-3", "box-5", "box-7", "box-9", "box-17", "top-1%", "top-5%"]
LOCAL_POOLINGS: tuple[Pooling, ...] = get_args(Pooling)[1:]
# Squared errors far below this, of two or three of 255 levels, are noise: their level would say more than they know.
ERROR_FLOOR = 1e-4


def area_average(images: Tensor, size: int) -> Tensor:
    """Shrinks images so that each cell is the mean of the area it covers, and the mean of all cells that of all pixels.

    Args:
        images: (..., S, S), floating.
        size: G, which need not divide S; images that are smaller stay as they are.

    Returns:
        (..., G, G).

    Example:
        >>> import torch
        >>> area_average(torch.tensor([[0.0, 3.0, 6.0]]).expand(3, 3), 2)[0].tolist()
        [1.0, 5.0]
    """
    full = images.shape[-1]
    if full <= size:
        return images
    edges = torch.arange(size + 1, dtype=torch.float64, device=images.device) * full / size
    pixels = torch.arange(full, dtype=torch.float64, device=images.device)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    averaging = (overlap.clamp_min(0) * size / full).to(images.dtype)
    return averaging @ images @ averaging.t()


def error_level(errors: Tensor) -> Tensor:
    """Returns squared errors on the scale [0, 1] in dB, from -40, where all is noise, to 0.

    Example:
        >>> error_level(torch.tensor([0.0, 0.0099])).tolist()
        [-40.0, -20.0]
    """
    return 10 * torch.log10(errors + ERROR_FLOOR)


def pool(maps: Tensor) -> Tensor:
    """Returns for each map the means of its largest boxes, and those of its largest cells.

    Args:
        maps: (B, G, G), of errors, of error levels or of distances.

    Returns:
        (B, P), a column for each of :data:`LOCAL_POOLINGS`. ``box-5`` is the largest mean of a square of 5 x 5 cells
        where the map has 64 x 64, and of about as large a share of the picture where it has others, where small boxes
        may be the same; ``top-1%`` the mean of the hundredth of the cells that is largest.

    Example:
        >>> maps = torch.zeros(1, 64, 64)
        >>> maps[0, 10:15, 20:25] = 2
        >>> [round(value, 3) for value in pool(maps)[0].tolist()]
        [2.0, 2.0, 1.02, 0.617, 0.173, 1.22, 0.244]
    """
    return torch.stack([_pooled(maps, name) for name in LOCAL_POOLINGS], dim=1)


def pool_within(maps: Tensor, pooling: Pooling, region: Tensor) -> Tensor:
    """Returns the means of the largest box, or of the largest cells, of a region alone.

    Args:
        maps: (B, G, G).
        pooling: ``mean`` for that of all cells of the region.
        region: (G, G) bool, at least one cell of it. A box counts whose middle lies in it, or comes
            nearest to it.

    Returns:
        (B,).

    Example:
        >>> region = torch.zeros(64, 64, dtype=torch.bool)
        >>> region[:, 32:] = True
        >>> maps = torch.zeros(1, 64, 64)
        >>> maps[0, 10, 10], maps[0, 10, 40] = 9.0, 1.0
        >>> pool_within(maps, "box-3", region).item(), pool_within(maps, "top-1%", region).item()
        (0.1111111119389534, 0.0476190485060215)
    """
    if pooling.startswith("box-"):
        return box_by_place(maps, pooling)[:, region].amax(dim=1)
    cells = maps[:, region]
    return cells.mean(dim=1) if pooling == "mean" else _largest(cells, pooling)


def box_means(maps: Tensor, pooling: Pooling) -> Tensor:
    """Returns the mean of each box of a box pooling, (B, G - side + 1, G - side + 1)."""
    side = max(1, int(int(pooling.removeprefix("box-")) * maps.shape[-1] / ERROR_GRID + 0.5))
    rows = F.avg_pool2d(maps[:, None], (side, 1), stride=1)
    return F.avg_pool2d(rows, (1, side), stride=1)[:, 0]


def box_by_place(maps: Tensor, pooling: Pooling) -> Tensor:
    """Returns for each cell the mean of the box around it, (B, G, G); of the nearest whole box at the edges."""
    means = box_means(maps, pooling)
    lost = maps.shape[-1] - means.shape[-1]
    before = lost // 2
    return F.pad(means[:, None], (before, lost - before, before, lost - before), mode="replicate")[:, 0]


def _pooled(maps: Tensor, name: Pooling) -> Tensor:
    if name.startswith("box-"):
        return box_means(maps, name).amax(dim=(1, 2))
    return _largest(maps.flatten(1), name)


def _largest(cells: Tensor, name: Pooling) -> Tensor:
    """Returns the mean of the share of the cells (B, N) that is largest."""
    share = int(name.removeprefix("top-").removesuffix("%")) / 100
    return cells.topk(math.ceil(share * cells.shape[1]), dim=1).values.mean(dim=1)
