"""What a report says of scored frames: scores, a threshold, alarms, and how right they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from mnad.artifacts.measurements import Measurements
from mnad.data.labels import Event
from mnad.evaluation import AlarmRule, Detection, Evaluation, detect
from mnad.evaluation.confidence import bootstrap
from mnad.evaluation.events import runs
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.outcome import Outcome

QUANTILE = 0.95
RESAMPLES = 1000
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class VideoJudgement:
    """One video of a :class:`Judgement`; events are by the rows of its scored frames, from 0.

    Attributes:
        rows: Where its frames are in the measurements.
        alarms: The alarms.
        labelled: Frames in a row that are labelled abnormal; none without labels.
        auc: Its own AUC; None where all its frames have one label, or no labels.
    """

    rows: NDArray[np.int64]
    alarms: tuple[Event, ...]
    labelled: tuple[Event, ...]
    auc: float | None

    @property
    def caught(self) -> int:
        """How many labelled events an alarm touches."""
        return sum(any(_overlap(event, alarm) for alarm in self.alarms) for event in self.labelled)

    @property
    def false_alarms(self) -> int:
        """How many alarms touch no labelled event."""
        return sum(not any(_overlap(alarm, event) for event in self.labelled) for alarm in self.alarms)


@dataclass(frozen=True)
class Judgement:
    """All that a report says of the scores.

    Attributes:
        outcome: What ``mnad evaluate`` says.
        detection: The alarms.
        threshold_rule: How their threshold was chosen.
        videos: Each video's part.
    """

    outcome: Outcome
    detection: Detection
    threshold_rule: str
    videos: tuple[VideoJudgement, ...]

    @property
    def measurements(self) -> Measurements:
        """The measurements, with the labels that were used."""
        return self.outcome.measurements

    @property
    def scores(self) -> NDArray[np.float64]:
        """(N,), the score of each frame."""
        return self.outcome.scores

    @property
    def evaluation(self) -> Evaluation | None:
        """Metrics against labels of both kinds."""
        return self.outcome.evaluation

    @property
    def threshold(self) -> float:
        """The score above which a frame raises an alarm."""
        return self.detection.rule.threshold

    @property
    def span(self) -> tuple[float, float]:
        """The scores' scale: from 0 to 1, wider where scores or the threshold are beyond."""
        return min(0.0, float(self.scores.min()), self.threshold), max(1.0, float(self.scores.max()), self.threshold)

    def roc(self) -> Curve:
        """Shares of the normal and of the abnormal frames above each threshold, ascending."""
        false_alarms, found, _ = roc_curve(self.measurements.labels, self.scores)
        return false_alarms, found

    def precision_recall(self) -> Curve:
        """Recall, ascending, and the precision there."""
        precision, recall, _ = precision_recall_curve(self.measurements.labels, self.scores)
        return recall[::-1], precision[::-1]

    def frames_above(self) -> tuple[float, float, float]:
        """Of the frames above the threshold: false alarm rate, recall, precision."""
        labels = self.measurements.labels
        assert labels is not None
        above = self.scores > self.threshold
        precision = float(labels[above].mean()) if above.any() else 1.0
        return float(above[~labels].mean()), float(above[labels].mean()), precision


def judge(config: EvaluateConfig, resamples: int = RESAMPLES) -> Judgement:
    """Evaluates measurements, with a threshold in any case.

    Args:
        config: How; where it names no threshold, that of the equal error rate is taken, or a quantile of the scores
            where there are not labels of both kinds.
        resamples: How often to draw the videos anew for confidence intervals; 0 for none.

    Raises:
        DataError, ConfigError, CheckpointError: As :func:`mnad.pipeline.evaluate.evaluate_run` does.
    """
    # By some threshold alarms can be had of frames without labels of both kinds, too.
    outcome = evaluate_run(replace(config, threshold=0.0 if config.threshold is None else config.threshold))
    if outcome.evaluation is not None and resamples:
        interval = bootstrap(outcome.measurements, outcome.scores, resamples, config.seed)
        outcome = replace(outcome, interval=interval)
    detection, rule = _detection(config, outcome)
    return Judgement(outcome, detection, rule, _by_video(outcome, detection))


def _detection(config: EvaluateConfig, outcome: Outcome) -> tuple[Detection, str]:
    if config.threshold is not None and outcome.detection is not None:
        rate = outcome.detection.calibrated_for
        calibrated = f"calibrated on normal video for {rate:g} false alarms an hour" if rate is not None else "given"
        return outcome.detection, calibrated
    if outcome.evaluation is not None:
        # Frames at the threshold count there, and alarms begin above theirs.
        threshold = float(np.nextafter(outcome.evaluation.eer_threshold, -np.inf))
        rule = "equal error rate, chosen on the test labels"
    else:
        threshold = float(np.quantile(outcome.scores, QUANTILE))
        rule = f"exceeded by {1 - QUANTILE:.0%} of these very frames, as there are no labels of both kinds"
    return detect(outcome.measurements, outcome.scores, AlarmRule(threshold), fps=None), rule


def _by_video(outcome: Outcome, detection: Detection) -> tuple[VideoJudgement, ...]:
    measurements, labels = outcome.measurements, outcome.measurements.labels
    videos = []
    for index, name in enumerate(measurements.videos):
        rows = np.flatnonzero(measurements.video == index)
        frames = measurements.frame[rows]
        alarms = [alarm for alarm in detection.alarms if alarm.video == name]
        videos.append(
            VideoJudgement(
                rows=rows,
                alarms=tuple(Event(*np.searchsorted(frames, [alarm.first, alarm.last]).tolist()) for alarm in alarms),
                labelled=() if labels is None else tuple(runs(labels[rows])),
                auc=outcome.evaluation.auc_by_video[name] if outcome.evaluation else None,
            )
        )
    return tuple(videos)


def _overlap(one: Event, other: Event) -> bool:
    return one.first <= other.last and other.first <= one.last
