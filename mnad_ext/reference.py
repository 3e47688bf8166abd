"""The operators in plain PyTorch: the definition of correct.

Every function has the signature and the meaning of its namesake in :mod:`mnad_ext`, is differentiable by
autograd wherever the operator is, and runs on any device. It is written to be read, not to be fast. The letters
are those of Park et al., CVPR 2020: B samples, C channels, an H x W grid, K = B*H*W queries, M items.

Half-precision features are computed in float32, float64 features in float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mnad_ext._vector_math import settle
from mnad_ext.statistics import UpdateRule, UpdateStatistics

NORM_EPS = 1e-12
DISTANCE_EPS = 1e-6
MARGIN = 1.0

settle(torch.exp)


def memory_read(features: Tensor, items: Tensor, *, grad_through_weights: bool = False) -> tuple[Tensor, Tensor]:
    """Reads the memory with every query. See :func:`mnad_ext.memory_read`."""
    query, scores = _query_and_scores(features, items)
    weights = scores.softmax(dim=1)
    read_weights = weights if grad_through_weights else weights.detach()
    readout = torch.einsum(f"bmhw,{_item_axes(items)}->bchw", read_weights, items)
    return torch.cat([query, readout], dim=1).to(features.dtype), weights


def memory_backward(
    grad_output: Tensor | None,
    grad_weights: Tensor | None,
    grad_compactness: Tensor | None,
    grad_separateness: Tensor | None,
    features: Tensor,
    items: Tensor,
    weights: Tensor,
    indices: Tensor | None,
    scores: Tensor | None,
    distances: Tensor | None,
    *,
    grad_through_weights: bool,
    wants_features: bool,
    wants_items: bool,
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of a read and of the losses, by autograd through a forward pass of its own.

    ``scores`` and ``distances``, which save a kernel work, are not used.

    Returns:
        The gradients of ``features`` and of ``items``, an empty tensor where not wanted.
    """
    features = features.detach().requires_grad_(wants_features)
    items = items.detach().requires_grad_(wants_items)
    with torch.enable_grad():
        results = list(memory_read(features, items, grad_through_weights=grad_through_weights))
        if indices is not None:
            results += [compactness(features, items, indices[:, 0]), separateness(features, items, indices)]
    grads = [grad_output, grad_weights, grad_compactness, grad_separateness][: len(results)]
    pairs = [pair for pair in zip(results, grads, strict=True) if pair[1] is not None and pair[0].requires_grad]
    outputs, upstream = zip(*pairs, strict=True)
    wanted = [leaf for leaf in (features, items) if leaf.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, upstream, allow_unused=True, materialize_grads=True))
    return (
        next(found) if wants_features else features.new_empty(0),
        next(found) if wants_items else items.new_empty(0),
    )


