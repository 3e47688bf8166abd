"""A threshold that follows slow change, as far as it may and no further."""

from __future__ import annotations

import numpy as np
import pytest
from mnad.watching.drift import Drift

STEP = 0.1  # seconds from frame to frame


def feed(drift: Drift, level: float, hours: float) -> None:
    """So many hours of scores around a level."""
    generator = np.random.default_rng(0)
    for score in generator.normal(level, 0.01, round(3600 * hours / STEP)).tolist():
        drift.take(score, STEP)


def test_nothing_moves_before_there_are_hours_to_compare() -> None:
    drift = Drift(0.5, hours=0.1, period=60)
    feed(drift, 0.3, 0.08)
    assert drift.shift == 0.0


@pytest.mark.parametrize(("level", "shift"), [(0.4, 0.1), (0.2, -0.1), (5.0, 0.25), (0.3, 0.0)])
def test_it_follows_the_scores_within_its_bound(level: float, shift: float) -> None:
    drift = Drift(0.25, hours=0.1, period=60)
    feed(drift, 0.3, 0.1)
    feed(drift, level, 0.1)
    assert drift.shift == pytest.approx(shift, abs=0.005)


def test_a_moment_of_high_scores_moves_nothing() -> None:
    drift = Drift(0.25, hours=0.1, period=60)
    feed(drift, 0.3, 0.2)
    feed(drift, 0.9, 0.02)
    assert drift.shift == pytest.approx(0, abs=0.005)


def test_it_goes_on_from_a_state() -> None:
    drift, other = (Drift(0.25, hours=0.1, period=60) for _ in range(2))
    feed(drift, 0.3, 0.1)
    other.restore(drift.as_dict())
    for each in (drift, other):
        feed(each, 0.35, 0.1)
    assert other.shift == drift.shift != 0
