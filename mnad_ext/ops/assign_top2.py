"""assign_top2: the two nearest items of every query."""

from __future__ import annotations

import torch
from torch import Tensor

from mnad_ext import reference
from mnad_ext._checks import check_features_and_items, check_two_items
from mnad_ext.ops import _rules


def assign_top2(features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the nearest and the second nearest item of every query, p_first and p_second of the losses.

    The same in plain PyTorch is :func:`mnad_ext.reference.assign_top2`.

    Args:
        features: (B, C, H, W) as for :func:`mnad_ext.memory_read`.
        items: (M, C) or (B, M, C), M >= 2.

    Returns:
        ``indices`` (B, 2, H, W) int64 and ``scores`` (B, 2, H, W), their cosines in the dtype of the items. Ties go to
        the lower index. Neither has a gradient. For a query with a non-finite value the scores are NaN and the indices
        mean nothing.

    Raises:
        TypeError: If a dtype is not served.
        ValueError: If shapes or devices do not fit each other, or M = 1.

    Example:
        >>> import torch
        >>> from mnad_ext import assign_top2
        >>> items = torch.eye(3, 4)
        >>> features = torch.tensor([0.0, 3.0, 4.0, 0.0]).view(1, 4, 1, 1)
        >>> indices, scores = assign_top2(features, items)
        >>> indices.flatten().tolist(), [round(score, 4) for score in scores.flatten().tolist()]
        ([2, 1], [0.8, 0.6])
    """
    check_features_and_items(features, items)
    check_two_items(items)
    result: tuple[Tensor, Tensor] = torch.ops.mnad.assign_top2.default(features, items)
    return result


@torch.library.register_fake("mnad::assign_top2")
def _fake(features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    return (
        _rules.empty_per_query(features, 2, torch.int64),
        _rules.empty_per_query(features, 2, _rules.computing_dtype(features)),
    )


_rules.register_fallback("assign_top2", reference.assign_top2)
_rules.register_autocast("assign_top2")
_rules.register_constant("assign_top2")
