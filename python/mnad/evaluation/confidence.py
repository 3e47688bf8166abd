"""How sure an AUC is: the test videos drawn anew, again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.evaluation.metrics import auc_by_video, one_kind
from mnad.runtime.errors import ConfigError, DataError

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Percentile intervals from drawing whole videos with replacement; frames of a video are no separate evidence.

    Attributes:
        level: The share of the draws within an interval.
        auc: Bounds of the pooled frame AUC.
        macro_auc: Bounds of the mean of the videos' AUCs; None where no draw has one.
        resamples: How often videos were drawn.
        without_auc: How many of the draws held frames of one kind only and count for nothing.
        seed: Repeats the draws.
    """

    level: float
    auc: tuple[float, float]
    macro_auc: tuple[float, float] | None
    resamples: int
    without_auc: int
    seed: int


def bootstrap(measurements: Measurements, scores: NDArray[np.float64], resamples: int, seed: int = 0) -> Interval:
    """Draws as many videos as there are, with replacement, and computes the AUCs of each draw, exactly.

    The AUC of a draw needs no sorting anew: with the numbers of well ordered pairs between any two videos, it is a
    quadratic form of how often each video was drawn. Scores stay as they are: a ``global`` normalisation is not redone.

    Args:
        measurements: Of a labelled test set.
        scores: (N,), the frames' scores.
        resamples: The number of draws, at least 1.
        seed: Repeats them.

    Raises:
        ConfigError: If resamples is less than 1.
        DataError: If there are no labels of both kinds.
    """
    if resamples < 1:
        raise ConfigError(f"bootstrap must be at least 1 resample, got {resamples}")
    labels = measurements.labels
    if labels is None or one_kind(labels):
        raise DataError("confidence intervals need labels of both kinds")
    by_video = auc_by_video(measurements, scores)
    order = sorted(set(measurements.video.tolist()), key=lambda index: measurements.videos[index])
    pairs = _ordered_pairs(labels, scores, measurements.video, order)
    abnormal = np.array([labels[measurements.video == index].sum() for index in order], np.float64)
    normal = np.array([(~labels[measurements.video == index]).sum() for index in order], np.float64)
    own = np.array([np.nan if (auc := by_video[measurements.videos[index]]) is None else auc for index in order])

    drawn = np.random.default_rng(seed).multinomial(len(order), np.full(len(order), 1 / len(order)), size=resamples)
    possible = (drawn @ abnormal) * (drawn @ normal)
    counted = possible > 0
    pooled = ((drawn @ pairs) * drawn).sum(1)[counted] / possible[counted]
    defined = drawn @ np.isfinite(own)
    means = (drawn @ np.nan_to_num(own))[defined > 0] / defined[defined > 0]
    return Interval(
        LEVEL, _middle(pooled), _middle(means) if len(means) else None, resamples, int((~counted).sum()), seed
    )


def _ordered_pairs(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], video: NDArray[np.int64], order: list[int]
) -> NDArray[np.float64]:
    """Returns (V, V): pairs of an abnormal frame of one video above a normal frame of another; ties count half."""
    pairs = np.zeros((len(order), len(order)))
    place = np.zeros(max(order) + 1, np.int64)
    place[order] = np.arange(len(order))
    owner, abnormal = place[video[labels]], scores[labels]
    for column, index in enumerate(order):
        normal = np.sort(scores[(video == index) & ~labels])
        below = np.searchsorted(normal, abnormal, "left") + np.searchsorted(normal, abnormal, "right")
        pairs[:, column] = np.bincount(owner, below / 2, minlength=len(order))
    return pairs


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    if len(values) == 0:
        raise DataError("no draw of the videos held normal and abnormal frames; draw more often or leave it out")
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
