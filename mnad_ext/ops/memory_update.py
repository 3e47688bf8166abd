"""The update of the items: statistics of the queries, new items from statistics, and both in one call."""

from __future__ import annotations

import torch
from torch import Tensor

from mnad_ext import reference
from mnad_ext._checks import check_features_and_items, check_rule, check_statistics
from mnad_ext.ops import _rules
from mnad_ext.statistics import UpdateRule, UpdateStatistics


def memory_update(features: Tensor, items: Tensor, rule: UpdateRule = "max-all") -> Tensor:
    """Moves every item towards the queries nearest to it (Park et al., CVPR 2020, eq. 3 to 5).

    p_m <- normalise(p_m + sum over k in U_m of v'_km q_k), where U_m are the queries whose nearest item is m, v_km the
    softmax over all K queries of the scores, and the rule says what v'_km is. An item with an empty U_m stays as it
    is. The same in plain PyTorch is :func:`mnad_ext.reference.memory_update`.

    Args:
        features: (B, C, H, W) as for :func:`mnad_ext.memory_read`. Queries with a non-finite value are left out.
        items: (M, C), or (B, M, C) for one memory per sample, each updated by its own sample's queries.
        rule: ``"max-all"``, v_km over its maximum over all queries (the released code); ``"max-assigned"``, over its
            maximum over U_m (eq. 5); ``"plain"``, v_km itself.

    Returns:
        The new items, in the shape and dtype of ``items``, without gradient.

    Raises:
        TypeError: If a dtype is not served.
        ValueError: If shapes or devices do not fit each other, or the rule is unknown.

    Example:
        >>> import torch
        >>> from mnad_ext import memory_update
        >>> items = torch.eye(2)
        >>> features = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)  # one query, equal to the second item
        >>> torch.equal(memory_update(features, items), items)
        True
    """
    check_features_and_items(features, items)
    check_rule(rule)
    new_items: Tensor = torch.ops.mnad.memory_update.default(features, items, rule)
    return new_items


def update_statistics(features: Tensor, items: Tensor) -> UpdateStatistics:
    """Computes, in one pass over the queries, the statistics that an update of the items needs.

    Statistics of parts add up to the statistics of the whole (:meth:`UpdateStatistics.merge`; sums by sum and peaks by
    max across devices), so that an update by several devices equals one update by one large batch.

    Args:
        features: (B, C, H, W) as for :func:`mnad_ext.memory_read`. Queries with a non-finite value are left out.
        items: (M, C), or (B, M, C) for one memory per sample.

    Returns:
        The statistics, without gradient, in the dtype of the items.

    Raises:
        TypeError: If a dtype is not served.
        ValueError: If shapes or devices do not fit each other.

    Example:
        >>> import torch
        >>> from mnad_ext import update_items, update_statistics
        >>> items = torch.nn.functional.normalize(torch.rand(10, 16), dim=1)
        >>> one, other = (update_statistics(torch.randn(2, 16, 8, 8), items) for _ in range(2))
        >>> update_items(items, one.merge(other)).shape
        torch.Size([10, 16])
    """
    check_features_and_items(features, items)
    return UpdateStatistics(*torch.ops.mnad.update_statistics.default(features, items))


def update_items(items: Tensor, statistics: UpdateStatistics, rule: UpdateRule = "max-all") -> Tensor:
    """Computes the new items from statistics, the last step of an update.

    Args:
        items: (M, C) or (B, M, C), float32 or float64.
        statistics: What :func:`update_statistics` returned for these items.
        rule: As for :func:`memory_update`.

    Returns:
        The new items: rows of unit length; an item without queries is unchanged.

    Raises:
        TypeError: If a dtype is not served.
        ValueError: If the statistics do not fit the items, or the rule is unknown.

    Example:
        >>> import torch
        >>> from mnad_ext import update_items, update_statistics
        >>> items = torch.eye(2)
        >>> statistics = update_statistics(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), items)
        >>> statistics.counts.tolist(), [round(x, 3) for x in update_items(items, statistics)[1].tolist()]
        ([0, 1], [0.316, 0.949])
    """
    check_statistics(items, statistics)
    check_rule(rule)
    new_items: Tensor = torch.ops.mnad.update_items.default(items, *statistics, rule)
    return new_items


@torch.library.register_fake("mnad::update_statistics")
def _fake_statistics(features: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _rules.empty_statistics(items)


@torch.library.register_fake("mnad::update_items")
def _fake_items(
    items: Tensor,
    weighted_sum: Tensor,
    total: Tensor,
    counts: Tensor,
    peak_all: Tensor,
    peak_assigned: Tensor,
    rule: str = "max-all",
) -> Tensor:
    return items.new_empty(items.shape)


@torch.library.register_fake("mnad::memory_update")
def _fake_update(features: Tensor, items: Tensor, rule: str = "max-all") -> Tensor:
    return items.new_empty(items.shape)


def _reference_items(items: Tensor, *statistics_and_rule: Tensor | str) -> Tensor:
    *statistics, rule = statistics_and_rule
    return reference.update_items(items, UpdateStatistics(*statistics), rule)  # type: ignore[arg-type]


_rules.register_fallback("update_statistics", reference.update_statistics)
_rules.register_fallback("update_items", _reference_items)
_rules.register_fallback("memory_update", reference.memory_update)
for _name in ("update_statistics", "update_items", "memory_update"):
    _rules.register_constant(_name)
for _name in ("update_statistics", "memory_update"):
    _rules.register_autocast(_name)
