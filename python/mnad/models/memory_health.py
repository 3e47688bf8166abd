"""Is the memory alive? How its items are used, and whether they hold anything but position."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

POSITION_ALONE = 0.99


@dataclass(frozen=True)
class MemoryHealth:
    """Metrics of a memory over a set of frames.

    Attributes:
        items_in_use: Items that are nearest to at least one query.
        perplexity: exp(H(item)), from 1 (one item takes all queries) to M (all are used alike).
        mean_cosine: Mean cosine between two items; 1 where all are the same.
        positional_share: Share of (frame, position) pairs whose nearest item is the one that is nearest there most
            often. At 1 the nearest item is a function of position: the memory has learned where and not what.
        entropy_bits: H(item) in bits.
        entropy_at_position_bits: H(item | position) in bits; 0 where position says all.
        histogram: For each item its share of the queries.
    """

    items_in_use: int
    perplexity: float
    mean_cosine: float
    positional_share: float
    entropy_bits: float
    entropy_at_position_bits: float
    histogram: tuple[float, ...]

    def warnings(self) -> list[str]:
        """Returns a sentence for each thing that looks wrong."""
        found = []
        unused = [index for index, share in enumerate(self.histogram) if share == 0]
        if unused:
            found.append(f"items in no use: {', '.join(map(str, unused))} of {len(self.histogram)}")
        if self.positional_share > POSITION_ALONE and self.items_in_use > 1:
            found.append(
                f"positional share {self.positional_share:.3f}: the nearest item is a function of position alone, the "
                "memory has learned where and nothing of what"
            )
        return found


def count_nearest(nearest: Tensor, num_items: int) -> Tensor:
    """Counts how often each item is nearest at each position.

    Args:
        nearest: (B, H, W) int64, the nearest item of each query.
        num_items: M.

    Returns:
        (H * W, M) int64; counts of several batches add up.
    """
    items = torch.arange(num_items, device=nearest.device)
    return (nearest.flatten(1).unsqueeze(2) == items).sum(0)


def memory_health(counts: Tensor, items: Tensor) -> MemoryHealth:
    """Makes metrics of counts, see :func:`count_nearest`.

    Args:
        counts: (H * W, M), how often each item was nearest at each position.
        items: (M, C), the items.

    Example:
        >>> import torch
        >>> health = memory_health(torch.tensor([[4, 0], [1, 3]]), torch.eye(2))
        >>> health.items_in_use, health.positional_share, health.mean_cosine
        (2, 0.875, 0.0)
    """
    counts = counts.double().cpu()
    total = counts.sum().clamp_min(1)
    shares = counts.sum(0) / total
    at_position = counts / counts.sum(1, keepdim=True).clamp_min(1)
    of_position = counts.sum(1) / total
    M = len(items)
    unit = F.normalize(items.double().cpu(), dim=1)
    cosines = unit @ unit.t()
    entropy = _entropy(shares)
    return MemoryHealth(
        items_in_use=int((shares > 0).sum()),
        perplexity=float(2**entropy),
        mean_cosine=float((cosines.sum() - cosines.trace()) / (M * (M - 1))) if M > 1 else 1.0,
        positional_share=float(counts.max(1).values.sum() / total),
        entropy_bits=float(entropy),
        entropy_at_position_bits=float((of_position * _entropy(at_position)).sum()),
        histogram=tuple(shares.tolist()),
    )


def _entropy(shares: Tensor) -> Tensor:
    entropy: Tensor = -torch.special.xlogy(shares, shares).sum(-1) / math.log(2)
    return entropy
