"""memory_step: all that a training step needs of the memory, computed in one pass over the features."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mnad_ext import reference
from mnad_ext._checks import check_features_and_items, check_two_items
from mnad_ext.ops import _rules
from mnad_ext.ops.memory_read import memory_gradient, save_for_gradient
from mnad_ext.statistics import UpdateStatistics


class MemoryStep(NamedTuple):
    """Results of :func:`memory_step`.

    Attributes:
        output: (B, 2C, H, W), as :func:`mnad_ext.memory_read` returns it.
        weights: (B, M, H, W), likewise.
        indices: (B, 2, H, W) int64, as :func:`mnad_ext.assign_top2` returns them.
        compactness: (B,), the mean over H*W*C elements of (q_k - p_first)^2.
        separateness: (B,), the mean over H*W queries of max(0, d(q_k, p_first) - d(q_k, p_second) + 1), where d is
            the L2 norm of (a - b + 1e-6).
        statistics: As :func:`mnad_ext.update_statistics` returns them.
    """

    output: Tensor
    weights: Tensor
    indices: Tensor
    compactness: Tensor
    separateness: Tensor
    statistics: UpdateStatistics


def memory_step(features: Tensor, items: Tensor, *, grad_through_weights: bool = False) -> MemoryStep:
    """Reads the memory and computes both losses and the statistics of an update, in one pass over the features.

    Equals memory_read, assign_top2, both losses per sample (Park et al., CVPR 2020, section 3.3) and update_statistics,
    one after the other, with one backward pass. The items get no gradient from the losses.

    Args:
        features: (B, C, H, W) as for :func:`mnad_ext.memory_read`.
        items: (M, C) or (B, M, C), M >= 2.
        grad_through_weights: As for :func:`mnad_ext.memory_read`.

    Returns:
        The results by name. A query with a non-finite value makes the losses of its sample NaN and is left out of the
        statistics.

    Raises:
        TypeError: If a dtype is not served.
        ValueError: If shapes or devices do not fit each other, or M = 1.

    Example:
        >>> import torch
        >>> from mnad_ext import memory_step, update_items
        >>> items = torch.nn.functional.normalize(torch.rand(10, 64), dim=1)
        >>> features = torch.randn(4, 64, 32, 32, requires_grad=True)
        >>> step = memory_step(features, items)
        >>> (0.1 * step.compactness.mean() + 0.1 * step.separateness.mean()).backward()
        >>> items = update_items(items, step.statistics)
    """
    check_features_and_items(features, items)
    check_two_items(items)
    results = torch.ops.mnad.memory_step.default(features, items, grad_through_weights=grad_through_weights)
    output, weights, indices, _scores, _distances, compactness, separateness, *statistics = results
    return MemoryStep(output, weights, indices, compactness, separateness, UpdateStatistics(*statistics))


def _reference(features: Tensor, items: Tensor, *, grad_through_weights: bool = False) -> tuple[Tensor, ...]:
    indices, scores = reference.assign_top2(features, items)
    return (
        *reference.memory_read(features, items, grad_through_weights=grad_through_weights),
        indices,
        scores,
        reference.distances(features, items, indices),
        reference.compactness(features, items, indices[:, 0]),
        reference.separateness(features, items, indices),
        *reference.update_statistics(features, items),
    )


@torch.library.register_fake("mnad::memory_step")
def _fake(features: Tensor, items: Tensor, *, grad_through_weights: bool = False) -> tuple[Tensor, ...]:
    dtype = _rules.computing_dtype(features)
    per_sample = features.shape[:1]
    return (
        _rules.empty_map(features, 2 * features.shape[1]),
        _rules.empty_per_query(features, items.shape[-2], dtype),
        _rules.empty_per_query(features, 2, torch.int64),
        _rules.empty_per_query(features, 2, dtype),
        _rules.empty_per_query(features, 2, dtype),
        features.new_empty(per_sample, dtype=dtype),
        features.new_empty(per_sample, dtype=dtype),
        *_rules.empty_statistics(items),
    )


def _setup_context(
    ctx: Any, inputs: tuple[Tensor, Tensor], keyword_only_inputs: dict[str, bool], output: tuple[Tensor, ...]
) -> None:
    save_for_gradient(ctx, inputs, keyword_only_inputs, output[1:5])
    ctx.mark_non_differentiable(*output[2:5], *output[7:])


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    grad_output, grad_weights, _, _, _, grad_compactness, grad_separateness = grads[:7]
    return memory_gradient(ctx, (grad_output, grad_weights, grad_compactness, grad_separateness))


_rules.register_fallback("memory_step", _reference)
_rules.register_autocast("memory_step")
_rules.register_gradient("memory_step", _backward, _setup_context)
