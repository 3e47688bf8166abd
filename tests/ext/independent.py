"""The method once more, in NumPy and float64, written from the paper's equations query by query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def queries(features: Array) -> Array:
    """(B, C, H, W) -> (B*H*W, C), rows of unit length."""
    rows = np.moveaxis(features, 1, -1).reshape(-1, features.shape[1])
    return np.stack([row / max(np.sqrt((row**2).sum()), 1e-12) for row in rows])


def read(features: Array, items: Array) -> tuple[Array, Array]:
    """Output rows (K, 2C) and weights (K, M)."""
    output, weights = [], []
    for q in queries(features):
        exponentials = np.array([np.exp(q @ p) for p in items])
        w = exponentials / exponentials.sum()
        weights.append(w)
        output.append(np.concatenate([q, sum(w[m] * items[m] for m in range(len(items)))]))
    return np.stack(output), np.stack(weights)


def top2(features: Array, items: Array) -> NDArray[np.int64]:
    """(K, 2): a stable sort by falling score, so ties go to the lower index."""
    return np.stack([np.argsort([-(q @ p) for p in items], kind="stable")[:2] for q in queries(features)])


def update(features: Array, items: Array, rule: str) -> Array:
    """Equations 3 to 5."""
    q = queries(features)
    v = np.exp(q @ items.T)
    v = v / v.sum(axis=0)
    nearest = (q @ items.T).argmax(axis=1)
    new_items = []
    for m, p in enumerate(items):
        assigned = np.flatnonzero(nearest == m)
        if len(assigned) == 0:
            new_items.append(p)
            continue
        scale = {"max-all": v[:, m].max(), "max-assigned": v[assigned, m].max(), "plain": 1.0}[rule]
        moved = p + sum(v[k, m] / scale * q[k] for k in assigned)
        new_items.append(moved / np.sqrt((moved**2).sum()))
    return np.stack(new_items)


def compactness(features: Array, items: Array) -> float:
    first = top2(features, items)[:, 0]
    return float(np.mean([(q - items[m]) ** 2 for q, m in zip(queries(features), first, strict=True)]))


def separateness(features: Array, items: Array) -> float:
    margins = []
    for q, (first, second) in zip(queries(features), top2(features, items), strict=True):
        near = np.sqrt(((q - items[first] + 1e-6) ** 2).sum())
        far = np.sqrt(((q - items[second] + 1e-6) ** 2).sum())
        margins.append(max(0.0, near - far + 1.0))
    return float(np.mean(margins))
