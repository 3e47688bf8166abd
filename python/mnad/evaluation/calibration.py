"""Thresholds from normal video alone."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from mnad.evaluation.locality import WHOLE_FRAME, Locality
from mnad.evaluation.normalisation import Bounds, Scaling
from mnad.evaluation.scores import ScoreWeight, Scoring
from mnad.evaluation.smoothing import Smoothing
from mnad.measuring.options import UpdateScope
from mnad.runtime.errors import CheckpointError, ConfigError
from mnad.runtime.files import input_errors, only_known

LEVEL = 0.9
RESAMPLES = 1000
# What calibrations of earlier versions meant without saying so.
EARLIER: dict[str, Any] = {"locality": asdict(WHOLE_FRAME), "usual": None}


@dataclass(frozen=True)
class Threshold:
    """A threshold for a rate of false alarms.

    Attributes:
        false_alarms_per_hour: The rate that was asked for: frames above the threshold in an hour of normal video. An
            alarm holds at least one of them, so there are no more alarms than that.
        threshold: Above it a frame is an alarm; one of the calibration's own scores.
        exceeding: How many of the calibration's frames are above it.
        expected_per_hour: Bounds of the true rate, with a probability of 0.9, as if frames were independent. They are
            not, so the truth is wider.
        spread: Bounds of the threshold, with a probability of 0.9, from drawing the videos anew.
    """

    false_alarms_per_hour: float
    threshold: float
    exceeding: int
    expected_per_hour: tuple[float, float]
    spread: tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """How a model's scores are scaled and where they mean an alarm, learned from normal video alone.

    Attributes:
        score_weight: lambda; max if the larger part of the score counts.
        locality: Which part of the frame P is of.
        bounds: The lowest and highest P and D of the calibration's frames, which scale all scores.
        smoothing: Of the scores.
        fps: Frames of a second.
        thresholds: One for each rate that was asked for.
        frames: Frames that were measured.
        videos: Videos they are of.
        hold_out: The share of each training video's end that they are.
        usual: The identity of what was learned to be usual at each place; None if nothing counts in relation to it.
        trained_on: Whether the model was trained on these frames too, so that it knows them too well.
        update: The test-time update; it must be that of the measurements to which the thresholds are put.
        update_threshold: E_t below which a frame updates the items; None without update.
        data: Where the video came from.
        version: Of mnad.
    """

    score_weight: ScoreWeight
    locality: Locality
    bounds: Bounds
    smoothing: Smoothing
    fps: float
    thresholds: tuple[Threshold, ...]
    frames: int
    videos: int
    hold_out: float
    usual: str | None
    trained_on: bool
    update: UpdateScope
    update_threshold: float | None
    data: str
    version: str

    @property
    def scoring(self) -> Scoring:
        """What scores are made of."""
        return Scoring(self.score_weight, self.locality, self.smoothing)

    @property
    def scaling(self) -> Scaling:
        """The normalisation by the bounds of the calibration's frames."""
        return Scaling("calibrated", self.bounds)

    @property
    def identity(self) -> str:
        """What tells it from all others."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it as plain values."""
        return {**asdict(self), "bounds": self.bounds._asdict()}

    @staticmethod
    def from_dict(values: dict[str, Any], path: Path) -> Calibration:
        """Makes it of what :meth:`as_dict` gave, from JSON too.

        Args:
            values: What it gave.
            path: The checkpoint that it stood in.

        Raises:
            CheckpointError: If it is damaged or of another version.
        """
        with input_errors(path, "a checkpoint with a calibration", CheckpointError):
            only_known(values, Calibration, path, CheckpointError)
            values = {**EARLIER, **values}
            distance = values["bounds"]["distance"]
            bounds = Bounds(_pair(values["bounds"]["psnr"]), None if distance is None else _pair(distance))
            pairs = ("expected_per_hour", "spread")
            thresholds = tuple(
                Threshold(**{**each, **{name: _pair(each[name]) for name in pairs}}) for each in values["thresholds"]
            )
            made = {"locality": Locality(**values["locality"]), "smoothing": Smoothing(**values["smoothing"])}
            return Calibration(**{**values, **made, "bounds": bounds, "thresholds": thresholds})

    def threshold_for(self, false_alarms_per_hour: float | None) -> Threshold:
        """Returns the threshold of a rate; of the first one if None.

        Raises:
            ConfigError: If it was not calibrated for that rate.
        """
        found = {each.false_alarms_per_hour: each for each in self.thresholds}
        rate = self.thresholds[0].false_alarms_per_hour if false_alarms_per_hour is None else false_alarms_per_hour
        if rate not in found:
            raise ConfigError(
                f"the model is calibrated for {', '.join(f'{known:g}' for known in found)} false alarms an hour, not "
                f"for {rate:g}; calibrate it again with --false-alarms-per-hour"
            )
        return found[rate]


