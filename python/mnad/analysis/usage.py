"""How the items of a memory are used, and what each stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnad.analysis.samples import Queries, patches_of_item
from mnad.artifacts.curves import usage_column
from mnad.artifacts.measurements import Measurements
from mnad.data import Clips

PATCHES = 10


@dataclass(frozen=True)
class Usage:
    """The use of M items.

    Attributes:
        normal: (M,), each item's share of the queries of normal test frames, or of all where labels are unknown.
        abnormal: (M,), of abnormal ones; 0 where there are none.
        by_epoch: (E, M), of the training frames, epoch by epoch.
        patches: For each item cuttings of frames around the queries that are nearest to it, the closest first.
    """

    normal: NDArray[np.float64]
    abnormal: NDArray[np.float64]
    by_epoch: NDArray[np.float64]
    patches: Sequence[Sequence[NDArray[np.uint8]]]


def usage_of(
    measurements: Measurements, curves: Sequence[Mapping[str, float]], queries: Queries, clips: Clips
) -> Usage:
    """Gathers the use of the items of a run.

    Args:
        measurements: Of the test frames.
        curves: What was logged of each epoch.
        queries: All queries of some of the test frames.
        clips: The test frames.
    """
    items = range(len(queries.items))
    abnormal = np.zeros(len(measurements), bool) if measurements.labels is None else measurements.labels
    return Usage(
        normal=shares(measurements.nearest[~abnormal]),
        abnormal=shares(measurements.nearest[abnormal]),
        by_epoch=np.array([[row[usage_column(item)] for item in items] for row in curves]).reshape(-1, len(items)),
        patches=[patches_of_item(queries, clips, item, PATCHES) for item in items],
    )


def shares(counts: NDArray[np.int32]) -> NDArray[np.float64]:
    """Returns each item's share of the queries of all frames together.

    Args:
        counts: (N, M), how many of each frame's queries are nearest to each item.

    Returns:
        (M,), they sum to 1; 0 where there are no frames.

    Example:
        >>> import numpy as np
        >>> shares(np.array([[3, 1], [3, 1]], np.int32)).tolist()
        [0.75, 0.25]
    """
    total = counts.sum(0, dtype=np.float64)
    found: NDArray[np.float64] = total / max(total.sum(), 1.0)
    return found


def perplexity(of_items: NDArray[np.float64]) -> float:
    """Returns how many items are in use, evenly used ones counted whole: e to the power of the shares' entropy.

    Example:
        >>> import numpy as np
        >>> round(perplexity(np.array([0.5, 0.5, 0.0])), 6)
        2.0
    """
    used = of_items[of_items > 0]
    return float(np.exp(-(used * np.log(used)).sum()))
