"""From measurements to abnormality scores, Eq. 5 of the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.evaluation.normalisation import PER_VIDEO, Normalisation, Parts, Scaling, parts_of
from mnad.evaluation.smoothing import NO_SMOOTHING, Smoothing, SmoothingName, smooth
from mnad.models.presets import RECIPES
from mnad.runtime.errors import ConfigError

WeightSource = Literal["given", "published", "no memory", "calibration"]


@dataclass(frozen=True, kw_only=True)
class ScoreWeightOption:
    """lambda, the share of PSNR in the score.

    Attributes:
        score_weight: Share of PSNR in the score, from 0 to 1; the published value of the task if left out.
    """

    score_weight: float | None = None


@dataclass(frozen=True)
class Choices:
    """What was chosen on the way from measurements to scores.

    Attributes:
        score_weight: lambda, the share of PSNR in the score.
        score_weight_source: Where lambda comes from: given, published for the task, 1 as there is no memory, or the
            checkpoint's calibration.
        normalisation: How P and D are brought to one scale.
        smoothing: How the scores are smoothed.
        smoothing_width: By how many frames; None without smoothing.
    """

    score_weight: float
    score_weight_source: WeightSource
    normalisation: Normalisation
    smoothing: SmoothingName
    smoothing_width: int | None

    @staticmethod
    def of(measurements: Measurements, score_weight: float | None, scaling: Scaling, smoothing: Smoothing) -> Choices:
        """Settles what was left open.

        Raises:
            ConfigError: If lambda does not fit.
        """
        source: WeightSource = "given" if score_weight is not None else "published"
        if not measurements.protocol["memory"]:
            source = "no memory"
        return Choices(
            score_weight=settle_weight(measurements, score_weight),
            score_weight_source=source,
            normalisation=scaling.name,
            smoothing=smoothing.name,
            smoothing_width=None if smoothing.name == "none" else smoothing.width,
        )


def settle_weight(measurements: Measurements, given: float | None) -> float:
    """Returns lambda: as given, or the published value of the task; 1 without a memory.

    Raises:
        ConfigError: If it is out of range, or less than 1 for a model without memory.
    """
    if given is not None and not 0 <= given <= 1:
        raise ConfigError(f"lambda must lie between 0 and 1, got {given}")
    if not measurements.protocol["memory"]:
        if given is not None and given < 1:
            raise ConfigError(
                f"lambda must be 1 for a model without memory, got {given:g}: it measures no distance; leave it out"
            )
        return 1.0
    return RECIPES[measurements.protocol["task"]].score_weight if given is None else given


def abnormality(
    measurements: Measurements,
    score_weight: float | None = None,
    scaling: Scaling = PER_VIDEO,
    smoothing: Smoothing = NO_SMOOTHING,
) -> NDArray[np.float64]:
    """Returns S = lambda (1 - g(P)) + (1 - lambda) g(D) of every scored frame, smoothed if asked for.

    Args:
        measurements: Raw measurements.
        score_weight: lambda in [0, 1]; the published value of the task if None. At 1 the distance does not count.
        scaling: Whose lowest and highest value make g.
        smoothing: Of S, over time.

    Returns:
        (N,), larger is more abnormal; in [0, 1] unless the bounds of other frames scale it. Never NaN.

    Raises:
        ConfigError: If lambda does not fit.
        DataError: If a measurement is not finite.
    """
    weight = settle_weight(measurements, score_weight)
    parts = parts_of(measurements, scaling, with_distance=weight < 1)
    return smooth(combine(parts, np.float64(weight)), measurements.stretch, smoothing)


def combine(parts: Parts, score_weight: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """Adds up the two parts of the score; a column of weights (W, 1) gives a row of scores (W, N) for each.

    Example:
        >>> combine(Parts(np.array([1.0, 0.0]), np.array([0.5, 0.5])), np.float64(0.8)).tolist()
        [0.9, 0.09999999999999998]
    """
    scores = score_weight * parts.psnr
    return scores if parts.distance is None else scores + (1 - score_weight) * parts.distance