def check_rates(rates: Sequence[float], fps: float) -> None:
    """Makes sure that rates of false alarms can be had with so many frames a second.

    Raises:
        ConfigError: If a rate or fps is out of range.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise ConfigError(f"fps must be positive, got {fps}")
    for rate in rates:
        if not 0 < rate < 3600 * fps:
            raise ConfigError(
                f"false_alarms_per_hour must lie between 0 and the {3600 * fps:g} frames of an hour, got {rate:g}"
            )


def find_thresholds(
    scores: NDArray[np.float64], video: NDArray[np.int64], rates: Sequence[float], fps: float, seed: int = 0
) -> tuple[Threshold, ...]:
    """Finds the threshold of each rate among the scores of normal frames.

    The threshold is the largest score that at most the wanted share of the frames is above. For a rate that so few
    frames cannot show, that is the highest of all: then ``expected_per_hour`` says what is really known.

    Args:
        scores: (N,), of normal frames.
        video: (N,), the video of each.
        rates: False alarms per hour, each positive and less than the number of frames in an hour.
        fps: Frames of a second, positive.
        seed: Repeats the draws of the spread.

    Raises:
        ConfigError: If a rate or fps is out of range.

    Example:
        >>> found = find_thresholds(np.arange(100.0), np.zeros(100, np.int64), [3600, 18000], fps=50)
        >>> [(each.threshold, each.exceeding) for each in found]
        [(97.0, 2), (89.0, 10)]
    """
    check_rates(rates, fps)
    an_hour = 3600 * fps
    shares = [rate / an_hour for rate in rates]
    spreads = _spreads(scores, video, shares, seed)
    found = []
    for rate, share, spread in zip(rates, shares, spreads, strict=True):
        exceeding = _exceeding(len(scores), share)
        tails = beta.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], exceeding + 1, len(scores) - exceeding)
        low, high = (tails * an_hour).tolist()
        threshold = _quantile(scores, share)
        found.append(Threshold(rate, threshold, int((scores > threshold).sum()), (low, high), spread))
    return tuple(found)


def _exceeding(frames: int, share: float) -> int:
    return math.floor(frames * share * (1 + 1e-12))  # 100 x 0.29 is 28.999...


def _quantile(scores: NDArray[np.float64], share: float) -> float:
    place = len(scores) - 1 - _exceeding(len(scores), share)
    return float(np.partition(scores, place)[place])


def _spreads(
    scores: NDArray[np.float64], video: NDArray[np.int64], shares: Sequence[float], seed: int
) -> list[tuple[float, float]]:
    by_video = [scores[video == index] for index in np.unique(video)]
    generator = np.random.default_rng(seed)
    drawn = np.empty((RESAMPLES, len(shares)))
    for row in drawn:
        draw = np.concatenate([by_video[index] for index in generator.integers(len(by_video), size=len(by_video))])
        row[:] = [_quantile(draw, share) for share in shares]
    return [_pair(np.quantile(column, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])) for column in drawn.T]


def _pair(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)
