"""From scores and a threshold to events, the alarms that a person would get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.data.labels import Event
from mnad.runtime.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EventOptions:
    """What makes events of frames whose score is above the threshold.

    Attributes:
        hysteresis: How far below the threshold scores may fall before an event ends.
        merge_gap: Events with at most so many frames between them are one.
        min_length: Events of fewer frames are dropped.
    """

    hysteresis: float = 0
    merge_gap: int = 0
    min_length: int = 1

    def alarm_rule(self, threshold: float) -> AlarmRule:
        """Returns the rule of events for a threshold."""
        return AlarmRule(threshold, self.hysteresis, self.merge_gap, self.min_length)


@dataclass(frozen=True)
class AlarmRule:
    """When an alarm begins and ends.

    Attributes:
        threshold: An event begins with the first frame whose score is above it.
        hysteresis: It goes on while the scores are above the threshold less this.
        merge_gap: Events with at most so many frames between them are one.
        min_length: Events of fewer frames are dropped, once those close together are merged.

    Raises:
        ConfigError: If a value is out of range.
    """

    threshold: float
    hysteresis: float = 0
    merge_gap: int = 0
    min_length: int = 1

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not np.isfinite(self.threshold):
            raise ConfigError(f"threshold must be a finite number, got {self.threshold}")
        for name, least in {"hysteresis": 0, "merge_gap": 0, "min_length": 1}.items():
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Alarm:
    """An event that was found.

    Attributes:
        video: The video's name.
        first: Its first frame, counted from 0.
        last: Its last frame, included.
        peak: The frame of the highest score.
        score: That score.
        abnormal_frames: How many of its frames are labelled abnormal; None without labels.
    """

    video: str
    first: int
    last: int
    peak: int
    score: float
    abnormal_frames: int | None


def find_events(scores: NDArray[np.float64], rule: AlarmRule) -> list[Event]:
    """Finds the events in the scores of one video.

    Args:
        scores: (F,), of frames in a row; NaN for one that was left out, where no event goes on unless ``merge_gap``
            joins two.
        rule: When an event begins and ends.

    Returns:
        Events by the index of their first and last score, in order.

    Example:
        >>> scores = np.array([0.1, 0.9, 0.6, 0.1, 0.8, 0.1])
        >>> find_events(scores, AlarmRule(0.7, hysteresis=0.2))
        [Event(first=1, last=2), Event(first=4, last=4)]
    """
    above = scores > rule.threshold
    events: list[Event] = []
    for first, last in runs(scores > rule.threshold - rule.hysteresis):
        if not above[first : last + 1].any():
            continue
        begin = first + int(np.argmax(above[first : last + 1]))
        if events and begin - events[-1].last - 1 <= rule.merge_gap:
            begin = events.pop().first
        events.append(Event(begin, last))
    return [event for event in events if event.last - event.first + 1 >= rule.min_length]


def find_alarms(measurements: Measurements, scores: NDArray[np.float64], rule: AlarmRule) -> tuple[Alarm, ...]:
    """Finds the events of all videos.

    Args:
        measurements: Whose frames they are.
        scores: (N,), their scores.
        rule: When an event begins and ends.
    """
    alarms = []
    for index, name in enumerate(measurements.videos):
        rows = np.flatnonzero(measurements.video == index)
        frames = measurements.frame[rows]
        every = np.full(frames.max(initial=-1) + 1, np.nan)
        every[frames] = scores[rows]
        for first, last in find_events(every, rule):
            span = rows[(frames >= first) & (frames <= last)]
            peak = span[np.argmax(scores[span])]
            alarms.append(
                Alarm(
                    video=name,
                    first=first,
                    last=last,
                    peak=int(measurements.frame[peak]),
                    score=float(scores[peak]),
                    abnormal_frames=None if measurements.labels is None else int(measurements.labels[span].sum()),
                )
            )
    return tuple(alarms)


def runs(marked: NDArray[np.bool_]) -> list[Event]:
    """Returns the runs of True, first and last index of each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return [Event(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]
