"""From measurements to abnormality scores and to figures of merit: pure functions on arrays."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from mnad.errors import ConfigError, DataError
from mnad.measurements import Measurements
from mnad.models.presets import RECIPES


@dataclass(frozen=True)
class Evaluation:
    """Figures of merit, and the protocol that they were computed by.

    Attributes:
        auc: Frame-level ROC AUC of all videos' frames pooled ("micro"), in [0, 1].
        macro_auc: Mean of the videos' own AUCs, over the videos where it is defined; None if it is nowhere.
        auc_by_video: Each video's AUC; None where all its frames have one label.
        frames: Frames scored.
        abnormal: Frames labelled abnormal.
        score_weight: lambda, the share of PSNR in the score.
        normalisation: How P and D are brought to [0, 1].
        updates: Frames that updated the items.
        protocol: How the measurements were made.
    """

    auc: float
    macro_auc: float | None
    auc_by_video: dict[str, float | None]
    frames: int
    abnormal: int
    score_weight: float
    normalisation: str
    updates: int
    protocol: dict[str, object]


def evaluate(measurements: Measurements, score_weight: float | None = None) -> Evaluation:
    """Computes the published figures: per-video normalisation, Eq. 5, pooled AUC.

    Args:
        measurements: Of a labelled test set.
        score_weight: lambda in [0, 1]; the published value of the task if None. Without a memory it is 1.

    Raises:
        DataError: If there are no labels, or only one class of frames.
        ConfigError: If lambda is out of range.
    """
    labels = measurements.labels
    if labels is None:
        raise DataError(
            "the measurements carry no labels, so there is nothing to evaluate against; score with --labels"
        )
    if labels.all() or not labels.any():
        raise DataError(
            f"all {len(labels)} scored frames are {'abnormal' if labels.any() else 'normal'}: no AUC exists"
        )
    weight = _score_weight(measurements, score_weight)
    scores = abnormality(measurements, weight)
    by_video = {
        name: _auc_or_none(labels[measurements.video == index], scores[measurements.video == index])
        for index, name in enumerate(measurements.videos)
    }
    defined = [value for value in by_video.values() if value is not None]
    return Evaluation(
        auc=pooled_auc(measurements, scores, np.ones_like(labels)),
        macro_auc=float(np.mean(defined)) if defined else None,
        auc_by_video=by_video,
        frames=len(scores),
        abnormal=int(labels.sum()),
        score_weight=weight,
        normalisation="per-video",
        updates=int(measurements.updated.sum()),
        protocol=measurements.protocol,
    )


def abnormality(measurements: Measurements, score_weight: float) -> NDArray[np.float64]:
    """Gives S = lambda (1 - g(P)) + (1 - lambda) g(D) of every scored frame (Eq. 5), g over each video's frames.

    Args:
        measurements: Raw measurements.
        score_weight: lambda in [0, 1]; at 1 the distance does not count.

    Returns:
        (N,), in [0, 1]; larger is more abnormal. Never NaN: a constant P or D carries no information, so its g is 0.

    Example:
        >>> import numpy as np
        >>> normalise(np.array([3.0, 1.0, 2.0])).tolist()
        [1.0, 0.0, 0.5]
    """
    scores = np.zeros(len(measurements))
    for index, name in enumerate(measurements.videos):
        chosen = measurements.video == index
        if not chosen.any():
            continue
        scores[chosen] = score_weight * (1 - normalise(measurements.psnr[chosen], f"PSNR of video {name}"))
        if score_weight < 1:
            distance = normalise(measurements.distance[chosen], f"distance D of video {name}")
            scores[chosen] += (1 - score_weight) * distance
    return scores


def normalise(values: NDArray[np.float64], what: str = "the values") -> NDArray[np.float64]:
    """Gives g(x) = (x - min) / (max - min); 0 with a warning where all values are equal.

    Raises:
        DataError: If a value is not finite.
    """
    if not np.isfinite(values).all():
        raise DataError(f"the {what} is not finite in {int((~np.isfinite(values)).sum())} frames; the model diverged")
    spread = values.max() - values.min()
    if spread == 0:
        warnings.warn(f"the {what} is constant and tells nothing: it counts as 0", stacklevel=2)
        return np.zeros_like(values)
    result: NDArray[np.float64] = (values - values.min()) / spread
    return result


def _score_weight(measurements: Measurements, given: float | None) -> float:
    if given is not None and not 0 <= given <= 1:
        raise ConfigError(f"lambda must lie between 0 and 1, got {given}")
    if not measurements.protocol["memory"]:
        return 1.0
    return RECIPES[measurements.protocol["task"]].score_weight if given is None else given


def pooled_auc(measurements: Measurements, scores: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float:
    """Gives the AUC of the chosen frames alone.

    Raises:
        DataError: If they are all normal or all abnormal, or there are no labels.
    """
    auc = None if measurements.labels is None else _auc_or_none(measurements.labels[chosen], scores[chosen])
    if auc is None:
        raise DataError("no AUC exists of frames that have no labels or only one kind of label")
    return auc


def _auc_or_none(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    if len(labels) == 0 or labels.all() or not labels.any():
        return None
    return float(roc_auc_score(labels, scores))
