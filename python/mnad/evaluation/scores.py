"""From measurements to abnormality scores, Eq. 5 of the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.evaluation.locality import WHOLE_FRAME, Locality, localised, locality_of
from mnad.evaluation.normalisation import PER_VIDEO, Normalisation, Parts, Scaling, parts_of
from mnad.evaluation.smoothing import NO_SMOOTHING, Smoothing, SmoothingName, smooth
from mnad.models.presets import RECIPES
from mnad.runtime.errors import ConfigError

WeightSource = Literal["given", "published", "no memory", "calibration"]
Protocol = Literal["published", "deployed", "own"]
PROTOCOL_WORDS = {"published": "published protocol", "deployed": "deployed", "own": "by own choices"}
# lambda, or the larger of the two parts.
ScoreWeight = float | Literal["max"]


@dataclass(frozen=True, kw_only=True)
class ScoreWeightOption:
    """lambda, the share of PSNR in the score.

    Attributes:
        score_weight: Share of PSNR in the score, from 0 to 1, or max for the larger of its two parts, that of PSNR and
            that of the distance; the published value of the task if left out.
    """

    score_weight: float | Literal["max"] | None = None


class Scoring(NamedTuple):
    """What a score is made of, but for its scale.

    Attributes:
        score_weight: lambda, or max for the larger part; the published value of the task if None.
        locality: Which part of the frame P is of.
        smoothing: Of the score, over time.
    """

    score_weight: ScoreWeight | None = None
    locality: Locality = WHOLE_FRAME
    smoothing: Smoothing = NO_SMOOTHING


# Chosen with the labels of some sets in view, see docs/protocol.md. Without a memory lambda is 1.
CAMERA = Scoring(0.8, Locality("box-7"), Smoothing("causal", 3))


@dataclass(frozen=True)
class Choices:
    """What was chosen on the way from measurements to scores.

    Attributes:
        score_weight: lambda, the share of PSNR in the score; max if its larger part counts.
        score_weight_source: Where lambda comes from: given, published for the task, 1 as there is no memory, or the
            checkpoint's calibration.
        locality: Which part of the frame P is of.
        normalisation: How P and D are brought to one scale.
        smoothing: How the scores are smoothed.
        smoothing_width: By how many frames; None without smoothing.
        published_update: Whether the items were updated as published, or there are none.
    """

    score_weight: ScoreWeight
    score_weight_source: WeightSource
    locality: Locality
    normalisation: Normalisation
    smoothing: SmoothingName
    smoothing_width: int | None
    published_update: bool

    @property
    def protocol(self) -> Protocol:
        """``published``; ``deployed``, by a calibration that does not look ahead, as a camera has it; or ``own``."""
        if self.score_weight_source == "calibration":
            return "own" if Smoothing(self.smoothing).looks_ahead else "deployed"
        source = self.score_weight_source in ("published", "no memory")
        as_published = (self.locality, self.normalisation, self.smoothing) == (WHOLE_FRAME, "per-video", "none")
        return "published" if source and as_published and self.published_update else "own"

    @staticmethod
    def of(
        measurements: Measurements,
        score_weight: ScoreWeight | None,
        scaling: Scaling,
        smoothing: Smoothing,
        *,
        calibrated: bool = False,
    ) -> Choices:
        """Settles what was left open.

        Raises:
            ConfigError: If lambda does not fit.
        """
        source: WeightSource = "given" if score_weight is not None else "published"
        if not measurements.protocol["memory"]:
            source = "no memory"
        return Choices(
            score_weight=settle_weight(measurements, score_weight),
            score_weight_source="calibration" if calibrated else source,
            locality=locality_of(measurements),
            normalisation=scaling.name,
            smoothing=smoothing.name,
            smoothing_width=None if smoothing.name == "none" else smoothing.width,
            published_update=_is_published_update(measurements.protocol),
        )


def _is_published_update(protocol: dict[str, Any]) -> bool:
    if not protocol["memory"]:
        return True
    published = ("carried-over", RECIPES[protocol["task"]].update_threshold)
    return (protocol["update"], protocol["update_threshold"]) == published


def parts_in_words(score_weight: ScoreWeight, locality: Locality, source: str = "") -> str:
    """Returns what a score is made of, for people.

    Args:
        score_weight: lambda, or max.
        locality: Which part of the frame P is of.
        source: Where lambda comes from.

    Example:
        >>> parts_in_words(0.6, Locality(), "published")
        'lambda 0.6 (published)'
        >>> parts_in_words("max", Locality("box-5", relative=True))
        'the larger of P and D, P of box-5 in relation to its place'
    """
    known = f" ({source})" if source else ""
    weight = "the larger of P and D" if isinstance(score_weight, str) else f"lambda {score_weight:g}"
    part = "" if locality.pooling == "mean" else f", P of {locality.pooling}"
    return f"{weight}{known}{part}{' in relation to its place' if locality.relative else ''}"


def check_weight(given: ScoreWeight | None) -> None:
    """Makes sure that lambda is in its range.

    Raises:
        ConfigError: If it is not.
    """
    if given is None or given == "max":
        return
    if isinstance(given, str) or not 0 <= given <= 1:
        raise ConfigError(f"lambda must lie between 0 and 1, or be max, got {given}")


def settle_weight(measurements: Measurements, given: ScoreWeight | None) -> ScoreWeight:
    """Returns lambda: as given, or the published value of the task; 1 where there is no distance.

    Raises:
        ConfigError: If it is out of range, or not 1 where there is no distance.
    """
    check_weight(given)
    if not measurements.protocol["memory"]:
        if given not in (None, 1, "max"):
            raise ConfigError(
                f"lambda must be 1 for a model without memory, got {given}: it measures no distance; leave it out"
            )
        return 1.0
    return RECIPES[measurements.protocol["task"]].score_weight if given is None else given


def abnormality(
    measurements: Measurements,
    score_weight: ScoreWeight | None = None,
    scaling: Scaling = PER_VIDEO,
    smoothing: Smoothing = NO_SMOOTHING,
) -> NDArray[np.float64]:
    """Returns S = lambda (1 - g(P)) + (1 - lambda) g(D) of every scored frame, smoothed if asked for.

    Args:
        measurements: Raw measurements, or those of a part of each frame, see
            :func:`mnad.evaluation.locality.localised`.
        score_weight: lambda in [0, 1]; the published value of the task if None. At 1 the distance does not count. max
            stands for S = max(1 - g(P), g(D)).
        scaling: Whose lowest and highest value make g.
        smoothing: Of S, over time.

    Returns:
        (N,), larger is more abnormal; in [0, 1] unless the bounds of other frames scale it. Never NaN.

    Raises:
        ConfigError: If lambda does not fit.
        DataError: If a measurement is not finite.
    """
    weight = settle_weight(measurements, score_weight)
    parts = parts_of(measurements, scaling, with_distance=weight != 1)
    return smooth(combine(parts, weight), measurements.stretch, smoothing)


def scores_by(measurements: Measurements, scoring: Scoring, scaling: Scaling) -> NDArray[np.float64]:
    """Returns the score of each frame, (N,), see :func:`abnormality`.

    Args:
        measurements: Raw measurements.
        scoring: What the score is made of.
        scaling: Its scale.

    Raises:
        ConfigError, DataError: As :func:`abnormality` and :func:`mnad.evaluation.locality.localised`.
    """
    scored = localised(measurements, scoring.locality)
    return abnormality(scored, scoring.score_weight, scaling, scoring.smoothing)


def combine(parts: Parts, score_weight: NDArray[np.float64] | ScoreWeight) -> NDArray[np.float64]:
    """Makes one score of its two parts; a column of weights (W, 1) gives a row of scores (W, N) for each.

    Example:
        >>> parts = Parts(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
        >>> combine(parts, 0.75).tolist(), combine(parts, "max").tolist()
        ([0.875, 0.125], [1.0, 0.5])
    """
    if isinstance(score_weight, str):
        return parts.psnr if parts.distance is None else np.maximum(parts.psnr, parts.distance)
    scores: NDArray[np.float64] = score_weight * parts.psnr
    return scores if parts.distance is None else scores + (1 - score_weight) * parts.distance
