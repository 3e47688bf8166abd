"""Queries and items brought to two dimensions, by t-SNE and by PCA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from mnad.analysis.samples import Queries
from mnad.runtime.errors import ConfigError

PERPLEXITY = 30.0


@dataclass(frozen=True)
class Embedding:
    """Where the queries and the items of a run lie in the plane.

    Attributes:
        method: ``"t-SNE"`` or ``"PCA"``.
        queries: (N, 2).
        items: (M, 2).
        nearest: (N,) int64, the nearest item of each query.
    """

    method: str
    queries: NDArray[np.float64]
    items: NDArray[np.float64]
    nearest: NDArray[np.int64]


def embed_tsne(queries: Queries, *, perplexity: float = PERPLEXITY, seed: int = 0) -> Embedding:
    """Brings queries and items together to the plane by t-SNE (scikit-learn), which keeps neighbours together.

    Distances between far groups, and their sizes, mean little.

    Args:
        queries: A sample.
        perplexity: How many neighbours count, about; less than the number of points.
        seed: Repeats the embedding.

    Raises:
        ConfigError: If there are not more points than the perplexity.
    """
    points = np.concatenate([queries.vectors, queries.items])
    if len(points) <= perplexity:
        raise ConfigError(
            f"t-SNE needs more points than its perplexity {perplexity:g}, got {len(queries)} queries and "
            f"{len(queries.items)} items; draw more queries"
        )
    plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return _split("t-SNE", plane, queries)


def embed_pca(queries: Queries) -> Embedding:
    """Brings queries and items to the plane in which the queries spread most; distances mean what they say."""
    pca = PCA(2, random_state=0).fit(queries.vectors)
    return _split("PCA", pca.transform(np.concatenate([queries.vectors, queries.items])), queries)


def _split(method: str, plane: NDArray[np.float64], queries: Queries) -> Embedding:
    count = len(queries)
    return Embedding(method, plane[:count].astype(np.float64), plane[count:].astype(np.float64), queries.nearest)
