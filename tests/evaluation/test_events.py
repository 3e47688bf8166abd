"""Events against a literal machine that sees one frame at a time, and their metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnad.evaluation import AlarmRule, detect, find_events
from mnad.runtime.errors import ConfigError
from sklearn.metrics import precision_recall_fscore_support

from tests.evaluation.samples import measurements


def literal_events(scores: list[float], rule: AlarmRule) -> list[tuple[int, int]]:
    raised, began = False, 0
    segments = []
    for frame, score in enumerate([*scores, -np.inf]):
        if not raised and score > rule.threshold:
            raised, began = True, frame
        elif raised and not score > rule.threshold - rule.hysteresis:
            raised = False
            segments.append([began, frame - 1])
    merged: list[list[int]] = []
    for segment in segments:
        if merged and segment[0] - merged[-1][1] - 1 <= rule.merge_gap:
            merged[-1][1] = segment[1]
        else:
            merged.append(segment)
    return [(first, last) for first, last in merged if last - first + 1 >= rule.min_length]


@given(
    st.lists(st.integers(0, 10), max_size=60),
    st.integers(0, 10),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(1, 6),
)
def test_events_against_a_literal_machine(
    scores: list[int], threshold: int, hysteresis: int, merge_gap: int, min_length: int
) -> None:
    rule = AlarmRule(threshold, hysteresis, merge_gap, min_length)
    found = find_events(np.array(scores, np.float64), rule)
    assert [tuple(event) for event in found] == literal_events([float(score) for score in scores], rule)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=60), st.integers(1, 10), st.integers(0, 5), st.integers(0, 59))
def test_an_alarm_begins_without_looking_ahead(scores: list[int], threshold: int, hysteresis: int, cut: int) -> None:
    rule = AlarmRule(threshold, hysteresis)
    whole = find_events(np.array(scores, np.float64), rule)
    past = find_events(np.array(scores[: cut + 1], np.float64), rule)
    assert [event.first for event in past] == [event.first for event in whole if event.first <= cut]


def test_metrics_of_alarms() -> None:
    m = measurements((10, 10))
    labels = np.zeros(20, bool)
    labels[[2, 3, 4, 7, 15]] = True
    scores = np.zeros(20)
    scores[[3, 4, 5, 10, 11, 12]] = [0.8, 0.9, 0.7, 0.6, 0.9, 0.9]
    detection = detect(replace(m, labels=labels), scores, AlarmRule(0.5), fps=10)
    assert [(a.video, a.first, a.last, a.peak, a.abnormal_frames) for a in detection.alarms] == [
        ("01", 7, 9, 8, 2),  # frames count from 4 here
        ("02", 4, 6, 5, 0),
    ]
    metrics = detection.metrics
    assert metrics is not None
    precision, recall, f1, _ = precision_recall_fscore_support(labels, scores > 0.5, average="binary")
    assert (metrics.precision, metrics.recall, metrics.f1) == pytest.approx((precision, recall, f1))
    assert (metrics.events, metrics.events_found, metrics.false_alarms, metrics.false_alarm_frames) == (3, 1, 1, 4)
    assert metrics.normal_frames == 15
    assert metrics.false_alarms_per_hour == pytest.approx(36000 / 15)


def test_an_event_ends_with_its_video() -> None:
    m = measurements((5, 5))
    detection = detect(m, np.ones(10), AlarmRule(0.5, merge_gap=3), fps=10)
    assert [(alarm.video, alarm.first, alarm.last) for alarm in detection.alarms] == [("01", 4, 8), ("02", 4, 8)]


def test_no_event_goes_over_frames_that_were_left_out() -> None:
    m = measurements((10,))
    kept = np.delete(np.arange(10), [4, 5])  # frames 8 and 9
    m = replace(m, **{name: getattr(m, name)[kept] for name in ("video", "frame", "labels", "mse")})
    scores = np.array([0, 1, 1, 2, 3, 1, 0, 0], np.float64)

    def found(rule: AlarmRule) -> list[tuple[int, int, int]]:
        return [(alarm.first, alarm.last, alarm.peak) for alarm in detect(m, scores, rule, fps=10).alarms]

    assert found(AlarmRule(0.5)) == [(5, 7, 7), (10, 11, 10)]
    assert found(AlarmRule(0.5, merge_gap=1)) == [(5, 7, 7), (10, 11, 10)]
    assert found(AlarmRule(0.5, merge_gap=2)) == [(5, 11, 10)]
    assert found(AlarmRule(0.5, min_length=3)) == [(5, 7, 7)]


def test_figures_that_do_not_exist() -> None:
    m = measurements((10,))
    silent = detect(replace(m, labels=np.ones(10, bool)), np.zeros(10), AlarmRule(0.5), fps=10).metrics
    assert silent is not None
    assert (silent.precision, silent.recall, silent.f1, silent.false_alarms_per_hour) == (None, 0, 0, None)
    calm = detect(replace(m, labels=np.zeros(10, bool)), np.zeros(10), AlarmRule(0.5), fps=10).metrics
    assert calm is not None
    assert (calm.recall, calm.f1, calm.false_alarms_per_hour) == (None, None, 0)
    unlabelled = detect(replace(m, labels=None), np.ones(10), AlarmRule(0.5), fps=10)
    assert unlabelled.metrics is None
    assert unlabelled.alarms[0].abnormal_frames is None


def test_bad_rules() -> None:
    for options, message in [
        ({"threshold": float("nan")}, "threshold must be a finite number"),
        ({"threshold": 1, "hysteresis": -1}, "hysteresis must be at least 0, got -1"),
        ({"threshold": 1, "hysteresis": float("nan")}, "hysteresis must be at least 0, got nan"),
        ({"threshold": 1, "merge_gap": -1}, "merge_gap must be at least 0, got -1"),
        ({"threshold": 1, "min_length": 0}, "min_length must be at least 1, got 0"),
    ]:
        with pytest.raises(ConfigError, match=message):
            AlarmRule(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="fps must be positive, got 0"):
        detect(measurements(), np.zeros(60), AlarmRule(1), fps=0)
