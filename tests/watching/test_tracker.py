"""Events that are decided online are those of ``mnad evaluate``."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from mnad.evaluation.events import AlarmRule, find_events
from mnad.watching.tracker import Change, EventTracker

SCORES = st.lists(st.sampled_from([0.1, 0.4, 0.55, 0.6, 0.7, 0.9, float("nan")]), max_size=60)
RULES = st.builds(
    AlarmRule,
    threshold=st.sampled_from([0.5, 0.6]),
    hysteresis=st.sampled_from([0.0, 0.1, 0.3]),
    merge_gap=st.integers(0, 4),
    min_length=st.integers(1, 5),
)


@given(SCORES, RULES, st.sets(st.integers(0, 60)))
def test_online_events_are_the_offline_ones(scores: list[float], rule: AlarmRule, restarts: set[int]) -> None:
    tracker, changes = EventTracker(rule), list[Change]()
    for index, score in enumerate(scores):
        if index in restarts:
            state, tracker = tracker.as_list(), EventTracker(rule)
            tracker.restore(state)
        changes += tracker.push(score)
    changes += tracker.finish()
    expected = find_events(np.array(scores, np.float64), rule)
    assert [(change.first, change.last) for change in changes if change.kind == "ended"] == expected
    assert [change.first for change in changes if change.kind == "began"] == [event.first for event in expected]


def test_an_event_is_told_as_soon_as_it_is_long_enough() -> None:
    tracker = EventTracker(AlarmRule(0.5, min_length=3))
    assert [len(tracker.push(score)) for score in (0.6, 0.7, 0.8, 0.9)] == [0, 0, 1, 0]
    assert tracker.push(0.1) == [Change("ended", 0, 3)]
