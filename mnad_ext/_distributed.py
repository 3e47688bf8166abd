"""Update statistics over the processes of distributed training."""

from __future__ import annotations

import torch
import torch.distributed as dist

from mnad_ext.statistics import UpdateStatistics


def merge_over_ranks(statistics: UpdateStatistics) -> UpdateStatistics:
    """Returns the statistics of all ranks together, the same bits on each; without other ranks they are returned as is.

    One all-reduce of M C + 2 M (1 + ranks) numbers. It sums in float64, in which counts are exact up to 2^53 and the
    order of the ranks changes a float32 sum only where it lies at the border between two roundings. The peaks are in it
    as well: each rank adds its own where all others add 0, and their maximum is taken afterwards.

    Args:
        statistics: Of the queries of this rank, of the same shapes on all ranks.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return statistics
    weighted_sum, total, counts, *peaks = statistics
    peaks_of_ranks = total.new_zeros(dist.get_world_size(), 2, *total.shape)
    peaks_of_ranks[dist.get_rank()] = torch.stack(peaks)
    parts = (weighted_sum, total, counts, peaks_of_ranks)
    message = torch.cat([part.flatten().double() for part in parts])
    dist.all_reduce(message)
    received = message.split([part.numel() for part in parts])
    weighted_sum, total, counts, peaks_of_ranks = (
        values.view(part.shape).to(part.dtype) for values, part in zip(received, parts, strict=True)
    )
    return UpdateStatistics(weighted_sum, total, counts, *peaks_of_ranks.amax(dim=0))
