"""Every lambda at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnad.artifacts.measurements import Measurements
from mnad.evaluation.metrics import aucs, one_kind
from mnad.evaluation.normalisation import PER_VIDEO, Scaling, parts_of
from mnad.evaluation.scores import combine
from mnad.evaluation.smoothing import NO_SMOOTHING, Smoothing, smooth
from mnad.runtime.errors import ConfigError, DataError

STEPS = 100


@dataclass(frozen=True)
class Sweep:
    """The pooled frame AUC of each lambda.

    Attributes:
        weights: lambda, from 0 to 1 by 0.01.
        aucs: In [0, 1].
        best_weight: The lambda of the largest AUC, the lower one of equals. It is chosen on the test set's labels.
        best_auc: That AUC: no number to compare a model by.
    """

    weights: tuple[float, ...]
    aucs: tuple[float, ...]
    best_weight: float
    best_auc: float


def sweep(measurements: Measurements, scaling: Scaling = PER_VIDEO, smoothing: Smoothing = NO_SMOOTHING) -> Sweep:
    """Computes the AUC of 101 values of lambda; they equal those of single evaluations.

    Args:
        measurements: Of a labelled test set, by a model with memory.
        scaling: Whose lowest and highest value make g.
        smoothing: Of the scores.

    Raises:
        ConfigError: If the model has no memory: it has no lambda to choose.
        DataError: If there are no labels of both kinds.
    """
    if not measurements.protocol["memory"]:
        raise ConfigError("a model without memory has no lambda to sweep over; leave the sweep out")
    if measurements.labels is None or one_kind(measurements.labels):
        raise DataError("a sweep over lambda needs labels of both kinds")
    weights = np.arange(STEPS + 1) / STEPS
    scores = combine(parts_of(measurements, scaling), weights[:, None])
    areas = aucs(measurements.labels, smooth(scores, measurements.stretch, smoothing))
    best = int(np.argmax(areas))
    return Sweep(tuple(weights.tolist()), tuple(areas.tolist()), float(weights[best]), float(areas[best]))
