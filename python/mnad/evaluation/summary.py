"""The published metrics of a test set, and what they were computed by."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.evaluation.checks import check_measurements
from mnad.evaluation.metrics import (
    auc_by_video,
    average_precision,
    equal_error_rate,
    macro_auc,
    one_kind,
    pooled_auc,
)
from mnad.evaluation.normalisation import PER_VIDEO, Normalisation, Scaling
from mnad.evaluation.scores import Choices, ScoreWeight, abnormality
from mnad.evaluation.smoothing import NO_SMOOTHING, Smoothing
from mnad.runtime.errors import DataError


@dataclass(frozen=True)
class Evaluation:
    """Metrics, and the protocol that they were computed by.

    Attributes:
        auc: Frame-level ROC AUC of all videos' frames pooled ("micro"), in [0, 1].
        macro_auc: Mean of the videos' own AUCs, over the videos where it is defined; None if it is nowhere.
        auc_by_video: Each video's AUC; None where all its frames have one label.
        average_precision: Area under the precision-recall curve of all frames pooled, as a sum of steps.
        eer: Equal error rate of all frames pooled.
        eer_threshold: The score at and above which frames count as abnormal there. It is chosen on the test set.
        frames: Frames scored.
        abnormal: Frames labelled abnormal.
        updates: Frames that updated the items.
        choices: How the measurements became scores.
        protocol: How the measurements were made.
    """

    auc: float
    macro_auc: float | None
    auc_by_video: dict[str, float | None]
    average_precision: float
    eer: float
    eer_threshold: float
    frames: int
    abnormal: int
    updates: int
    choices: Choices
    protocol: dict[str, Any]

    @property
    def score_weight(self) -> ScoreWeight:
        """lambda, the share of PSNR in the score; max if its larger part counts."""
        return self.choices.score_weight

    @property
    def normalisation(self) -> Normalisation:
        """How P and D are brought to one scale."""
        return self.choices.normalisation

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it as plain values, the choices among the metrics."""
        values = asdict(self)
        return {**values.pop("choices"), **values}


def evaluate(
    measurements: Measurements,
    score_weight: ScoreWeight | None = None,
    scaling: Scaling = PER_VIDEO,
    smoothing: Smoothing = NO_SMOOTHING,
) -> Evaluation:
    """Computes the metrics of a test set; left alone, by the published protocol.

    Args:
        measurements: Of a labelled test set.
        score_weight: lambda in [0, 1]; the published value of the task if None. Without a memory it is 1.
        scaling: Whose lowest and highest value make g.
        smoothing: Of the scores, over time.

    Raises:
        DataError: If there are no labels, only one class of frames, or the measurements contradict themselves.
        ConfigError: If lambda does not fit.
    """
    check_measurements(measurements)
    scores = abnormality(measurements, score_weight, scaling, smoothing)
    return metrics_of(measurements, scores, Choices.of(measurements, score_weight, scaling, smoothing))


def metrics_of(measurements: Measurements, scores: NDArray[np.float64], choices: Choices) -> Evaluation:
    """Computes the metrics of scores that are there already, see :func:`evaluate`."""
    labels = measurements.labels
    if labels is None:
        raise DataError(
            "the measurements carry no labels, so there is nothing to evaluate against; score with --labels"
        )
    if one_kind(labels):
        raise DataError(
            f"all {len(labels)} scored frames are {'abnormal' if labels.any() else 'normal'}: no AUC exists"
        )
    by_video = auc_by_video(measurements, scores)
    eer = equal_error_rate(labels, scores)
    return Evaluation(
        auc=pooled_auc(measurements, scores),
        macro_auc=macro_auc(by_video),
        auc_by_video=by_video,
        average_precision=average_precision(labels, scores),
        eer=eer.rate,
        eer_threshold=eer.threshold,
        frames=len(scores),
        abnormal=int(labels.sum()),
        updates=int(measurements.updated.sum()),
        choices=choices,
        protocol=measurements.protocol,
    )
