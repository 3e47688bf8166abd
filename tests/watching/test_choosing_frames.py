"""Which frames a model is shown: by time stamps, as far as these can be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mnad.watching.pacing import Pacer
from mnad.watching.timeline import DRIFT, Timeline


def chosen(pacer: Pacer, times: list[float]) -> list[float]:
    return [time for time in times if pacer.choose(time)]


@pytest.mark.parametrize("rate", [10, 10.3, 12.5, 15, 23.976, 25, 29.83, 30, 59.94])
def test_a_faster_stream_is_brought_to_the_rate_of_the_model(rate: float) -> None:
    times = [frame / rate for frame in range(round(60 * rate))]
    taken = chosen(Pacer(10), times)
    expected = rate if rate < 10.5 else 10  # what is nearly the model's rate is left as it is
    assert len(taken) / 60 == pytest.approx(expected, rel=0.01)
    steps = np.diff(taken)
    assert steps.max() <= 0.1 + 1 / rate + 1e-9
    assert steps.min() >= 0.1 - 1 / rate - 1e-9


@settings(deadline=None)
@given(st.floats(11, 60), st.integers(0, 2**32 - 1))
def test_jitter_neither_adds_nor_loses_frames(rate: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    times = np.sort(np.arange(round(30 * rate)) / rate + generator.uniform(-0.4, 0.4, round(30 * rate)) / rate)
    assert len(chosen(Pacer(10), times.tolist())) / 30 == pytest.approx(10, rel=0.06)


def test_every_frame_of_a_stream_with_the_rate_of_the_model_is_taken() -> None:
    times = [round(frame / 29.97, 3) for frame in range(500)]  # as Matroska rounds them
    assert chosen(Pacer(29.97), times) == times


def test_a_gap_begins_a_new_window_and_a_lost_frame_does_not() -> None:
    pacer = Pacer(10)
    choices = [pacer.choose(time) for time in (0, 0.1, 0.2, 0.4, 0.5, 0.8, 0.9)]
    assert choices == ["begins", "follows", "follows", "follows", "follows", "begins", "follows"]


@pytest.mark.parametrize(("rate", "slow", "scored"), [(9.5, False, True), (6, True, True), (4, True, False)])
def test_a_slow_stream_says_so_and_is_not_scored_below_half_the_rate(rate: float, slow: bool, scored: bool) -> None:
    pacer = Pacer(10)
    choices = [pacer.choose(frame / rate) for frame in range(60)]
    assert pacer.slow is slow
    assert pacer.rate == pytest.approx(rate)
    assert ("follows" in choices) is scored


def test_stamps_keep_the_times_of_frames_that_a_network_held_up() -> None:
    timeline = Timeline()
    stamps = [frame / 10 for frame in range(100)]
    arrived = [1000 + stamp + 0.05 for stamp in stamps]
    arrived[40:60] = [arrived[60]] * 20  # two seconds come at once
    times = [timeline.at(stamp, at) for stamp, at in zip(stamps, arrived, strict=True)]
    np.testing.assert_allclose(np.diff(times), 0.1, atol=2 * DRIFT + 1e-4)
    assert timeline.trusted


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_stamps_of_a_wrong_rate_are_found_out(factor: float) -> None:
    timeline = Timeline()
    times = [timeline.at(frame / 10 * factor, 50 + frame / 10) for frame in range(1200)]
    np.testing.assert_allclose(np.diff(times[-300:]), 0.1, atol=0.005)


def test_stamps_that_begin_again_go_on() -> None:
    timeline = Timeline()
    stamps = [frame / 10 for frame in range(50)] * 2
    times = [timeline.at(stamp, 7 + frame / 10) for frame, stamp in enumerate(stamps)]
    np.testing.assert_allclose(np.diff(times), 0.1, atol=0.001)


def test_without_stamps_frames_are_at_their_arrival() -> None:
    timeline = Timeline()
    assert [timeline.at(None, at) for at in (5.0, 5.2, 5.1)] == [5.0, 5.2, 5.2]


def test_times_never_go_back() -> None:
    generator = np.random.default_rng(0)
    timeline = Timeline()
    times = [timeline.at(float(generator.uniform(0, 100)), 10 + frame / 10) for frame in range(300)]
    assert np.diff(times).min() >= 0
    assert not timeline.trusted
