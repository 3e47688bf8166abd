"""The statistics of the queries from which an update computes the new items."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

UpdateRule = Literal["max-all", "max-assigned", "plain"]
UPDATE_RULES: tuple[UpdateRule, ...] = get_args(UpdateRule)


class UpdateStatistics(NamedTuple):
    """Statistics of the queries per item; they add up over batches and devices.

    With s_km the score of query k and item m, and U_m the queries whose nearest item is m. The leading (B,) is
    there when every sample has items of its own. Queries that hold a non-finite value are left out of all of them.

    Attributes:
        weighted_sum: ([B,] M, C), the sum over U_m of exp(s_km) q_k. Adds up by sum.
        total: ([B,] M), the sum over all k of exp(s_km), the softmax denominator. Adds up by sum.
        counts: ([B,] M) int64, the size of U_m. Adds up by sum.
        peak_all: ([B,] M), the maximum over all k of s_km, -inf without queries. Adds up by max.
        peak_assigned: ([B,] M), the maximum over U_m of s_km, -inf where U_m is empty. Adds up by max.
    """

    weighted_sum: Tensor
    total: Tensor
    counts: Tensor
    peak_all: Tensor
    peak_assigned: Tensor

    def merge(self, other: UpdateStatistics) -> UpdateStatistics:
        """Returns the statistics of both sets of queries together."""
        return UpdateStatistics(
            self.weighted_sum + other.weighted_sum,
            self.total + other.total,
            self.counts + other.counts,
            self.peak_all.maximum(other.peak_all),
            self.peak_assigned.maximum(other.peak_assigned),
        )


def zero_statistics(items: Tensor) -> UpdateStatistics:
    """Returns the statistics of no queries for items ([B,] M, C): merging with them changes nothing."""
    per_item = items.shape[:-1]
    return UpdateStatistics(
        items.new_zeros(items.shape),
        items.new_zeros(per_item),
        items.new_zeros(per_item, dtype=torch.int64),
        items.new_full(per_item, -torch.inf),
        items.new_full(per_item, -torch.inf),
    )
