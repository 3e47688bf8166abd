"""The moments of a test set that a person should look at first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.report.judgement import Judgement

MOST, APART = 6, 12


@dataclass(frozen=True)
class Group:
    """Moments of one kind: what they are called, what they are, and their rows in the measurements, worst first."""

    title: str
    words: str
    rows: tuple[int, ...]


def choose_moments(judgement: Judgement) -> tuple[Group, ...]:
    """Returns the worst false alarms and the worst misses; without labels the highest scores.

    Frames closer together than a dozen show the same, so only the worst of them counts.
    """
    measurements, scores = judgement.measurements, judgement.scores
    labels = measurements.labels
    if labels is None:
        rows = spread_out(scores, np.ones(len(scores), bool), measurements)
        return (Group("The highest scores", "Moments that the model finds strangest.", rows),)
    false_alarms = spread_out(scores, ~labels & (scores > judgement.threshold), measurements)
    misses = spread_out(-scores, labels & (scores <= judgement.threshold), measurements)
    return (
        Group("The worst false alarms", "Labelled normal, and yet the highest scores.", false_alarms),
        Group("The worst misses", "Labelled abnormal, and yet the lowest scores.", misses),
    )


def spread_out(priority: NDArray[np.float64], chosen: NDArray[np.bool_], measurements: Measurements) -> tuple[int, ...]:
    """Returns up to six chosen frames by descending priority, no two of them within a dozen frames of a video."""
    picked: list[int] = []
    candidates = np.flatnonzero(chosen)
    for row in candidates[np.argsort(-priority[candidates], kind="stable")].tolist():
        near = [
            other
            for other in picked
            if measurements.video[other] == measurements.video[row]
            and abs(measurements.frame[other] - measurements.frame[row]) < APART
        ]
        if not near:
            picked.append(row)
        if len(picked) == MOST:
            break
    return tuple(picked)


def first_to_show(judgement: Judgement) -> int:
    """Returns the frame that the report opens with: the highest score, among the right alarms if there are any."""
    scores, labels = judgement.scores, judgement.measurements.labels
    if labels is not None and labels.any():
        scores = np.where(labels, scores, -np.inf)
    return int(np.argmax(scores))
