"""What a report says of scored frames: scores, a threshold, alarms, and how right they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from mnad.measurements import Measurements
from mnad.metrics import Evaluation, abnormality, evaluate
from mnad.models.presets import RECIPES

QUANTILE = 0.95
Run = tuple[int, int]


@dataclass(frozen=True)
class VideoJudgement:
    """One video of a :class:`Judgement`; runs are (first, last) rows of its scored frames, from 0, both included.

    Attributes:
        rows: Where its frames are in the measurements.
        alarms: Runs of frames whose score reaches the threshold.
        labelled: Runs of frames that are labelled abnormal; none without labels.
        auc: Its own AUC; None where all its frames have one label, or no labels.
    """

    rows: NDArray[np.int64]
    alarms: tuple[Run, ...]
    labelled: tuple[Run, ...]
    auc: float | None

    @property
    def caught(self) -> int:
        """How many labelled runs hold a frame with an alarm."""
        return sum(any(_overlap(run, alarm) for alarm in self.alarms) for run in self.labelled)

    @property
    def false_alarms(self) -> int:
        """How many alarms hold no frame that is labelled abnormal."""
        return sum(not any(_overlap(alarm, run) for run in self.labelled) for alarm in self.alarms)


@dataclass(frozen=True)
class Quality:
    """How well scores tell abnormal frames from normal ones.

    Attributes:
        evaluation: The figures of ``mnad evaluate``.
        average_precision: Area under the precision-recall curve.
        roc: Rates of false and of true alarms, two arrays from 0 to 1.
        precision: Recall, ascending, and precision.
        at_threshold: False alarm rate, recall and precision of the report's threshold.
    """

    evaluation: Evaluation
    average_precision: float
    roc: tuple[NDArray[np.float64], NDArray[np.float64]]
    precision: tuple[NDArray[np.float64], NDArray[np.float64]]
    at_threshold: tuple[float, float, float]


@dataclass(frozen=True)
class Judgement:
    """All that a report says of the scores.

    Attributes:
        scores: (N,) abnormality of each frame, from 0 to 1.
        score_weight: lambda.
        threshold: The score from which on a frame raises an alarm.
        threshold_rule: How it was chosen.
        videos: Each video's part.
        quality: None without labels of both kinds.
    """

    scores: NDArray[np.float64]
    score_weight: float
    threshold: float
    threshold_rule: str
    videos: tuple[VideoJudgement, ...]
    quality: Quality | None


def runs_of(flags: NDArray[np.bool_]) -> tuple[Run, ...]:
    """Gives the runs of True as (first, last), both included.

    Example:
        >>> import numpy as np
        >>> runs_of(np.array([True, True, False, True]))
        ((0, 1), (3, 3))
    """
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    firsts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return tuple((int(first), int(end) - 1) for first, end in zip(firsts, ends, strict=True))


def judge(measurements: Measurements) -> Judgement:
    """Makes scores, threshold and alarms of measurements."""
    weight = RECIPES[measurements.protocol["task"]].score_weight if measurements.protocol["memory"] else 1.0
    scores = abnormality(measurements, weight)
    labels = measurements.labels
    both = labels is not None and bool(labels.any()) and not labels.all()
    threshold, rule = _threshold(scores, labels if both else None)
    evaluation = evaluate(measurements, weight) if both else None
    videos = []
    for index, name in enumerate(measurements.videos):
        rows = np.flatnonzero(measurements.video == index)
        videos.append(
            VideoJudgement(
                rows=rows,
                alarms=runs_of(scores[rows] >= threshold),
                labelled=() if labels is None else runs_of(labels[rows]),
                auc=evaluation.auc_by_video[name] if evaluation else None,
            )
        )
    quality = None
    if evaluation is not None and labels is not None:
        quality = _quality(evaluation, scores, labels, threshold)
    return Judgement(scores, weight, threshold, rule, tuple(videos), quality)


def _threshold(scores: NDArray[np.float64], labels: NDArray[np.bool_] | None) -> tuple[float, str]:
    if labels is None:
        return float(np.quantile(scores, QUANTILE)), f"the {QUANTILE:.0%} quantile of the scores of these very frames"
    false_rate, true_rate, thresholds = roc_curve(labels, scores)
    best = int(np.argmin(np.abs(false_rate - (1 - true_rate))))
    return float(thresholds[best]), "equal error rate, chosen on the test labels: optimistic"


def _quality(
    evaluation: Evaluation, scores: NDArray[np.float64], labels: NDArray[np.bool_], threshold: float
) -> Quality:
    false_rate, true_rate, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    alarm = scores >= threshold
    return Quality(
        evaluation=evaluation,
        average_precision=float(average_precision_score(labels, scores)),
        roc=(false_rate, true_rate),
        precision=(recall[::-1], precision[::-1]),
        at_threshold=(
            float(alarm[~labels].mean()),
            float(alarm[labels].mean()),
            float(labels[alarm].mean()) if alarm.any() else 0.0,
        ),
    )


def _overlap(one: Run, other: Run) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
