"""What a threshold finds and how often it is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.evaluation.events import Alarm, AlarmRule, find_alarms, runs
from mnad.runtime.errors import ConfigError


@dataclass(frozen=True)
class DetectionMetrics:
    """Metrics of the alarms against the labels; one whose denominator is 0 is None.

    Attributes:
        precision: Of the frames within alarms, the share that is abnormal.
        recall: Of the abnormal frames, the share within alarms.
        f1: Their harmonic mean.
        events: Labelled events: abnormal frames in a row.
        events_found: Those that an alarm touches.
        false_alarms: Alarms without any abnormal frame.
        false_alarm_frames: Normal frames within alarms.
        normal_frames: All of them.
        false_alarms_per_hour: False alarms in an hour of normal video; None where the frame rate is not known.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    events: int
    events_found: int
    false_alarms: int
    false_alarm_frames: int
    normal_frames: int
    false_alarms_per_hour: float | None


@dataclass(frozen=True)
class Detection:
    """Alarms, the rule that raised them, and how good they are.

    Attributes:
        rule: When an alarm begins and ends.
        calibrated_for: The false alarms per hour that the threshold was calibrated for; None if it was given.
        fps: Frames of a second; None where nothing says so.
        alarms: All events that were found.
        metrics: Against the labels; None without labels.
    """

    rule: AlarmRule
    calibrated_for: float | None
    fps: float | None
    alarms: tuple[Alarm, ...]
    metrics: DetectionMetrics | None


def detect(
    measurements: Measurements,
    scores: NDArray[np.float64],
    rule: AlarmRule,
    fps: float | None,
    calibrated_for: float | None = None,
) -> Detection:
    """Raises alarms and compares them with the labels, if there are any.

    Args:
        measurements: Whose frames they are.
        scores: (N,), their scores.
        rule: When an alarm begins and ends.
        fps: Frames of a second, positive; None if not known.
        calibrated_for: What the threshold was calibrated for.

    Raises:
        ConfigError: If fps is not positive.
    """
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise ConfigError(f"fps must be positive, got {fps}")
    alarms = find_alarms(measurements, scores, rule)
    metrics = None if measurements.labels is None else _compare(measurements, measurements.labels, alarms, fps)
    return Detection(rule, calibrated_for, fps, alarms, metrics)


def frames_within(measurements: Measurements, alarms: tuple[Alarm, ...]) -> NDArray[np.bool_]:
    """Returns for each frame whether it lies within an alarm, (N,)."""
    within = np.zeros(len(measurements), np.bool_)
    index = {name: number for number, name in enumerate(measurements.videos)}
    for alarm in alarms:
        after = measurements.frame >= alarm.first
        within |= (measurements.video == index[alarm.video]) & after & (measurements.frame <= alarm.last)
    return within


def _compare(
    measurements: Measurements, labels: NDArray[np.bool_], alarms: tuple[Alarm, ...], fps: float | None
) -> DetectionMetrics:
    within = frames_within(measurements, alarms)
    found = int((within & labels).sum())
    precision, recall = _share(found, int(within.sum())), _share(found, int(labels.sum()))
    rows = [np.flatnonzero(measurements.video == index) for index in range(len(measurements.videos))]
    events = [frames[first : last + 1] for frames in rows for first, last in runs(labels[frames])]
    false_alarms = sum(alarm.abnormal_frames == 0 for alarm in alarms)
    normal = int((~labels).sum())
    return DetectionMetrics(
        precision=precision,
        recall=recall,
        f1=_share(2 * found, int(within.sum()) + int(labels.sum())),
        events=len(events),
        events_found=sum(bool(within[event].any()) for event in events),
        false_alarms=false_alarms,
        false_alarm_frames=int((within & ~labels).sum()),
        normal_frames=normal,
        false_alarms_per_hour=3600 * fps * false_alarms / normal if fps and normal else None,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
