"""What is measured side by side: every work of the memory, done by different means.

A contender takes features (B, C, H, W) and items (M, C) and gives the tensors that its work is about, so that all can
be compared with the reference in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import mnad_ext
from mnad_ext import reference

Contender = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


def our_step(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
    step = mnad_ext.memory_step(features, items)
    return step.output, step.compactness, step.separateness, mnad_ext.update_items(items, step.statistics)


def our_read_and_update(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
    """What a frame's score needs of the memory: the output, the distance D, which is the compactness, and new items.

    Ours gives the separateness as well, from the same pass.
    """
    step = mnad_ext.memory_step(features, items)
    return step.output, step.compactness, mnad_ext.update_items(items, step.statistics)


def reference_read_and_update(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
    indices, _ = reference.assign_top2(features, items)
    return (
        reference.memory_read(features, items)[0],
        reference.compactness(features, items, indices[:, 0]),
        reference.memory_update(features, items),
    )


def reference_step(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
    indices, _ = reference.assign_top2(features, items)
    return (
        reference.memory_read(features, items)[0],
        reference.compactness(features, items, indices[:, 0]),
        reference.separateness(features, items, indices),
        reference.memory_update(features, items),
    )


def attention_read(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
    """The read as an attention over the items; it gives no weights."""
    B, C, H, W = features.shape
    query = F.normalize(features, dim=1)
    rows = query.flatten(2).transpose(1, 2)[:, None]
    memory = items.to(features.dtype).expand(B, 1, *items.shape)
    readout = F.scaled_dot_product_attention(rows, memory, memory, scale=1.0)
    return (torch.cat([query, readout[:, 0].transpose(1, 2).reshape(B, C, H, W)], dim=1),)


# ---- the way the published code computes, from method.md's words: scores anew for each use, items one by one ----


def _scores(query: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    flat = torch.matmul(query, items.t()).reshape(-1, items.shape[0])
    return F.softmax(flat, dim=0), F.softmax(flat, dim=1)


def _published_query(features: Tensor) -> Tensor:
    return F.normalize(features, dim=1).permute(0, 2, 3, 1)


def _published_read(query: Tensor, items: Tensor) -> Tensor:
    B, H, W, C = query.shape
    _, over_items = _scores(query, items)
    flat = query.reshape(-1, C)
    readout = torch.matmul(over_items.detach(), items)
    return torch.cat([flat, readout], dim=1).view(B, H, W, 2 * C).permute(0, 3, 1, 2)


def _published_update(query: Tensor, items: Tensor) -> Tensor:
    over_queries, over_items = _scores(query, items)
    nearest = over_items.topk(1, dim=1).indices.squeeze(1)
    flat = query.reshape(-1, query.shape[-1])
    moved = torch.zeros_like(items)
    for m in range(items.shape[0]):
        assigned = torch.nonzero(nearest == m).squeeze(1)
        if assigned.numel() > 0:
            weight = over_queries[assigned, m] / over_queries[:, m].max()
            moved[m] = (weight[:, None] * flat[assigned]).sum(0)
    return F.normalize(moved + items, dim=1).detach()


def published_read(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
    return (_published_read(_published_query(features), items),)


def _published_compactness(query: Tensor, items: Tensor) -> Tensor:
    nearest = _scores(query, items)[1].topk(1, dim=1).indices.squeeze(1)
    return F.mse_loss(query.reshape(-1, query.shape[-1]), items[nearest].detach())


def published_step(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
    query = _published_query(features)
    flat = query.reshape(-1, query.shape[-1])
    compactness = _published_compactness(query, items)
    best = _scores(query, items)[1].topk(2, dim=1).indices
    near, far = items[best[:, 0]].detach(), items[best[:, 1]].detach()
    separateness = F.triplet_margin_loss(flat, near, far, margin=1.0)
    return _published_read(query, items), compactness, separateness, _published_update(query, items)


def published_eval(features: Tensor, items: Tensor) -> tuple[Tensor, ...]:
    query = _published_query(features)
    return _published_read(query, items), _published_compactness(query, items), _published_update(query, items)


# ---- the least that must be moved ----


def copy_read(features: Tensor, output: Tensor) -> None:
    C = features.shape[1]
    output[:, :C].copy_(features)
    output[:, C:].copy_(features)


WORKS: dict[str, dict[str, Contender]] = {
    "read": {
        "ours": lambda x, p: mnad_ext.memory_read(x, p)[:1],
        "reference": lambda x, p: reference.memory_read(x, p)[:1],
        "attention": attention_read,
        "published": published_read,
    },
    "assign": {"ours": mnad_ext.assign_top2, "reference": reference.assign_top2},
    "update": {
        "ours": lambda x, p: (mnad_ext.memory_update(x, p),),
        "reference": lambda x, p: (reference.memory_update(x, p),),
    },
    "read + update": {
        "ours": our_read_and_update,
        "reference": reference_read_and_update,
        "published": published_eval,
    },
    "step": {"ours": our_step, "reference": reference_step, "published": published_step},
}
