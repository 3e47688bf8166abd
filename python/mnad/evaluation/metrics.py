"""Metrics of scores against labels: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_curve

from mnad.artifacts.measurements import Measurements
from mnad.runtime.errors import DataError

Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]


class EqualErrorRate(NamedTuple):
    """Where as large a share of the normal frames is above the threshold as of the abnormal ones is below it.

    Attributes:
        rate: That share, between the points of the ROC curve if it lies between two.
        threshold: The score of the nearer point: at and above it frames count as abnormal. Chosen with the labels.
    """

    rate: float
    threshold: float


def one_kind(labels: Labels) -> bool:
    """Returns whether the labels are all the same, or none: then no AUC exists."""
    return bool(len(labels) == 0 or labels.all() or not labels.any())


def aucs(labels: Labels, scores: Scores) -> Scores:
    """Returns the area under the ROC curve of each row of scores.

    Args:
        labels: (N,), True = abnormal, of both kinds.
        scores: (..., N).

    Returns:
        (...), the share of pairs of an abnormal and a normal frame in which the abnormal one has the higher score; a
        tie counts half.

    Example:
        >>> aucs(np.array([True, False, True]), np.array([[0.9, 0.5, 0.5], [0.1, 0.5, 0.2]])).tolist()
        [0.75, 0.0]
    """
    abnormal = int(labels.sum())
    normal = len(labels) - abnormal
    ranks = rankdata(scores, axis=-1)[..., labels].sum(-1)
    areas: Scores = (ranks - abnormal * (abnormal + 1) / 2) / (abnormal * normal)
    return areas


def auc_or_none(labels: Labels, scores: Scores) -> float | None:
    """Returns the AUC of one row of scores, (N,); None where all labels are the same."""
    return None if one_kind(labels) else float(aucs(labels, scores))


def pooled_auc(measurements: Measurements, scores: Scores, chosen: Labels | None = None) -> float:
    """Returns the AUC of all frames together, or of the chosen ones alone.

    Args:
        measurements: With labels.
        scores: (N,).
        chosen: (N,), which frames count; all if None.

    Raises:
        DataError: If they are all normal or all abnormal, or there are no labels.
    """
    frames: Labels | slice = slice(None) if chosen is None else chosen
    auc = None if measurements.labels is None else auc_or_none(measurements.labels[frames], scores[frames])
    if auc is None:
        raise DataError("no AUC exists of frames that have no labels or only one kind of label")
    return auc


def auc_by_video(measurements: Measurements, scores: Scores) -> dict[str, float | None]:
    """Returns each video's own AUC; None where all its frames have one label.

    Args:
        measurements: With labels.
        scores: (N,).
    """
    labels = measurements.labels
    assert labels is not None
    chosen = {name: measurements.video == index for index, name in enumerate(measurements.videos)}
    return {name: auc_or_none(labels[frames], scores[frames]) for name, frames in chosen.items()}


def macro_auc(by_video: Mapping[str, float | None]) -> float | None:
    """Returns the mean of the videos' AUCs that are defined; None if none is."""
    defined = [value for value in by_video.values() if value is not None]
    return fsum(defined) / len(defined) if defined else None


def average_precision(labels: Labels, scores: Scores) -> float:
    """Returns the mean of the precisions at each threshold, weighted by the recall that it adds."""
    return float(average_precision_score(labels, scores))


def equal_error_rate(labels: Labels, scores: Scores) -> EqualErrorRate:
    """Returns the equal error rate and its threshold.

    Args:
        labels: (N,), of both kinds.
        scores: (N,).

    Example:
        >>> equal_error_rate(np.array([False, False, True, True]), np.array([0.1, 0.6, 0.4, 0.9]))
        EqualErrorRate(rate=0.5, threshold=0.6)
    """
    false_alarms, found, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    excess = false_alarms + found - 1  # false alarms less missed frames: rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    before = after - 1
    share = -excess[before] / (excess[after] - excess[before])
    rate = false_alarms[before] + share * (false_alarms[after] - false_alarms[before])
    nearer = before if before > 0 and -excess[before] < excess[after] else after
    return EqualErrorRate(float(rate), float(thresholds[nearer]))