def assign_top2(features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the nearest and the second nearest item. See :func:`mnad_ext.assign_top2`."""
    _, scores = _query_and_scores(features.detach(), items.detach())
    # Two argmaxes rather than topk(2): argmax takes the first of equal values, topk promises nothing.
    first = scores.argmax(dim=1, keepdim=True)
    second = scores.scatter(1, first, -torch.inf).argmax(dim=1, keepdim=True)
    indices = torch.cat([first, second], dim=1)
    return indices, scores.gather(1, indices)


def update_statistics(features: Tensor, items: Tensor) -> UpdateStatistics:
    """Returns the statistics of the queries that an update needs. See :func:`mnad_ext.update_statistics`."""
    query, scores = _query_and_scores(features.detach(), items.detach())
    finite = scores.isfinite().all(dim=1, keepdim=True)
    query = query.where(finite, 0)
    scores = scores.where(finite, -torch.inf)
    weight = scores.exp()
    nearest = F.one_hot(scores.argmax(dim=1), scores.shape[1]).movedim(-1, 1).bool() & finite

    over = (0, 2, 3) if items.ndim == 2 else (2, 3)
    return UpdateStatistics(
        weighted_sum=torch.einsum(f"bmhw,bchw->{_item_axes(items)}", weight * nearest, query),
        total=weight.sum(over),
        counts=nearest.sum(over),
        peak_all=_max_over(scores, over),
        peak_assigned=_max_over(scores.where(nearest, -torch.inf), over),
    )


def update_items(items: Tensor, statistics: UpdateStatistics, rule: UpdateRule = "max-all") -> Tensor:
    """Returns the new items, computed from the statistics. See :func:`mnad_ext.update_items`."""
    if rule == "plain":
        scale = 1 / statistics.total
    else:
        scale = torch.exp(-(statistics.peak_all if rule == "max-all" else statistics.peak_assigned))
    assigned = (statistics.counts > 0).unsqueeze(-1)
    moved = items + statistics.weighted_sum * scale.unsqueeze(-1)
    return F.normalize(moved, dim=-1, eps=NORM_EPS).where(assigned, items)


def memory_update(features: Tensor, items: Tensor, rule: UpdateRule = "max-all") -> Tensor:
    """Moves every item towards its queries. See :func:`mnad_ext.memory_update`."""
    return update_items(items.detach(), update_statistics(features, items), rule)


def compactness(features: Tensor, items: Tensor, nearest: Tensor) -> Tensor:
    """Returns every sample's mean squared distance between its queries and their nearest items.

    Args:
        features: (B, C, H, W), the encoder's raw output.
        items: (M, C) or (B, M, C).
        nearest: (B, H, W) int64, the index of each query's nearest item.

    Returns:
        (B,), the mean over H*W*C elements of (q_k - p_first)^2. The gradient reaches the features only.
    """
    difference = _query(features) - _gather(items.detach(), nearest)
    return difference.square().mean(dim=(1, 2, 3))


def separateness(features: Tensor, items: Tensor, indices: Tensor) -> Tensor:
    """Returns every sample's mean triplet margin between nearest and second nearest item.

    Args:
        features: (B, C, H, W), the encoder's raw output.
        items: (M, C) or (B, M, C), M >= 2.
        indices: (B, 2, H, W) int64 as :func:`assign_top2` returns them.

    Returns:
        (B,), the mean over H*W queries of max(0, d(q_k, p_first) - d(q_k, p_second) + 1), where d is the L2 norm
        of (a - b + 1e-6). The gradient reaches the features only.
    """
    near, far = distances(features, items, indices).unbind(dim=1)
    margins: Tensor = (near - far + MARGIN).clamp_min(0)
    return margins.mean(dim=(1, 2))


def distances(features: Tensor, items: Tensor, indices: Tensor) -> Tensor:
    """Returns the distances of every query to its nearest and its second nearest item.

    Args:
        features: (B, C, H, W), the encoder's raw output.
        items: (M, C) or (B, M, C), M >= 2.
        indices: (B, 2, H, W) int64 as :func:`assign_top2` returns them.

    Returns:
        (B, 2, H, W), the L2 norms of (q_k - p + 1e-6). The gradient reaches the features only.
    """
    query, items = _query(features), items.detach()
    return torch.stack(
        [(query - _gather(items, indices[:, rank]) + DISTANCE_EPS).norm(dim=1) for rank in (0, 1)], dim=1
    )


def _query(features: Tensor) -> Tensor:
    wide = features if features.dtype == torch.float64 else features.float()
    query: Tensor = F.normalize(wide, dim=1, eps=NORM_EPS)
    return query


def _query_and_scores(features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    query = _query(features)
    return query, torch.einsum(f"bchw,{_item_axes(items)}->bmhw", query, items)


def _item_axes(items: Tensor) -> str:
    return "mc" if items.ndim == 2 else "bmc"


def _gather(items: Tensor, index: Tensor) -> Tensor:
    """Picks an item for every query: items (M, C) or (B, M, C), index (B, H, W) -> (B, C, H, W)."""
    if items.ndim == 2:
        picked = items[index]
    else:
        samples = torch.arange(items.shape[0], device=items.device)[:, None, None]
        picked = items[samples, index]
    return picked.movedim(-1, 1)


def _max_over(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    if values.numel() > 0:
        return values.amax(dims)
    return values.new_full([size for d, size in enumerate(values.shape) if d not in dims], -torch.inf)
